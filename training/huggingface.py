"""A dataset as a Hugging Face `datasets.Dataset`: a view of the store, or a copy in Arrow files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from torch import Tensor

from pi_cache.errors import InvalidSpec
from training.data import PersistenceImageDataset


def as_datasets(dataset: PersistenceImageDataset) -> Any:
    """A `datasets.Dataset` with `id`, `label`, `group` and `split`; `image` is read when asked for.

    Nothing is copied: rows hold who the sample is, and a transform reads the images of a batch from
    the store, in the dtype of the dataset. So it filters, splits, shuffles and goes to a DataLoader
    as any other; `map` and `save_to_disk` write what they are given, and so copy.
    Raises ImportError with the line that installs `datasets`, InvalidSpec for a dataset without
    images.
    """
    _check_images(dataset)
    library = _library()
    table: dict[str, Any] = {"position": np.arange(len(dataset)), **_who(dataset)}
    view = library.Dataset.from_dict(table, features=_features(library, dataset))
    return view.with_transform(Reader(dataset), columns=["position"], output_all_columns=True)


def copied(dataset: PersistenceImageDataset, **options: Any) -> Any:
    """A `datasets.Dataset` that holds the images too, copied to the Arrow cache of that library.

    options: of `Dataset.from_generator`, such as `cache_dir`. Images are float32 or float64, or the
    bytes of uint8 stores where the dataset delivers what is stored. Raises InvalidSpec for others,
    and as `as_datasets`.
    """
    _check_images(dataset)
    library = _library()
    kind = str(_images(dataset, [0]).dtype).removeprefix("torch.")
    if kind not in ("float32", "float64", "uint8"):
        raise InvalidSpec(f"Arrow copies hold float32, float64 or uint8, got {kind}; give a dtype")
    features = library.Features(
        {
            "image": library.Array3D(shape=dataset.shape, dtype=kind),
            **{name: _features(library, dataset)[name] for name in _who(dataset)},
        }
    )
    return library.Dataset.from_generator(
        rows, features=features, gen_kwargs={"dataset": dataset}, **options
    )


def rows(dataset: PersistenceImageDataset, block: int = 256) -> Iterator[dict[str, Any]]:
    """Each sample as a dict of plain values, its image as an array; read a block at a time."""
    who = _who(dataset)
    for start in range(0, len(dataset), block):
        images = _images(dataset, range(start, min(start + block, len(dataset))))
        for place, image in enumerate(images, start):
            yield {"image": image, **{name: column[place] for name, column in who.items()}}


class Reader:
    """What reads the images of the rows of a view; pickled, it is the path of the store."""

    def __init__(self, dataset: PersistenceImageDataset) -> None:
        self.dataset = dataset

    def __call__(self, batch: Mapping[str, Sequence[int]]) -> dict[str, Any]:
        """The images (n, C, P, B) of these positions, beside them.

        `filter` and `map` with `input_columns` ask for columns without positions, and get them.
        """
        if "position" not in batch:
            return dict(batch)
        return {"image": _images(self.dataset, batch["position"]), "position": batch["position"]}


def _check_images(dataset: PersistenceImageDataset) -> None:
    if "images" not in dataset.names:
        raise InvalidSpec(f"the dataset delivers {', '.join(dataset.names)}; name images too")


def _images(dataset: PersistenceImageDataset, positions: Sequence[int]) -> Tensor:
    batch = dataset.batch(list(positions))
    images: Tensor = batch["images"] if isinstance(batch, dict) else batch[0]
    return images


def _who(dataset: PersistenceImageDataset) -> dict[str, list[Any]]:
    """Columns that say who each sample is."""
    columns = {
        "id": dataset.ids,
        "label": dataset.labels,
        "group": dataset.groups,
        "split": dataset.splits,
    }
    return {name: column.tolist() for name, column in columns.items() if column is not None}


def _features(library: Any, dataset: PersistenceImageDataset) -> Any:
    """The types of the columns; labels have their names where all of them have one."""
    names, text = dataset.label_names, library.Value("string")
    named = bool(names) and bool((dataset.labels < len(names)).all())
    label = library.ClassLabel(names=list(names)) if named else library.Value("int64")
    who = {"label": label, **dict.fromkeys({"id", "group", "split"} & set(_who(dataset)), text)}
    return library.Features(
        {"position": library.Value("int64"), **{name: who[name] for name in _who(dataset)}}
    )


def _library() -> Any:
    try:
        import datasets
    except ImportError as error:
        raise ImportError(
            'the Hugging Face view needs the package datasets: pip install ".[huggingface]"'
        ) from error
    return datasets
