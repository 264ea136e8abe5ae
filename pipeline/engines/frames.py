"""Messages between a process and its child: a line of JSON, and arrays as NumPy writes them.

Nothing is pickled. A message is one line, which holds the length in bytes of each array, and then
the arrays.
"""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from typing import Any, BinaryIO

import numpy as np


class Closed(EOFError):
    """The other side has gone."""


def write_message(
    stream: BinaryIO, header: dict[str, Any], arrays: Sequence[np.ndarray] = ()
) -> None:
    """Send one message. Raises OSError where the other side has gone."""
    parts = []
    for array in arrays:
        held = io.BytesIO()
        np.save(held, array, allow_pickle=False)
        parts.append(held.getbuffer())
    line = json.dumps({**header, "arrays": [len(part) for part in parts]})
    stream.write(line.encode() + b"\n")
    for part in parts:
        stream.write(part)
    stream.flush()


def read_message(stream: BinaryIO) -> tuple[dict[str, Any], list[np.ndarray]]:
    """The next message. Raises Closed at the end of the stream, wherever that is."""
    line = stream.readline()
    if not line.endswith(b"\n"):
        raise Closed("no more messages")
    header = json.loads(line)
    arrays = []
    for size in header.pop("arrays"):
        content = stream.read(size)
        if len(content) < size:
            raise Closed("a message ended early")
        arrays.append(np.load(io.BytesIO(content), allow_pickle=False))
    return header, arrays
