"""Memory of windows that is used again when nobody holds a sample of it any more."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


class Recycled:
    """Tensors of one shape and type, whose memory is new only as often as it must be.

    New memory costs a page fault every few thousand bytes, as much as decoding does.
    """

    def __init__(self, shape: Sequence[int], dtype: np.dtype[Any]) -> None:
        self.shape, self.dtype = tuple(shape), dtype
        self._free: list[NDArray[Any]] = []

    def take(self) -> tuple[NDArray[Any], Tensor]:
        """An array and a tensor of the same memory, holding anything.

        The memory is free again when the array, the tensor and every part of it are gone.
        """
        memory = self._free.pop() if self._free else np.empty(self.shape, self.dtype)
        view = memory.view()
        # All tensors over `view` share one storage, which holds `view` until the last is gone.
        weakref.finalize(view, self._free.append, memory).atexit = False
        return view, torch.from_numpy(view)
