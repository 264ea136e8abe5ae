"""A library that misbehaves as the first value of a field says; run in a child process."""

from __future__ import annotations

import collections
import itertools
import os
import signal
import sys
import time

import numpy as np

from pi_cache.specs import DiagramSpec

GOOD, ENDLESS, EXITS, KILLED, PRINTS, RAISES, GREEDY, TALKS, SLOW, LARGE = range(10)
HELD = 2**28
"""Bytes that LARGE holds."""


def pairs(field: np.ndarray, spec: DiagramSpec) -> list[np.ndarray]:
    """One essential class a dimension, or trouble."""
    trouble = int(field.flat[0])
    if trouble == ENDLESS:  # without ever giving the interpreter away
        collections.deque(itertools.repeat(0), maxlen=0)
    if trouble == EXITS:
        os._exit(3)
    if trouble == KILLED:
        os.kill(os.getpid(), signal.SIGKILL)
    if trouble == PRINTS:
        os.write(1, b"a library talks\n" * 100)
    if trouble == RAISES:
        raise ArithmeticError("did not converge")
    if trouble == GREEDY:
        np.empty(12 * 2**30, np.uint8)  # untouched: only a limit on the process refuses it
    if trouble == TALKS:
        sys.stderr.write("terminate called after throwing 'length_error'\n  what(): too long\n\n")
        sys.stderr.flush()
        os.abort()
    if trouble == SLOW:
        time.sleep(1.5)
    if trouble == LARGE:
        held = np.ones(HELD, np.uint8)
        collections.deque(itertools.repeat(held), maxlen=0)
    return [np.array([[float(k), np.inf]]) for k in spec.homology]
