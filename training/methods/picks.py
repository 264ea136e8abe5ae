"""Which epoch of a teacher's run a method means."""

from __future__ import annotations

from pi_cache.errors import InvalidSpec
from training.methods.base import Method
from training.trained import PICKS


def picked(method: Method, path: str) -> str:
    """The path of a teacher for `read_trained`: `RUN:last` of RUN for full-kd, and so on.

    A file stays as it is. Raises InvalidSpec where the path names the other epoch: what is called
    ESKD would be full KD.
    """
    if method.pick is None or path.endswith(".safetensors"):
        return path
    head, colon, pick = path.rpartition(":")
    if not colon or pick not in PICKS:
        return f"{path}:{method.pick}"
    if pick != method.pick:
        raise InvalidSpec(
            f"{method.name} is KD from the {method.pick} epoch of a teacher, got {path}; give"
            f" {head}, or use kd"
        )
    return path
