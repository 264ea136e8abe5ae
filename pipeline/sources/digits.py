"""Handwritten digits of scikit-learn: 1,797 real images that are already on the machine."""

from __future__ import annotations

from pi_cache.errors import SourceError
from pipeline.sources.base import Source
from pipeline.sources.readers import MemoryReader

CITATION = (
    "E. Alpaydin, C. Kaynak: Optical Recognition of Handwritten Digits. UCI Machine Learning "
    "Repository, 1998, doi:10.24432/C50P49"
)
LICENCE = "CC BY 4.0"


def open_digits(path: str = "") -> Source:
    """Images (8, 8, 1) with values 0..16, and labels 0..9, in the order of scikit-learn.

    path: must be empty, the data are part of scikit-learn. Raises SourceError otherwise, or where
    scikit-learn is not installed.
    """
    if path:
        raise SourceError(f"digits takes no path, got {path!r}; use just: digits")
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise SourceError(
            f"digits come with scikit-learn, which cannot be imported ({error}); "
            "install it with: pip install scikit-learn"
        ) from error
    digits = load_digits()
    images = digits.images.astype("uint8")[..., None]  # (1797, 8, 8, 1)
    return Source(
        kind="digits",
        location="scikit-learn",
        sample="image",
        shape=images.shape[1:],
        channels=("grey",),
        dtype=images.dtype,
        maximum=16,
        ids=[f"digits-{position:04d}" for position in range(len(images))],
        labels=digits.target,
        reader=MemoryReader.of(images),
        label_names=tuple("0123456789"),
        citation=CITATION,
        licence=LICENCE,
    )
