"""What became of a sample."""

from __future__ import annotations

import enum


class Status(enum.IntEnum):
    """What became of a sample; stored per sample as uint8. Only OK samples are delivered."""

    OK = 0
    UNDECODABLE = 1
    NAN = 2
    INF = 3
    EMPTY = 4
    CONSTANT = 5
    WRONG_SHAPE = 6
    TOO_LARGE = 7
    TIMEOUT = 8
    CRASH = 9
    NOT_COMPUTED = 255
    """The fill value: what a lost shard reads as."""


RETRIED = (Status.TIMEOUT, Status.CRASH)
"""What another attempt may mend: it says something of limits and libraries, not of the sample."""
