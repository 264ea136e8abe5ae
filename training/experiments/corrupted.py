"""Test samples that were corrupted before their images were computed.

Stored images are of clean samples, so a network that reads them would look robust without having
been tested. Here the raw samples are corrupted as `evaluation.predict` corrupts them, the pipeline
computes their persistence images, and Gramian angular fields, with the specs of the stores, and
PI-Nets give theirs.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from pi_cache import files, open_store
from pi_cache.reader import Store
from pi_cache.sampling.samples import Arrays
from pi_cache.specs import StoreSpec
from training.augment.corruptions import Corruption
from training.evaluation.predict import BATCH
from training.experiments.calls import Caller
from training.joined import JoinedDataset
from training.pinets.batches import in_order, predicted
from training.trained import Trained

INPUTS = "inputs"
BUILDERS = {"gramian": "build-gafs", "image": "build-pis"}
"""The command of the pipeline that builds a store, by a part of its spec."""


class Corrupted:
    """The test side of a task under corruptions, each made when it is asked for.

    clean: the side. nets: PI-Nets by the name of the array that each gives. folder: a temporary
    one. seed: of what corruptions draw.
    """

    def __init__(
        self,
        clean: JoinedDataset,
        nets: Mapping[str, Trained],
        call: Caller,
        folder: Path,
        *,
        seed: int = 0,
    ) -> None:
        self.clean, self.nets, self.call = clean, nets, call
        self.folder, self.seed = folder, seed
        self._made: dict[Corruption, JoinedDataset] = {}
        sources = {name: part.source for name, part in clean.parts.items() if name != INPUTS}
        self._stores = {n: found for n, found in sources.items() if isinstance(found, Store)}

    @property
    def names(self) -> set[str]:
        """Arrays that a network may read of them."""
        return {INPUTS, *self._stores, *self.nets}

    def side(self, corruption: Corruption) -> JoinedDataset:
        """The samples under a corruption. Raises what `call` raises."""
        if corruption not in self._made:
            self._made[corruption] = self._make(corruption)
        return self._made[corruption]

    def _make(self, corruption: Corruption) -> JoinedDataset:
        folder = self.folder / f"{corruption.kind}-{len(self._made) + 1}"
        samples = self._write(corruption, folder / "samples.npz")
        stores = {
            name: self._build(store.spec, samples, folder / name)
            for name, store in self._stores.items()
        }
        bare = JoinedDataset(stores)
        arrays = {name: _given(net, bare) for name, net in self.nets.items()}
        return JoinedDataset({**stores, **arrays})

    def _write(self, corruption: Corruption, file: Path) -> Path:
        """The file of the corrupted samples, with their ids and labels."""
        held = io.BytesIO()
        np.savez(
            held,
            data=corrupted_inputs(self.clean, corruption, seed=self.seed),
            ids=np.array(self.clean.ids.tolist(), dtype=str),
            labels=self.clean.numbers["labels"],
        )
        files.publish(file, held.getbuffer(), temporary=file.parent)
        return file

    def _build(self, spec: StoreSpec, samples: Path, folder: Path) -> Store:
        """A store of the samples in a file, and of what the spec of a clean store makes of them."""
        computed = {name: getattr(spec, name).to_dict() for name in spec.parts}
        request = {
            "source": f"array:{samples}",
            "sample": spec.source.sample,
            "source_options": {"maximum": "none"},  # corrupted samples are floats of the field
            **computed,
        }
        file = folder / "request.json"
        command = next(BUILDERS[name] for name in computed if name in BUILDERS)
        files.publish(file, json.dumps(request).encode(), temporary=folder)
        words = ("--spec", file, "--with-inputs", "--no-space-check", "--cache", folder / "cache")
        return open_store(self.call("pipeline", command, *words)["path"])


def corrupted_inputs(
    side: JoinedDataset, corruption: Corruption, *, seed: int = 0
) -> NDArray[np.float32]:
    """(n, ..., C) the raw samples of a side as `predict` shows them to a network."""
    generator = torch.Generator().manual_seed(seed)
    given = in_order(side, [INPUTS], size=BATCH)
    parts = [corruption(batch[INPUTS], generator)[0].movedim(1, -1) for batch in given]
    found: NDArray[np.float32] = torch.cat(parts).float().numpy()
    return found


def _given(net: Trained, side: JoinedDataset) -> Arrays:
    """The images that a PI-Net gives for samples, as `write_predictions` would store them."""
    device = next(net.network.parameters()).device
    images = [found.half().cpu().numpy() for found, _ in predicted(net, side, device=device)]
    return Arrays(side.ids.astype(str), {"images": np.concatenate(images)})
