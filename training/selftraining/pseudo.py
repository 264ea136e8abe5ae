"""Labels that a trained network gives to samples without one: hard or soft, and how sure it is.

    confidence_i = max_c p_ic,  p = softmax(logits / T)

References: Lee, "Pseudo-Label", ICML Workshops 2013; Xie et al., "Self-training with Noisy Student
improves ImageNet classification", CVPR 2020, arXiv 1911.04252, section 3.2: images of confidence
above 0.3, as many of each class, of those that have more the surest, of those that have fewer some
again.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from pi_cache import files
from pi_cache.errors import InvalidSpec, LeakageError, UnsupportedFormat
from pi_cache.sampling.draws import ranks
from pi_cache.sampling.samples import listed
from training.joined import JoinedDataset
from training.losses.kd import probabilities
from training.models.catalogue import PI_NETS
from training.pinets.batches import in_order
from training.tasks import Task
from training.trained import Trained

FORMAT = 1
METADATA = "pi_cache"
KINDS = ("soft", "hard")
THRESHOLD = 0.3


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Pseudo:
    """Pseudo-labels of n samples, the same sample more than once where classes were evened out.

    ids: (n,). shares: (n, K) float32 of classes, one of them 1 where labels are hard.
    confidence: (n,) float32, of the class that is most likely. class_names: K.
    record: of which network, which pool, how chosen; `pool` and `kept` count samples.
    """

    ids: NDArray[np.object_]
    shares: Tensor
    confidence: Tensor
    class_names: tuple[str, ...]
    record: Mapping[str, Any]

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def labels(self) -> Tensor:
        """(n,) int64, the class of the largest share."""
        return self.shares.argmax(1)

    @property
    def counts(self) -> dict[str, int]:
        """Of each class by its name, how many rows."""
        found = torch.bincount(self.labels, minlength=len(self.class_names)).tolist()
        return dict(zip(self.class_names, found, strict=True))


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """Which pseudo-labels are kept, and in which form.

    kind: `soft` shares or `hard` classes. threshold: a confidence that must be reached.
    per_class: so many rows of each class: the surest of those that have more, those that have fewer
    repeated; None keeps what there is. temperature: of the softmax. seed: of which are repeated.
    Raises InvalidSpec with every problem.
    """

    kind: str = "soft"
    threshold: float = THRESHOLD
    per_class: int | None = None
    temperature: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        problems = []
        if self.kind not in KINDS:
            problems.append(f"kind must be soft or hard, got {self.kind!r}")
        if not 0 <= self.threshold <= 1:
            problems.append(f"threshold must be a confidence in 0..1, got {self.threshold}")
        if self.per_class is not None and self.per_class < 1:
            problems.append(f"per_class must be at least 1 sample, got {self.per_class}")
        if not self.temperature > 0:
            problems.append(f"temperature must be positive, got {self.temperature}")
        if problems:
            raise InvalidSpec("; ".join(problems))


def pseudo_labels(
    trained: Trained,
    pool: JoinedDataset,
    choice: Choice,
    *,
    device: str | torch.device = "cpu",
    record: Mapping[str, Any],
) -> Pseudo:
    """What a network says of each sample of a pool, without noise: as it is when it is tested.

    Raises InvalidSpec for a network that gives no classes, an empty pool, and where no sample
    reaches the threshold.
    """
    if trained.model.name in PI_NETS:
        raise InvalidSpec(f"a {trained.model.name} gives images; pseudo-labels need a classifier")
    if not len(pool):
        raise InvalidSpec("there are no samples without a label; hide some with a share of them")
    shares = torch.cat(list(_shares(trained, pool, choice.temperature, device)))
    confidence, classes = shares.max(1)
    rows = chosen(confidence, classes, pool.ids, choice, shares.shape[1])
    if not len(rows):
        raise InvalidSpec(
            f"none of {len(pool)} samples reaches the confidence {choice.threshold:g} (the surest"
            f" has {float(confidence.max()):.3f}); lower the threshold"
        )
    if choice.kind == "hard":
        shares = torch.nn.functional.one_hot(classes, shares.shape[1]).float()
    return Pseudo(
        ids=pool.ids[rows.numpy()],
        shares=shares[rows],
        confidence=confidence[rows],
        class_names=trained.class_names,
        record={**record, "pool": len(pool), "kept": len(set(rows.tolist()))},
    )


def _shares(
    trained: Trained, pool: JoinedDataset, temperature: float, device: str | torch.device
) -> Iterator[Tensor]:
    """(n, K) float32 of each batch."""
    for batch in in_order(pool, trained.view.names):
        logits = trained({name: value.to(device) for name, value in batch.items()}).logits
        yield probabilities(logits, temperature).float().cpu()


def chosen(
    confidence: Tensor, classes: Tensor, ids: NDArray[np.object_], choice: Choice, count: int
) -> Tensor:
    """(m,) int64 positions in the pool of the rows to keep, repeated ones too.

    In the order of the pool, or of class after class where these are evened out: so the result
    depends on no order of the pool but its ids.
    """
    sure = torch.nonzero(confidence >= choice.threshold).flatten()
    if choice.per_class is None:
        return sure
    place = torch.from_numpy(ranks(ids.tolist(), choice.seed))
    kept = []
    for number in range(count):
        mine = sure[classes[sure] == number]
        order = np.lexsort((place[mine].numpy(), -confidence[mine].numpy()))
        kept.append(_evened(mine[torch.from_numpy(order)], place, choice.per_class))
    return torch.cat(kept)


def _evened(surest: Tensor, place: Tensor, count: int) -> Tensor:
    """The first so many of a class, or all of them again and again, in a drawn order."""
    if len(surest) >= count or not len(surest):
        return surest[:count]
    drawn = surest[place[surest].argsort()]
    times, left = divmod(count, len(surest))
    return torch.cat([surest.repeat(times), drawn[:left]])


def check_pool(pool: JoinedDataset, task: Task, name: str = "this task") -> None:
    """Raise LeakageError where the pool has samples that a task tests or validates by.

    Groups are kept too: a person who is tested must not be learned from without a label either.
    """
    own = set(pool.ids.tolist())
    people = _people(pool)
    for side in ("test", "validation"):
        held = task.sides.get(side)
        if held is None:
            continue
        both = sorted(own & set(held.ids.tolist()))
        if both:
            raise LeakageError(
                f"{len(both)} samples of the pool are on the {side} side of {name} ({listed(both)})"
                "; take the pool from its training side, or from other data"
            )
        same = sorted(people & _people(held))
        if side == "test" and same:
            raise LeakageError(
                f"the pool has samples of {listed(same)}, who are on the test side of {name}; leave"
                " these people out of the pool"
            )


def _people(side: JoinedDataset) -> set[str]:
    groups = side.numbers.get("groups")
    if groups is None:
        return set()
    return {side.group_names[number] for number in np.unique(groups).tolist() if number >= 0}


def write_pseudo(path: Path, pseudo: Pseudo) -> None:
    """Write the file of pseudo-labels. Raises AlreadyPublished where it holds others."""
    document = {
        "format_version": FORMAT,
        "ids": pseudo.ids.tolist(),
        "class_names": list(pseudo.class_names),
        "record": dict(pseudo.record),
    }
    tensors = {"shares": pseudo.shares.contiguous(), "confidence": pseudo.confidence.contiguous()}
    data = save(tensors, {METADATA: json.dumps(document, ensure_ascii=False)})
    files.publish(path.absolute(), data, temporary=path.absolute().parent)


def read_pseudo(path: Path) -> Pseudo:
    """The pseudo-labels in a file. Raises FileNotFoundError, UnsupportedFormat."""
    if not files.exists(path):
        raise FileNotFoundError(f"{path}: no pseudo-labels; `training pseudo-label` writes them")
    try:
        with safe_open(path, framework="pt") as opened:
            document = json.loads((opened.metadata() or {}).get(METADATA) or "")
            version = document["format_version"]
            found = Pseudo(
                ids=np.array(document["ids"], object),
                shares=opened.get_tensor("shares"),
                confidence=opened.get_tensor("confidence"),
                class_names=tuple(document["class_names"]),
                record=document["record"],
            )
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise UnsupportedFormat(f"{path} holds no pseudo-labels ({error!r:.120})") from error
    if version != FORMAT:
        raise UnsupportedFormat(f"{path}: format {version!r}, this release reads {FORMAT}")
    return found
