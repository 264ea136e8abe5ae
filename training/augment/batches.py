"""Batches of a loader, augmented: images follow their inputs, or the run is refused."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from pi_cache.errors import InvalidSpec, StaleImages
from pi_cache.reader import Store
from pi_cache.specs import VARIANT
from training.augment.augmenter import Augmenter
from training.augment.base import BYTE_MAXIMUM
from training.augment.contract import check_contract
from training.augment.follow import follow_images, follow_targets
from training.augment.variants import variant_spec
from training.parts import Part

Batch = dict[str, Tensor]


class AugmentedBatches:
    """A transform for `Loader`: inputs are augmented, images and targets follow them.

        stores = {"rows": store, "flipped": open_variant(store, "flip")}
        dataset = JoinedDataset(stores)
        augment = AugmentedBatches(Augmenter([Symmetry()], seed=0), stores)
        loader = Loader(dataset, 128, transform=augment)

    stores: of the images in a batch, by the names that they have there. A variant of another one of
    them gives turned samples, and is left out of the batch.
    inputs: the name of the raw samples. They come as stored, channels last, and go channels second;
    bytes must count to 255, as those of photographs do: have others delivered as floats.
    classes: how many; adds `targets` (n, classes). Needed where labels are mixed.
    allow_stale: see `check_contract`; `record` has what it returned, by store.
    Raises StaleImages and InvalidSpec, before any batch is read.
    """

    def __init__(
        self,
        augmenter: Augmenter,
        stores: Mapping[str, Store],
        *,
        inputs: str = "inputs",
        classes: int | None = None,
        allow_stale: bool = False,
    ) -> None:
        self.augmenter = augmenter
        self.inputs = inputs
        self.classes = classes
        self.pairs = _pairs(stores)
        self._keys = {name: store.key for name, store in stores.items()}
        self.stores = {name: stores[name] for name in self.pairs}
        self.record: dict[str, Any] = {
            name: check_contract(
                augmenter.augmentations,
                store.spec,
                variants=list(self.pairs[name]),
                allow_stale=allow_stale,
            )
            for name, store in self.stores.items()
        }
        self._maximum = _parse_inputs(stores, inputs)
        mixing = [each.name for each in augmenter.augmentations if each.mixes]
        if mixing and classes is None:
            raise InvalidSpec(f"{', '.join(mixing)} mixes labels; say how many classes there are")

    def check_parts(self, parts: Mapping[str, Part]) -> None:
        """Raise StaleImages unless the images of a dataset are those of the stores named here.

        `Loader` calls it: images of another store would not follow, and nobody would be told.
        """
        images = {n: p.source.key for n, p in parts.items() if isinstance(p.source, Store)}
        images = {name: key for name, key in images.items() if parts[name].array == "images"}
        differ = [name for name, key in images.items() if self._keys.get(name) != key]
        differ += [name for name in self._keys if name not in images]
        if differ:
            raise StaleImages(
                f"the images {', '.join(differ)} are not of the same stores in the dataset and in"
                " the augmentation, which lets images follow the inputs; name every store of the"
                " dataset's images for AugmentedBatches, by the name that it has there, and no"
                " other"
            )

    def state_dict(self) -> dict[str, Tensor]:
        """The state of its augmenter, to go on as if nothing had happened."""
        return self.augmenter.state_dict()

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Go on from a state of `state_dict`."""
        self.augmenter.load_state_dict(state)

    def __call__(self, batch: Batch) -> Batch:
        """The batch with augmented inputs and what goes with them; all else as it is."""
        if self.inputs not in batch:
            raise InvalidSpec(
                f"the batch has no {self.inputs!r}, only {', '.join(batch)}; build stores with"
                " inputs, or name what is to be augmented"
            )
        if batch[self.inputs].dtype == torch.uint8 and self._maximum != BYTE_MAXIMUM:
            raise InvalidSpec(
                f"bytes of {self.inputs} would be divided by 255, and are values times"
                f" {self._maximum or 1:g}; make them floats first, as JoinedDataset does unless its"
                " dtype is stored or no maximum is known"
            )
        augmented = self.augmenter(batch[self.inputs].movedim(-1, 1).contiguous())
        result = batch | {self.inputs: augmented.values}
        for name, store in self.stores.items():
            turned = {variant: result.pop(other) for variant, other in self.pairs[name].items()}
            result[name] = follow_images(
                batch[name], augmented.steps, store.spec, store.channels, variants=turned
            )
        if self.classes is not None:
            result["targets"] = follow_targets(batch["labels"], self.classes, augmented.steps)
        return result


def _parse_inputs(stores: Mapping[str, Store], inputs: str) -> float | None:
    """By what whole numbers of the raw samples are divided, which are of the first store with them.

    Raises InvalidSpec where that is a variant: its samples are turned already.
    """
    name = next((name for name, store in stores.items() if "inputs" in store.columns), None)
    if name is None or inputs != "inputs":  # of the caller's own
        return BYTE_MAXIMUM
    if VARIANT in stores[name].spec.source.options:
        raise InvalidSpec(
            f"the inputs of a batch are of the first store with inputs, {name}, whose samples are"
            " turned already; name the plain store first, here and in the dataset"
        )
    maximum: float | None = stores[name].column("inputs").attributes.get("maximum")
    return maximum


def _pairs(stores: Mapping[str, Store]) -> dict[str, dict[str, str]]:
    """Of each plain store by its name: the name of each of its variants, by variant."""
    variants = {n: s for n, s in stores.items() if VARIANT in s.spec.source.options}
    names = {store.key: name for name, store in variants.items()}
    pairs: dict[str, dict[str, str]] = {name: {} for name in stores if name not in variants}
    for name in pairs:
        spec = stores[name].spec
        for variant in {s.spec.source.options[VARIANT] for s in variants.values()}:
            key = "" if spec.origin is not None else variant_spec(spec, variant).key
            if key in names:
                pairs[name][variant] = names.pop(key)
    if names:
        raise InvalidSpec(
            f"{', '.join(sorted(names.values()))}: a variant of none of the other stores; give the"
            " plain store too"
        )
    return pairs
