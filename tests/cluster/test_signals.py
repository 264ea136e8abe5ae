"""A batch system asks a whole job to end: what computes for another process leaves it to that."""

from __future__ import annotations

import os
import signal
import threading

import numpy as np

from pi_cache.specs import DiagramSpec
from pipeline.engines import isolated
from pipeline.executors.alone import Alone
from pipeline.executors.signals import STOPPING, held_back
from tests.pipeline import fake_engine

SPEC = DiagramSpec(filtration="cubical", engine="gudhi")
FIELD = np.full((2, 2), float(fake_engine.GOOD))


def ask_to_end(process: int) -> None:
    """As scancel does, or a terminal that is closed."""
    for number in STOPPING:
        os.kill(process, number)


def test_an_engine_that_is_told_to_end_is_no_crash() -> None:
    child = isolated.Child()
    try:
        ask_to_end(child.process.pid)  # while its interpreter starts
        assert len(child.pairs(fake_engine.__name__, FIELD, SPEC, 30.0)) == 2
        ask_to_end(child.process.pid)
        assert len(child.pairs(fake_engine.__name__, FIELD, SPEC, 30.0)) == 2
    finally:
        child.close()


def test_a_process_alone_that_is_told_to_end_is_no_crash() -> None:
    with Alone() as process:
        process._start()
        assert process.process is not None
        ask_to_end(process.process.pid)
        assert process.call(divmod, 7, 2) == (3, 1)
        ask_to_end(process.process.pid)
        assert process.call(divmod, 7, 2) == (3, 1)


def test_a_stop_of_this_thread_is_only_held_back() -> None:
    """What comes while a process is started is heard right after."""
    heard: list[int] = []
    before = signal.signal(signal.SIGUSR2, lambda number, frame: heard.append(number))
    try:
        with held_back():
            signal.pthread_kill(threading.get_ident(), signal.SIGUSR2)
            assert heard == []
        assert heard == [signal.SIGUSR2]
    finally:
        signal.signal(signal.SIGUSR2, before)
