"""numba's `njit` with a type, and with what every kernel here wants.

A kernel is compiled once and kept on disk. A closure hits that disk cache only when it closes over
plain values: closing over another dispatcher gives it a new key in every process.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numba

Kernel = TypeVar("Kernel", bound=Callable[..., Any])


def compiled(kernel: Kernel) -> Kernel:
    """The kernel in machine code: cached on disk, other threads run meanwhile.

    Products and sums may be contracted to fused ones, which round once instead of twice; nothing
    else of IEEE arithmetic is given up.
    """
    return numba.njit(cache=True, nogil=True, fastmath={"contract"})(kernel)  # type: ignore[no-any-return]


def inlined(kernel: Kernel) -> Kernel:
    """A kernel copied into its callers, so that a constant argument stays a constant there."""
    return numba.njit(inline="always")(kernel)  # type: ignore[no-any-return]
