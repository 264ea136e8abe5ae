"""A trained network in one file: its weights, what it reads of a batch, and what its classes are.

The file is safetensors: nothing in it can run code. Its metadata hold one JSON document.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from pi_cache import files
from pi_cache.errors import InvalidSpec, UnsupportedFormat
from training.devices import refusing
from training.digests import digest_of_file
from training.models.catalogue import PI_NETS, build, build_pi_net
from training.views import View

FORMAT = 1
METADATA = "pi_cache"
DIGEST = "sha256"
PICKS = ("best", "last")
"""Files of a run: the epoch that was chosen, and the last one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSpec:
    """How to build a network: the arguments of `models.build`, or of `build_pi_net`.

    classes: logits of a sample, 0 for a PI-Net. options: what else the family takes.
    """

    name: str
    channels: int
    classes: int
    dimensions: int
    options: Mapping[str, Any] = field(default_factory=dict)

    def build(self) -> nn.Module:
        """A new network, its weights drawn from torch's seed. Raises InvalidSpec."""
        if self.name in PI_NETS:
            return build_pi_net(self.name, self.channels, **self.options)
        return build(self.name, self.channels, self.classes, self.dimensions, **self.options)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Trained:
    """A network with all that is needed to use it.

    class_names: of its logits, in order. record: how it came about: run, epoch, stores, versions.
    """

    network: nn.Module
    model: ModelSpec
    view: View
    class_names: tuple[str, ...]
    record: Mapping[str, Any]

    @torch.no_grad()
    def __call__(self, batch: Mapping[str, Tensor]) -> Any:
        """What the network gives for a batch by name, without gradients, in evaluation mode."""
        self.network.train(False)
        return self.network(self.view(batch))


def write_trained(path: Path, trained: Trained) -> None:
    """Write the file of a network. Raises AlreadyPublished where the name is another one's."""
    document = {
        "format_version": FORMAT,
        "model": asdict(trained.model),
        "view": trained.view.to_dict(),
        "class_names": list(trained.class_names),
        "record": dict(trained.record),
    }
    state = trained.network.state_dict()
    tensors = {name: value.detach().cpu().contiguous() for name, value in state.items()}
    document[DIGEST] = digest_of_file(tensors, _text(document))
    data = save(tensors, {METADATA: _text(document)})  # of several texts the order would be drawn
    files.publish(path.absolute(), data, temporary=path.absolute().parent)


def read_trained(path: str | Path, *, device: str | torch.device = "cpu") -> Trained:
    """The network in a file, or of a run: its folder, `FOLDER:best` or `FOLDER:last`.

    A folder alone is its best epoch. Weights are loaded strictly.
    Raises FileNotFoundError, UnsupportedFormat, InvalidSpec, also for a device that is not there.
    """
    file = find_trained(path)
    document, tensors = _read(file)
    try:
        model = ModelSpec(**document["model"])
        network = model.build()
        network.load_state_dict(tensors, strict=True)
        trained = Trained(
            network=network,
            model=model,
            view=View.from_dict(document["view"]),
            class_names=tuple(document["class_names"]),
            record=document["record"],
        )
        _check_fits(trained)
    except (AttributeError, KeyError, TypeError, RuntimeError) as error:
        raise UnsupportedFormat(
            f"{file}: weights and description do not fit together"
            f" ({str(error).splitlines()[0]:.200}); train the network anew"
        ) from error
    _move(network, device)
    network.train(False)
    return trained


def _check_fits(trained: Trained) -> None:
    """Raise TypeError where a description contradicts itself."""
    model, view, names = trained.model, trained.view, trained.class_names
    if model.classes and len(names) != model.classes:
        raise TypeError(f"{len(names)} names of {model.classes} classes")
    if (view.channels, view.dimensions) != (model.channels, model.dimensions):
        raise TypeError(
            f"the view {view} has {view.channels} channels and {view.dimensions} dimensions, the"
            f" network {model.channels} and {model.dimensions}"
        )
    if not isinstance(trained.record, Mapping):
        raise TypeError(f"its record is {type(trained.record).__name__}")


def _move(network: nn.Module, device: str | torch.device) -> None:
    """Put a network on a device. Raises InvalidSpec where torch cannot."""
    with refusing(f"no network can be put on device {str(device)!r} here"):
        network.to(device)


def find_trained(path: str | Path) -> Path:
    """The file of a network: the path itself, or `best` or `last` of a run's folder."""
    text = str(path)
    head, _, pick = text.rpartition(":")
    folder, name = (Path(head), pick) if head and pick in PICKS else (Path(text), "best")
    if not files.is_folder(folder):
        if head and pick in PICKS:
            raise FileNotFoundError(f"{folder} is no folder of a run; give one that has ended")
        if not files.exists(folder):
            raise FileNotFoundError(f"{folder}: no such network; give a run's folder or its file")
        return folder
    file = folder / f"{name}.safetensors"
    if not files.exists(file):
        if not files.exists(folder / "run.json"):
            raise FileNotFoundError(
                f"{folder} is no folder of a run; give one, or a network's file"
            )
        raise FileNotFoundError(
            f"{folder} has no {file.name}: the run has not ended; run the same command again"
        )
    return file


def _read(file: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The description and the weights in a file. Raises UnsupportedFormat."""
    try:
        with safe_open(file, framework="pt") as opened:
            text = (opened.metadata() or {}).get(METADATA, "")
            tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
        document = json.loads(text)
        version = document["format_version"]
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise UnsupportedFormat(
            f"{file} holds no network of this project ({error!r:.120}); for released weights see"
            " training.models.checkpoints"
        ) from error
    if version != FORMAT:
        raise UnsupportedFormat(f"{file}: format {version!r}, this release reads {FORMAT}")
    recorded = document.pop(DIGEST, None)  # older files have none
    found = digest_of_file(tensors, _text(document))
    if recorded not in (None, found):
        raise UnsupportedFormat(
            f"{file} is damaged: its SHA-256 is {found}, and was {recorded}; train the network anew"
        )
    return document, tensors


def _text(document: Mapping[str, Any]) -> str:
    return json.dumps(document, ensure_ascii=False)


def check_same_classes(student: tuple[str, ...], teacher: Trained, name: str) -> None:
    """Raise InvalidSpec unless a teacher's logits mean the student's classes, in their order."""
    if teacher.class_names != student:
        raise InvalidSpec(
            f"teacher {name} knows {len(teacher.class_names)} classes"
            f" ({', '.join(teacher.class_names[:5])}, ...), the student {len(student)}"
            f" ({', '.join(student[:5])}, ...); train both on the same samples and classes"
        )
