"""numba's `njit` with a type, and with what every kernel here wants.

A kernel is compiled once and kept on disk, see `machinecode`. A closure hits that disk cache only
when it closes over plain values: closing over another dispatcher gives it a new key in every
process.

A signal that comes while a kernel is compiled waits for its end: an exception inside a callback of
LLVM would be dropped, and the signal with it, or end the process.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any, TypeVar

import numba
from numba.core import event

from pipeline.kernels.machinecode import MachineCode

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
    dispatcher = numba.njit(nogil=True, no_cfunc_wrapper=True, **options)(kernel)
    dispatcher._cache = MachineCode(kernel)  # as njit(cache=True) has numba's own
    return dispatcher  # type: ignore[no-any-return]


class _HeldSignals(event.Listener):  # type: ignore[misc]
    """Handlers that Python would run amid a compilation, in its main thread, run after it."""

    def __init__(self) -> None:
        self.depth = 0  # a kernel is compiled while its caller is
        self.handlers: dict[int, Any] = {}
        self.came: list[int] = []

    def on_start(self, event: event.Event) -> None:
        if threading.current_thread() is not threading.main_thread():
            return
        self.depth += 1
        if self.depth == 1:
            found = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
            self.handlers = {number: it for number, it in found.items() if callable(it)}
            for number in self.handlers:
                signal.signal(number, self._hold)

    def on_end(self, event: event.Event) -> None:
        if threading.current_thread() is not threading.main_thread():
            return
        self.depth -= 1
        if self.depth == 0:
            for number, handler in self.handlers.items():
                signal.signal(number, handler)
            came, self.came = self.came, []
            for number in came:
                signal.raise_signal(number)

    def _hold(self, number: int, frame: FrameType | None) -> None:
        self.came.append(number)


event.register("numba:compiler_lock", _HeldSignals())
