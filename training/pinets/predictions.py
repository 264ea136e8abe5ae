"""Images that a PI-Net gives, in a file that joins stores by id: in place of exact ones.

`FILE.npz` has `ids` (N,) and `images` (N, C, P, P): `DataSpec(arrays={"pinet": "FILE.npz"})` reads
it as the view `pinet`. `FILE.json` beside it says how they came about.
"""

from __future__ import annotations

import functools
import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pi_cache import files
from pi_cache.errors import AlreadyPublished, InvalidSpec
from training.joined import JoinedDataset
from training.pinets.batches import BATCH, check_pi_net, predicted
from training.pinets.npz import Streamed, npz_blocks
from training.trained import Trained

FORMAT = 1
DTYPES = ("float16", "float32")
ALL = "all"
"""The side that stands for every sample of the stores, those of no side too."""


def write_predictions(
    path: Path,
    trained: Trained,
    dataset: JoinedDataset,
    *,
    every: bool,
    dtype: str = "float16",
    device: str | torch.device = "cpu",
    record: Mapping[str, Any],
) -> dict[str, Any]:
    """Write the images of a dataset's samples, and what is known of them. Returns the latter.

    every: all samples that the first store of the dataset lists, so that the file joins it. Images
    of those that the dataset does not have, as their status is not OK, are NaN, never zeros.
    record: how the PI-Net came about, as plain values.
    Raises InvalidSpec for a network that gives no images and for another name or dtype,
    AlreadyPublished where a file holds other images.
    """
    check_pi_net(trained)
    _check_words(path, dtype)
    ids, places = _every(dataset) if every else (dataset.ids, np.arange(len(dataset)))
    blocks = functools.partial(_blocks, trained, dataset, places, len(ids), device)
    images = Streamed(shape=(len(ids), *_shape(trained)), dtype=dtype, blocks=blocks)
    arrays = {"ids": np.array(ids.tolist(), dtype=str), "images": images}
    path = path.absolute()
    _publish(path, arrays)
    document = {
        "format_version": FORMAT,
        "samples": len(ids),
        "predicted": len(dataset),
        "shape": list(images.shape),
        "dtype": dtype,
        "model": trained.model.name,
        "view": str(trained.view),
        "ids": hashlib.sha256("\n".join(ids.tolist()).encode()).hexdigest(),
        "record": dict(record),
    }
    text = json.dumps(document, ensure_ascii=False, indent=1) + "\n"
    files.publish(path.with_suffix(".json"), text.encode(), temporary=path.parent)
    return document


def _check_words(path: Path, dtype: str) -> None:
    if path.suffix != ".npz":
        raise InvalidSpec(f"{path}: predictions are .npz files; name it {path.stem}.npz")
    if dtype not in DTYPES:
        raise InvalidSpec(f"dtype must be one of {', '.join(DTYPES)}, got {dtype!r}")


def _publish(path: Path, arrays: Mapping[str, Any]) -> None:
    try:
        files.publish_blocks(path, lambda: npz_blocks(arrays), temporary=path.parent)
    except AlreadyPublished as error:
        raise AlreadyPublished(
            f"{path} holds other images; name another file, or move this one away", error.paths
        ) from None


def _every(dataset: JoinedDataset) -> tuple[NDArray[np.object_], NDArray[np.int64]]:
    """(N,) ids of the first store, and (n,) where those of the dataset stand among them."""
    first = next(iter(dataset.joined.members.values()))
    return first.source.ids, first.rows[dataset.index].astype(np.int64)


def _blocks(
    trained: Trained,
    dataset: JoinedDataset,
    places: NDArray[np.int64],
    count: int,
    device: str | torch.device,
) -> Iterator[NDArray[np.float32]]:
    """Images by their place 0..count - 1, in blocks; NaN at places that no sample has."""
    order = np.argsort(places, kind="stable")
    sorted_places = places[order]
    given = predicted(trained, dataset.view(dataset.index[order]), size=BATCH, device=device)
    written = 0
    for images, _ in given:
        here = sorted_places[: len(images)]
        sorted_places = sorted_places[len(images) :]
        block = np.full((int(here[-1]) + 1 - written, *_shape(trained)), math.nan, np.float32)
        block[here - written] = images.float().cpu().numpy()
        yield block
        written += len(block)
    yield np.full((count - written, *_shape(trained)), math.nan, np.float32)


def _shape(trained: Trained) -> tuple[int, int, int]:
    """(C, P, P) of the images that a PI-Net gives."""
    network: Any = trained.network
    return network.image_channels, network.pixels, network.pixels
