"""The dictionary in one of CIFAR's Python batches: a pickle, read without trusting it.

A pickle is a program. The unpickler here knows five names, those that an array of bytes needs, and
puts a stand-in for each: none takes a size from the file (an array gets its shape together with
its bytes, which numpy compares), and there is one dtype.
"""

from __future__ import annotations

import io
import pickle
from pathlib import Path
from typing import Any

import numpy as np

from pi_cache.errors import SourceError


def load_batch(path: Path) -> dict[Any, Any]:
    """The batch's dictionary; its keys and strings are bytes, as Python 2 wrote them.

    Raises SourceError for a name that is not allowed, for a damaged file, for another content.
    """
    try:
        # From memory: then a length written in the file never decides how much is allocated.
        content = _PlainUnpickler(io.BytesIO(path.read_bytes()), encoding="bytes").load()
    except SourceError as error:
        raise SourceError(f"{path}: {error}") from None
    except Exception as error:  # a damaged pickle raises almost anything
        raise SourceError(
            f"{path} is no Python batch ({type(error).__name__}: {error}); download and unpack it "
            "again, or take the binary release"
        ) from None
    if not isinstance(content, dict):
        raise SourceError(f"{path} holds {describe(content)}, expected a dictionary")
    return content


def describe(value: object) -> str:
    """What a value is, in a few words for a message; its content is not shown."""
    if isinstance(value, np.ndarray):
        return f"an array of shape {value.shape}"
    return f"a list of {len(value)}" if isinstance(value, list) else f"a {type(value).__name__}"


class _PlainUnpickler(pickle.Unpickler):
    """Plain values and arrays of bytes; every other name is refused."""

    def find_class(self, module: str, name: str) -> Any:
        """The stand-in for MODULE.NAME. Raises SourceError for a name not needed here."""
        stand_ins: dict[str, Any] = {
            "numpy.core.multiarray._reconstruct": self._empty_array,
            "numpy._core.multiarray._reconstruct": self._empty_array,
            "numpy.ndarray": None,
            "numpy.dtype": self._bytes_dtype,
            "_codecs.encode": self._encode,
        }
        if f"{module}.{name}" not in stand_ins:
            raise SourceError(
                f"refused to unpickle {module}.{name}: a batch holds plain lists and byte arrays; "
                "download it again, or take the binary release"
            )
        return stand_ins[f"{module}.{name}"]

    def _empty_array(self, *_: object) -> np.ndarray:
        return np.ndarray.__new__(np.ndarray, (0,), np.uint8)

    def _bytes_dtype(self, name: str | bytes, *_: object) -> np.dtype[Any]:
        if name not in ("u1", b"u1"):
            raise SourceError(f"refused to unpickle an array of {name!r}, expected bytes (u1)")
        # A copy: the pickle goes on to set its state, and numpy's own must not change.
        return np.dtype("u1", align=False, copy=True)

    def _encode(self, text: str, *_: object) -> bytes:
        return text.encode("latin-1")  # how Python 3 writes bytes at protocol 2
