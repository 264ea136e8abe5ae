"""What a network said of every sample of a side, in one safetensors file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from pi_cache import files
from pi_cache.errors import InvalidSpec, UnsupportedFormat

FORMAT = 1
METADATA = "pi_cache_predictions"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Predictions:
    """Logits of n samples, in the order of their side.

    logits: (n, K) float32. labels: (n,) int64 of `class_names`, -1 for none. index: (n,) position
    in the join. ids: (n,). features: (n, F) what the linear end reads, or None. record: the side,
    its samples and how it was read, as plain values.
    """

    logits: NDArray[np.float32]
    labels: NDArray[np.int64]
    index: NDArray[np.int64]
    ids: NDArray[Any]
    class_names: tuple[str, ...]
    features: NDArray[np.float32] | None = None
    record: Mapping[str, Any]

    def __post_init__(self) -> None:
        columns = [self.labels, self.index, self.ids]
        columns += [] if self.features is None else [self.features]
        sizes = {len(self.logits), *(len(column) for column in columns)}
        if len(sizes) != 1 or self.logits.shape[1:] != (len(self.class_names),):
            raise InvalidSpec(
                f"predictions do not fit together: logits {self.logits.shape}, rows"
                f" {sorted(sizes)}, {len(self.class_names)} classes"
            )

    def __len__(self) -> int:
        return len(self.logits)

    @property
    def labelled(self) -> NDArray[np.bool_]:
        """(n,) whether a sample has a label."""
        return np.asarray(self.labels >= 0)

    @property
    def predicted(self) -> NDArray[np.int64]:
        """(n,) the class of the first largest logit."""
        return np.asarray(self.logits.argmax(axis=1))

    def only(self, chosen: NDArray[np.bool_]) -> Predictions:
        """Those of some samples. chosen: (n,)."""
        columns = {
            name: getattr(self, name)[chosen] for name in ("logits", "labels", "index", "ids")
        }
        features = None if self.features is None else self.features[chosen]
        return replace(self, **columns, features=features)


def write_predictions(path: Path, predictions: Predictions) -> None:
    """Write the file of predictions. Raises AlreadyPublished where the name is another one's."""
    tensors: dict[str, NDArray[Any]] = {
        "logits": predictions.logits,
        "labels": predictions.labels,
        "index": predictions.index,
    }
    if predictions.features is not None:
        tensors["features"] = predictions.features
    document = {
        "format_version": FORMAT,
        "ids": predictions.ids.tolist(),
        "class_names": list(predictions.class_names),
        "record": dict(predictions.record),
    }
    text = json.dumps(document, ensure_ascii=False)
    data = save({n: np.ascontiguousarray(v) for n, v in tensors.items()}, {METADATA: text})
    files.publish(path.absolute(), data, temporary=path.absolute().parent)


def read_predictions(path: str | Path) -> Predictions:
    """The predictions in a file. Raises FileNotFoundError, UnsupportedFormat."""
    if not files.exists(Path(path)):
        raise FileNotFoundError(f"{path}: no such file; training evaluate writes predictions")
    try:
        with safe_open(path, framework="np") as opened:
            text = (opened.metadata() or {}).get(METADATA)
            tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
        document = json.loads(text or "")
        if document["format_version"] != FORMAT:
            raise UnsupportedFormat(
                f"{path}: format {document['format_version']!r}, this release reads {FORMAT}"
            )
        return Predictions(
            **tensors,
            ids=np.array(document["ids"], dtype=object),
            class_names=tuple(document["class_names"]),
            record=document["record"],
        )
    except (SafetensorError, json.JSONDecodeError, KeyError, TypeError, InvalidSpec) as error:
        raise UnsupportedFormat(
            f"{path} holds no predictions ({error!r:.120}); evaluate the network again"
        ) from error
