"""Test samples that were corrupted before their persistence images were computed.

Stored images are of clean samples, so a network that reads them would look robust without having
been tested. Here the raw samples are corrupted as `evaluation.predict` corrupts them, the pipeline
computes their images with the spec of the store, and PI-Nets give theirs.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pi_cache import files, open_store
from pi_cache.reader import Store
from pi_cache.sampling.samples import Arrays
from training.augment.corruptions import Corruption
from training.evaluation.predict import BATCH
from training.experiments.calls import Caller
from training.joined import JoinedDataset
from training.pinets.batches import in_order, predicted
from training.trained import Trained

IMAGES = "pi"
"""The store whose images are computed anew."""


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

    @property
    def names(self) -> set[str]:
        """Arrays that a network may read of them."""
        return {"inputs", IMAGES, *self.nets}

    def side(self, corruption: Corruption) -> JoinedDataset:
        """The samples under a corruption. Raises what `call` raises."""
        if corruption not in self._made:
            self._made[corruption] = self._make(corruption)
        return self._made[corruption]

    def _make(self, corruption: Corruption) -> JoinedDataset:
        store = self._store(corruption)
        bare = JoinedDataset({IMAGES: store})
        arrays = {name: _given(net, bare) for name, net in self.nets.items()}
        return JoinedDataset({IMAGES: store, **arrays})

    def _store(self, corruption: Corruption) -> Store:
        """A store of the corrupted samples and of their images, by the spec of the clean ones."""
        folder = self.folder / f"{corruption.kind}-{corruption.level}"
        samples, request = folder / "samples.npz", folder / "request.json"
        held = io.BytesIO()
        np.savez(
            held,
            data=corrupted_inputs(self.clean, corruption, seed=self.seed),
            ids=np.array(self.clean.ids.tolist(), dtype=str),
            labels=self.clean.numbers["labels"],
        )
        files.publish(samples, held.getbuffer(), temporary=folder)
        files.publish(request, json.dumps(self._request(samples)).encode(), temporary=folder)
        words = ("--with-inputs", "--no-space-check", "--cache", folder / "cache")
        return open_store(self.call("pipeline", "build-pis", "--spec", request, *words)["path"])

    def _request(self, samples: Path) -> dict[str, Any]:
        source = self.clean.parts[IMAGES].source
        assert isinstance(source, Store)  # the plan names it as one
        spec = source.spec
        return {
            "source": f"array:{samples}",
            "sample": spec.source.sample,
            "source_options": {"maximum": "none"},  # corrupted samples are floats of the field
            "diagram": spec.diagram.to_dict(),
            "image": {} if spec.image is None else spec.image.to_dict(),
        }


def corrupted_inputs(
    side: JoinedDataset, corruption: Corruption, *, seed: int = 0
) -> NDArray[np.float32]:
    """(n, ..., C) the raw samples of a side as `predict` shows them to a network."""
    generator = torch.Generator().manual_seed(seed)
    given = in_order(side, ["inputs"], size=BATCH)
    parts = [corruption(batch["inputs"], generator)[0].movedim(1, -1) for batch in given]
    found: NDArray[np.float32] = torch.cat(parts).float().numpy()
    return found


def _given(net: Trained, side: JoinedDataset) -> Arrays:
    """The images that a PI-Net gives for samples, as `write_predictions` would store them."""
    device = next(net.network.parameters()).device
    images = [found.half().cpu().numpy() for found, _ in predicted(net, side, device=device)]
    return Arrays(side.ids.astype(str), {"images": np.concatenate(images)})
