"""What a caller selects of a store: samples, channels, and the types in which they come.

Each `parse_` takes what callers write and gives one form of it, or raises InvalidSpec.
"""

from __future__ import annotations

import operator
import reprlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from pi_cache.errors import InvalidSpec
from pi_cache.reader import Store
from pi_cache.specs import Status

LISTED = 5
"""How many samples an error names."""

DtypeLike = str | torch.dtype | np.dtype[Any] | type[np.generic] | None


def parse_samples(samples: ArrayLike | Sequence[str], store: Store) -> NDArray[Any]:
    """Sample numbers (n,), or a mask (N,), of a store of N samples."""
    given = _parse_array(samples)
    if given.dtype == bool:
        if len(given) != len(store):
            raise InvalidSpec(f"samples: a mask needs {len(store)} values, got {len(given)}")
        return given.copy()
    if given.dtype.kind in "UT":  # T is numpy 2's StringDType
        return _numbers_of_ids(given.tolist(), store)
    if given.dtype == object:
        given = _parse_objects(given, store)
    if given.size and given.dtype.kind not in "iu":
        raise InvalidSpec(f"samples must be whole numbers, ids or a mask, got {given.dtype}")
    outside = given[(given < 0) | (given >= len(store))]
    if outside.size:
        raise InvalidSpec(
            f"samples: {outside[0]} is not in 0..{len(store) - 1} of store {store.key[:12]}"
        )
    return given.astype(np.intp)


def parse_usable(samples: ArrayLike | Sequence[str], store: Store) -> NDArray[np.int64]:
    """Sample numbers (n,) of numbers, ids or a mask, in the order given.

    Raises InvalidSpec for none, or one that is not OK.
    """
    given = parse_samples(samples, store)
    numbers = (np.flatnonzero(given) if given.dtype == bool else given).astype(np.int64)
    bad = numbers[store.status[numbers] != Status.OK]
    if len(bad):
        word = Status(int(store.status[bad[0]])).name
        raise InvalidSpec(
            f"samples must be OK: {store.ids[bad[0]]!r} is {word}; leave out the {len(bad)} that"
            " are not, as np.flatnonzero(store.status == 0) does"
        )
    if not len(numbers):
        raise InvalidSpec("samples: there are none; name some of the store")
    return numbers


def parse_channels(channels: Sequence[str | int], store: Store) -> list[int]:
    """Number of each channel, given by name or number."""
    names = store.channels
    listed = ", ".join(f"{c} {name}" for c, name in enumerate(names))
    try:
        given = [] if isinstance(channels, str) else list(channels)
    except TypeError:
        given = []
    if not given:
        raise InvalidSpec(f"channels must be a list of some of {listed}; got {described(channels)}")
    numbers = []
    for channel in given:
        named = isinstance(channel, str) and channel in names
        number = names.index(str(channel)) if named else whole_number(channel)
        if number is None or not 0 <= number < len(names):
            raise InvalidSpec(
                f"channel {described(channel)} is not in this store, which has {listed}"
            )
        numbers.append(number)
    return numbers


def parse_dtypes(dtype: DtypeLike | Mapping[str, DtypeLike]) -> dict[str, torch.dtype | None]:
    """By `images` and `inputs`: a floating type, or None to deliver what is stored."""
    asked: dict[str, DtypeLike] = {"images": None, "inputs": "stored"}
    if not isinstance(dtype, Mapping):
        asked["images"] = dtype
    else:
        wrong = sorted(str(name) for name in dtype if name not in asked)
        if wrong:
            raise InvalidSpec(f"dtype speaks of images and inputs, got {', '.join(wrong)}")
        asked |= dtype
    return {name: parse_dtype(value) for name, value in asked.items()}


def whole_number(value: Any) -> int | None:
    """The value as an int, None when it is something else; True and False are something else."""
    if isinstance(value, bool) or (isinstance(value, Tensor) and value.dtype == torch.bool):
        return None
    try:
        return operator.index(value)
    except TypeError:
        return None


def described(value: Any) -> str:
    """A value for an error: arrays and tensors by type and shape, anything else cut short."""
    if isinstance(value, np.ndarray | Tensor) and value.ndim:
        return f"{value.dtype} of shape {tuple(value.shape)}"
    return repr(value) if isinstance(value, str) else reprlib.repr(value)


def _parse_array(samples: Any) -> NDArray[Any]:
    try:
        # A mask computed on a device.
        given = samples.detach().cpu().numpy() if isinstance(samples, Tensor) else samples
        array = np.asarray(given)
    except (TypeError, ValueError):  # a type numpy has not, rows of unequal lengths
        array = np.empty(())
    if array.ndim != 1:
        raise InvalidSpec(
            f"samples must be a list of numbers or ids or a mask, got {described(samples)}"
        )
    return array


def _parse_objects(given: NDArray[np.object_], store: Store) -> NDArray[np.intp]:
    """Sample numbers (n,) of Python objects (n,), all of them ids or all whole numbers."""
    values = given.tolist()
    if all(isinstance(value, str) for value in values):
        return _numbers_of_ids(values, store)
    numbers = []
    for value in values:
        number = whole_number(value)
        if number is None:
            raise InvalidSpec(
                "samples must be whole numbers, ids or a mask, and of one kind, got"
                f" {described(value)} among {described(given)}"
            )
        if not 0 <= number < len(store):  # it may be too large for any integer of numpy
            raise InvalidSpec(
                f"samples: {number} is not in 0..{len(store) - 1} of store {store.key[:12]}"
            )
        numbers.append(number)
    return np.array(numbers, dtype=np.intp)


def _numbers_of_ids(ids: list[Any], store: Store) -> NDArray[np.intp]:
    numbers = {name: i for i, name in enumerate(store.ids.tolist())}
    unknown = [repr(name) for name in ids if name not in numbers]
    if unknown:
        more = f" and {len(unknown) - LISTED} more" if len(unknown) > LISTED else ""
        raise InvalidSpec(
            f"samples: no id {', '.join(unknown[:LISTED])}{more} in store {store.key[:12]};"
            f" its ids are like {store.ids[0]!r}"
        )
    return np.array([numbers[name] for name in ids], dtype=np.intp)


def parse_dtype(dtype: DtypeLike) -> torch.dtype | None:
    """A floating type, float32 for None; or None for `stored`."""
    if isinstance(dtype, str) and dtype == "stored":
        return None
    named: Any = torch.float32 if dtype is None else dtype
    if isinstance(named, np.dtype):
        named = named.name
    elif isinstance(named, type) and issubclass(named, np.generic):
        named = named.__name__
    found = getattr(torch, named, None) if isinstance(named, str) else named
    if not isinstance(found, torch.dtype) or not found.is_floating_point:
        raise InvalidSpec(
            "dtype must be stored or a floating type such as float32 or float16, got"
            f" {described(dtype)}"
        )
    return found
