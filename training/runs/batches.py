"""The batches of a run whose inputs are augmented: which arrays they need, and what follows."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from torch import Tensor

from pi_cache.errors import InvalidSpec, StaleImages
from pi_cache.reader import Store
from pi_cache.specs import VARIANT
from training.augment.augmenter import Augmenter
from training.augment.base import Augmentation
from training.augment.batches import AugmentedBatches
from training.augment.variants import variant_spec
from training.joined import JoinedDataset
from training.tasks import Task


class AugmentedRun(AugmentedBatches):
    """AugmentedBatches of a run: of every store whose images a network of it reads.

    names: arrays that a batch must hold for that: the raw inputs, and variants of those stores.
    Its state is that of what it draws, so that a run which is taken up again draws the same.
    """

    names: tuple[str, ...]

    def state_dict(self) -> dict[str, Tensor]:
        """The state of what is drawn."""
        return self.augmenter.state_dict()

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Go on from a state of `state_dict`."""
        self.augmenter.load_state_dict(state)


def augmented(
    task: Task,
    augmentations: Sequence[Augmentation],
    read: Collection[str],
    *,
    seed: int,
    device: str = "cpu",
    allow_stale: bool = False,
) -> AugmentedRun | None:
    """The augmented batches of a run, None where nothing is augmented.

    read: arrays that its networks read. Raises InvalidSpec where no store holds raw inputs,
    StaleImages where images that are read do not follow.
    """
    if not augmentations:
        return None
    if "inputs" not in task.train.parts:
        raise InvalidSpec(
            "augmentations change the raw inputs, and no store here holds them; build one with"
            " inputs, or augment nothing"
        )
    stores = image_stores(task.train, read)
    own = _own_arrays(task.train, read)
    if own and not allow_stale:
        raise StaleImages(
            f"{', '.join(own)} of your own would not follow {augmentations[0].name}, as nothing is"
            " known of how it was made; augment nothing, or allow stale images (--allow-stale),"
            " which is written in the record of the run"
        )
    made = AugmentedRun(
        Augmenter(augmentations, seed=seed, device=device),
        stores,
        classes=len(task.class_names) if any(each.mixes for each in augmentations) else None,
        allow_stale=allow_stale,
    )
    made.names = ("inputs", *stores)
    made.record |= {name: {"stale": [each.name for each in augmentations]} for name in own}
    return made


def _own_arrays(dataset: JoinedDataset, names: Collection[str]) -> list[str]:
    """Arrays that are read, and are neither raw samples nor of a store."""
    return [n for n in dict.fromkeys(names) if not isinstance(dataset.parts[n].source, Store)]


def image_stores(dataset: JoinedDataset, names: Collection[str]) -> dict[str, Store]:
    """Stores whose images are read under these names, and the variants of them that are there."""
    sources = {name: part.source for name, part in dataset.parts.items() if part.array == "images"}
    stores = {name: source for name, source in sources.items() if isinstance(source, Store)}
    plain = [s for n, s in stores.items() if n in names and not _kind(s)]
    return {
        name: store
        for name, store in stores.items()
        if name in names or any(_turns(store, one) for one in plain)
    }


def _kind(store: Store) -> str:
    """The variant that a store is, "" for a plain one."""
    return str(store.spec.source.options.get(VARIANT, ""))


def _turns(variant: Store, plain: Store) -> bool:
    """Whether one store holds the turned samples of the other."""
    kind = _kind(variant)
    if not kind or plain.spec.origin is not None:
        return False
    return variant_spec(plain.spec, kind).key == variant.key
