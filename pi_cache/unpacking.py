"""Blosc into memory that is there, without what numcodecs does around each call.

numcodecs looks at every buffer in Python, which takes as long as decoding a chunk of a few
thousand bytes. The function of C-Blosc that it calls in the end is in its library, and is called
here with the two addresses.
"""

from __future__ import annotations

import ctypes
from functools import cache
from typing import Any

import numpy as np
from numcodecs import blosc
from numpy.typing import NDArray


def unpack(block: bytes | NDArray[np.uint8], out: NDArray[Any]) -> None:
    """Decode a Blosc block, of which the header was checked, into the contiguous `out`.

    block: bytes after it are not read. Raises RuntimeError when it is damaged, TypeError when
    `out` is not contiguous or cannot be written.
    """
    function = _function()
    if function is None:
        blosc.decompress(block, out)
        return
    size = out.nbytes
    source = block if isinstance(block, bytes) else block.ctypes.data
    memory: Any = out
    target = ctypes.addressof(ctypes.c_char.from_buffer(memory))  # a quarter of out.ctypes
    made = function(source, target, size, 1)
    if made != size:
        raise RuntimeError(f"Blosc decoded {made} bytes, expected {size}")


@cache
def _function() -> Any:
    """C-Blosc's `blosc_decompress_ctx`; None where the library does not show it."""
    try:
        function = ctypes.CDLL(blosc.__file__).blosc_decompress_ctx
    except (AttributeError, OSError):
        return None
    function.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    function.restype = ctypes.c_int
    return function
