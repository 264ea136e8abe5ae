"""What is known of each kind of source before any is opened: for people, and how to open it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

from pipeline.recordings import DATASETS
from pipeline.sources.base import Source
from pipeline.windows.published import PUBLISHED
from pipeline.windows.spec import HELP


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One kind of source.

    opener: `module.function` of this package, imported when first used. path: what stands after
    the colon, empty for none. line: one sentence. options: of `open_source`, beside `split`.
    opening: said before one is opened, where that may take long. facts: what else is known, by
    title.
    """

    opener: str
    line: str
    layout: str
    labels: str
    splits: str = "none"
    path: str = "FOLDER"
    options: tuple[str, ...] = ()
    citation: str = ""
    licence: str = ""
    opening: str = ""
    facts: Mapping[str, str] = field(default_factory=dict)

    def open(self, path: str, **options: Any) -> Source:
        """The source at a path. Raises SourceError."""
        module, _, function = self.opener.partition(".")
        opener: Callable[..., Source] = getattr(
            import_module(f"pipeline.sources.{module}"), function
        )
        return opener(path, **options) if self.path else opener(**options)


def recordings_kind(name: str) -> Kind:
    """The kind of a data set of recordings, by its facts."""
    facts = DATASETS[name].facts
    more = facts.describe()
    told = ("name", "title", "layout", "labels", "options", "citation", "licence")
    published = PUBLISHED.get(name)
    windows = HELP if published is None else {"windows": f"published: {published.words}"} | HELP
    own = {"subjects": "those to take [default: all]"} | windows
    own |= {"fitted": "the numbers of a fitted scale, as the spec of a store has them"}
    return Kind(
        opener=f"recordings.open_{name.replace('-', '_')}",
        line=f"windows of recordings: {facts.title}",
        layout=facts.layout,
        labels=more["labels"],
        splits="train, test as published" if name == "uci-har" else "none",
        path="PATH" if name == "table" else "FOLDER",
        options=(*own, *(name for name in facts.options if name not in own)),
        citation=facts.citation,
        licence=facts.licence,
        opening="first every recording is read once, to find which windows there are",
        facts={title: text for title, text in more.items() if title not in told}
        | {f"option {option}": text for option, text in own.items()},
    )


KRIZHEVSKY = "A. Krizhevsky: Learning Multiple Layers of Features from Tiny Images, 2009"
ASK = "none stated; the authors ask to be cited"

KINDS = {
    "digits": Kind(
        opener="digits.open_digits",
        line="1,797 handwritten digits of 8 x 8, already on this machine",
        layout="comes with scikit-learn",
        path="",
        labels="the digit, 0 to 9",
        citation=(
            "E. Alpaydin, C. Kaynak: Optical Recognition of Handwritten Digits. UCI Machine"
            " Learning Repository, 1998, doi:10.24432/C50P49"
        ),
        licence="CC BY 4.0",
    ),
    "cifar10": Kind(
        opener="cifar.open_cifar10",
        line="60,000 colour images of 32 x 32 in 10 classes",
        layout="FOLDER/data_batch_1.bin ... test_batch.bin, or the Python batches",
        labels="batches.meta.txt",
        splits="train, test",
        citation=KRIZHEVSKY,
        licence=ASK,
    ),
    "cifar100": Kind(
        opener="cifar.open_cifar100",
        line="60,000 colour images of 32 x 32 in 100 classes",
        layout="FOLDER/train.bin, test.bin, or the Python files",
        labels="fine (100 classes) or, with labels=coarse, coarse (20)",
        options=("labels",),
        splits="train, test",
        citation=KRIZHEVSKY,
        licence=ASK,
    ),
    "imagefolder": Kind(
        opener="folders.open_imagefolder",
        line="PNG or JPEG files of one size, a folder a class",
        layout="FOLDER/CLASS/*.png, or FOLDER/train|val|test/CLASS/*.png",
        labels="sorted folder names",
        splits="train, val, test where there are such folders",
        options=("mode",),
    ),
    "cinic10": Kind(
        opener="folders.open_cinic10",
        line="270,000 colour images of 32 x 32 in the classes of CIFAR-10",
        layout="FOLDER/train|valid|test/CLASS/*.png",
        labels="the class folders",
        splits="train, val (the folder valid), test",
        options=("mode",),
        citation=(
            "L. Darlow, E. Crowley, A. Antoniou, A. Storkey: CINIC-10 is not ImageNet or CIFAR-10."
            " arXiv:1810.03505, 2018"
        ),
        licence="CC BY 4.0 as published; the images have the terms of ImageNet and CIFAR-10",
    ),
    "tiny-imagenet": Kind(
        opener="tinyimagenet.open_tiny_imagenet",
        line="110,000 labelled colour images of 64 x 64 in 200 classes",
        layout="FOLDER/train/WNID/images/*.JPEG, val/images with val_annotations.txt, test/images",
        labels="words.txt; label numbers follow the sorted WordNet ids; none in test",
        splits="train, val, test",
        options=("mode",),
        citation="Y. Le, X. Yang: Tiny ImageNet Visual Recognition Challenge. CS231N, 2015",
        licence="terms of ImageNet: non-commercial research and education",
    ),
    **{name: recordings_kind(name) for name in DATASETS},
    "array": Kind(
        opener="arrays.open_array",
        line="a NumPy or Zarr array of images, signals, point clouds or distance matrices",
        layout="x.npy or x.zarr with x.labels.npy, x.ids.txt, ... beside it; or x.npz with all",
        path="FILE",
        labels="x.labels.npy or .txt: whole numbers or names",
        splits="x.splits.npy or .txt",
        options=(
            "sample",
            "maximum",
            "channels",
            "labels",
            "ids",
            "groups",
            "splits",
            "label_names",
        ),
    ),
    "ucr": Kind(
        opener="ucr.open_ucr",
        line="time series of the UCR and UEA archives",
        layout="NAME_TRAIN.ts, or a folder with NAME_TRAIN.ts and NAME_TEST.ts",
        path="FILE",
        labels="in the order of @classLabel",
        splits="train, test by file name",
        citation=(
            "H. A. Dau et al.: The UCR Time Series Archive. IEEE/CAA J. Autom. Sinica 6, 2019;"
            " A. Bagnall et al.: The UEA multivariate time series classification archive, 2018"
        ),
        licence="stated per data set; the archives ask to be cited",
    ),
}
"""The kinds of source, in the order in which they are listed."""
