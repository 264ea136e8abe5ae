"""Answers in JSON; an error is a sentence under `error`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from starlette.responses import Response

JSON = "application/json"


def answer(document: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """A JSON document. Raises ValueError for NaN and infinity, which JSON has not."""
    body = json.dumps(document, ensure_ascii=False, allow_nan=False).encode() + b"\n"
    return Response(body, status, headers, JSON)


def problem(status: int, sentence: str, headers: Mapping[str, str] | None = None) -> Response:
    """What went wrong, as a sentence without paths of the server."""
    return answer({"error": sentence}, status, headers)


def missing() -> Response:
    """What does not exist, or what this token may not see: nobody can tell which."""
    return problem(404, "there is nothing of that name here, or this token may not read it")


def empty(status: int, headers: Mapping[str, str]) -> Response:
    """An answer without a body, such as 304."""
    response = Response(status_code=status, headers=headers)
    response.raw_headers = [pair for pair in response.raw_headers if pair[0] != b"content-length"]
    return response
