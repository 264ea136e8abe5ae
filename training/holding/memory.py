"""How much memory there is to hold samples in."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import torch

from pi_cache import files

MEMINFO = Path("/proc/meminfo")
GROUPS = (
    # The limit of the container or job, its use, and which part of that the system gives back.
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current", "inactive_file"),
    (
        "/sys/fs/cgroup/memory/memory.limit_in_bytes",
        "/sys/fs/cgroup/memory/memory.usage_in_bytes",
        "total_inactive_file",
    ),
)
UNREADABLE = (OSError, ValueError, LookupError)


def free_memory(device: torch.device) -> int:
    """Bytes that this process may still take: of the device, or of the machine and its limits.

    Of a machine where several ranks train (LOCAL_WORLD_SIZE, as torchrun sets it) each has its
    share.
    """
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    ranks = os.environ.get("LOCAL_WORLD_SIZE", "")
    return min(_limits()) // max(1, int(ranks) if ranks.isdigit() else 1)


def _limits() -> Iterator[int]:
    yield _of_machine()
    for limit, used, given_back in GROUPS:
        with suppress(*UNREADABLE):
            most = int(_text(Path(limit)))  # "max" is no limit
            statistics = dict(
                line.split() for line in _text(Path(limit).parent / "memory.stat").splitlines()
            )
            yield max(0, most - int(_text(Path(used))) + int(statistics.get(given_back, 0)))


def _of_machine() -> int:
    with suppress(*UNREADABLE):
        lines = (line.split() for line in _text(MEMINFO).splitlines())
        known = {words[0]: int(words[1]) for words in lines}
        return known["MemAvailable:"] * 1024
    # Elsewhere than on Linux: half of what the machine has.
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2


def _text(path: Path) -> str:
    return files.read_bytes(path).decode()
