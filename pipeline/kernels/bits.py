"""Sets of small whole numbers as 64-bit words: which number is in a set, and which is near another.

Number i is bit i % 64 of word i // 64.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba.extending import intrinsic

from pipeline.kernels.jit import compiled, inlined

ZERO = np.uint64(0)
ONE = np.uint64(1)


@intrinsic  # type: ignore[untyped-decorator]
def first_bit(typing_context: Any, word: Any) -> Any:
    """Position of the lowest set bit of a word that is not zero."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 1))

    return numba.int64(numba.uint64), generate


@intrinsic  # type: ignore[untyped-decorator]
def last_bit(typing_context: Any, word: Any) -> Any:
    """Position of the highest set bit of a word that is not zero."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        zeros = builder.ctlz(arguments[0], ir.Constant(ir.IntType(1), 1))
        return builder.sub(ir.Constant(ir.IntType(64), 63), zeros)

    return numba.int64(numba.uint64), generate


@inlined
def words_of(most: int) -> int:
    """Words for numbers below `most`: whole vectors of 8."""
    return (most + 511) // 512 * 8


@inlined
def bit(number: int) -> Any:
    """The word in which only this number's bit is set."""
    return ONE << np.uint64(number & 63)


@inlined
def near_in_word(word: Any, number: int) -> int:
    """Position in a word that is not zero: of the first bit from number's on, else of the last."""
    above = word >> np.uint64(number & 63)
    return (number & 63) + first_bit(above) if above != ZERO else last_bit(word)  # type: ignore[no-any-return]


@compiled
def near_in_set(words: np.ndarray, number: int) -> int:
    """A member close to the number, by words; -1 where the set is empty."""
    middle = number >> 6
    if words[middle] != ZERO:
        return middle * 64 + near_in_word(words[middle], number)
    for distance in range(1, len(words)):
        word = middle + distance
        if word < len(words) and words[word] != ZERO:
            return word * 64 + first_bit(words[word])  # type: ignore[no-any-return]
        word = middle - distance
        if word >= 0 and words[word] != ZERO:
            return word * 64 + last_bit(words[word])  # type: ignore[no-any-return]
    return -1
