"""The log of the service: a line of JSON for each request and for what goes wrong.

It names tokens by the name they were given and never holds a secret: neither headers nor the
part of an address after `?` are written.
"""

from __future__ import annotations

import datetime
import json
import logging
import logging.handlers
import sys
from pathlib import Path
from typing import Any

LONGEST = 200
"""Letters of a path that are written."""
ENCODER = json.JSONEncoder(ensure_ascii=True, default=str)
NAME = "pi_cache.serving"
SERVERS = ("uvicorn.error", "asyncio")
"""The loggers of the HTTP server and its loop: what they say of errors goes to the same place."""


class Log:
    """Where lines go: a file that is appended to (and opened anew once it was rotated), or stderr.

    Raises OSError where the file cannot be opened.
    """

    def __init__(self, path: Path | None = None) -> None:
        handler: logging.Handler = logging.StreamHandler()
        if path is not None:
            handler = _File(path, encoding="utf-8")
        handler.setFormatter(_Lines())
        self.handler = handler

    def take_over(self) -> None:
        """Have the HTTP server's own messages written here too."""
        for server in map(logging.getLogger, SERVERS):
            server.handlers = [self.handler]
            server.propagate = False

    def write(self, event: str, **facts: Any) -> None:
        """A line: what happened, and its facts as plain JSON values."""
        # The record is made here: a logger would look for the caller, which takes half of the time.
        record = logging.LogRecord(NAME, logging.INFO, "", 0, {"event": event, **facts}, None, None)
        self.handler.handle(record)


class _File(logging.handlers.WatchedFileHandler):
    """A file that may be rotated. Where it cannot be written, requests are answered all the same:
    standard error is told, once until lines are written again.
    """

    _fails = _told = False

    def emit(self, record: logging.LogRecord) -> None:
        """Write a line, if that can be."""
        self._fails = False
        try:
            super().emit(record)
        except OSError:  # the new file cannot be opened
            self.handleError(record)
        self._told = self._fails

    def handleError(self, record: logging.LogRecord) -> None:
        """Say why a line is lost."""
        self._fails = True
        if not self._told:
            reason = sys.exc_info()[1]
            print(f"pi-cache: no log in {self.baseFilename}: {reason}", file=sys.stderr, flush=True)


class _Lines(logging.Formatter):
    """Records as lines of JSON, each with its time in UTC."""

    def format(self, record: logging.LogRecord) -> str:
        moment = datetime.datetime.fromtimestamp(record.created, datetime.UTC)
        facts = record.msg
        if not isinstance(facts, dict):
            facts = {"event": "server", "message": super().format(record)}
        line = {"time": moment.isoformat(timespec="milliseconds"), **facts}
        return ENCODER.encode(line)


def path_text(raw: bytes) -> str:
    """A requested path as it is written to the log."""
    return raw[:LONGEST].decode("latin-1")
