"""Why a request is not taken, and what a client may read of a failure."""

from __future__ import annotations

import re
from collections.abc import Mapping

from pi_cache.errors import PiCacheError

MALFORMED, FORBIDDEN, TOO_LARGE, UNFIT, TOO_MANY = 400, 403, 413, 422, 429
BROKEN, NO_BUILDER, NO_ROOM = 500, 501, 507
"""HTTP status codes, by what is wrong."""

LONGEST = 2_000
"""Characters of a sentence; one that is longer loses its middle."""
PATH = re.compile(r"""(?<![\w.~/:])/(?:[^\s/:;,'"()]+/)+([^\s/:;,'"()]*)""")
"""An absolute path, and its last part."""


class BuildRefused(PiCacheError, ValueError):
    """A request that is not taken; `status` is the code of HTTP for it."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def without_paths(text: str, names: Mapping[str, str]) -> str:
    """A sentence for a client: it names no folder of this machine.

    names: what stands for a path, by the path.
    """
    for path in sorted(names, key=len, reverse=True):
        text = text.replace(path, names[path])
    text = PATH.sub(r".../\1", text)
    if len(text) > LONGEST:
        text = f"{text[: LONGEST // 2]} ... {text[-LONGEST // 2 :]}"
    return text
