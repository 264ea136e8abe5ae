"""numba's `njit` with a type, and with what every kernel here wants.

A kernel is compiled once and kept on disk. A closure hits that disk cache only when it closes over
plain values: closing over another dispatcher gives it a new key in every process.

numba looks at the age of a kernel's own file only, so a kernel that calls another one of another
file would be found as it was before that one changed. Kernels are therefore kept in a folder that
is named by the content of all their files.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numba
from platformdirs import user_cache_path

Kernel = TypeVar("Kernel", bound=Callable[..., Any])


def compiled(kernel: Kernel) -> Kernel:
    """The kernel in machine code: cached on disk, other threads run meanwhile.

    Products and sums may be contracted to fused ones, which round once instead of twice; nothing
    else of IEEE arithmetic is given up.
    """
    return _cached(kernel, fastmath={"contract"})


def exact(kernel: Kernel) -> Kernel:
    """As `compiled`, with every operation rounded on its own, as NumPy rounds."""
    return _cached(kernel)


def inlined(kernel: Kernel) -> Kernel:
    """A kernel copied into its callers: constant arguments stay constants, and it is compiled with
    them, once, where a kernel that is called is compiled again with every caller."""
    return numba.njit(inline="always")(kernel)  # type: ignore[no-any-return]


def _cached(kernel: Kernel, **options: Any) -> Kernel:
    before = numba.config.CACHE_DIR
    numba.config.CACHE_DIR = str(cache_folder())  # read when a function is decorated
    try:
        njit = numba.njit(cache=True, nogil=True, no_cfunc_wrapper=True, **options)
        return njit(kernel)  # type: ignore[no-any-return]
    finally:
        numba.config.CACHE_DIR = before


@functools.cache
def cache_folder() -> Path:
    """Where machine code is kept: under $NUMBA_CACHE_DIR, or the user's cache folder."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.read_bytes())
    base = Path(numba.config.CACHE_DIR or user_cache_path("pi-cache"))
    return base / "kernels" / digest.hexdigest()[:16]
