"""How much memory there is to hold samples in."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import torch

from pi_cache import files

MEMINFO = Path("/proc/meminfo")
OWN = Path("/proc/self/cgroup")
"""The groups that this process is in: of a container, or of a job that SLURM started."""
GROUPS = (
    # The limit of a group, its use, and which part of that the system gives back; of the outermost.
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
        for folder in _groups(Path(limit).parent):
            with suppress(*UNREADABLE):
                most = int(_text(folder / Path(limit).name))  # "max" is no limit
                lines = _text(folder / "memory.stat").splitlines()
                back = int(dict(line.split() for line in lines).get(given_back, 0))
                yield max(0, most - int(_text(folder / Path(used).name)) + back)


def _groups(outermost: Path) -> set[Path]:
    """The folders of all groups that limit this process: its own, and those that it lies in."""
    found = {outermost}
    with suppress(*UNREADABLE):
        for line in _text(OWN).splitlines():  # hierarchy:controllers:path
            _, controllers, path = line.split(":", 2)
            if not controllers or "memory" in controllers.split(","):
                own = outermost / path.lstrip("/")
                found |= {own, *(above for above in own.parents if outermost in above.parents)}
    return found


def _of_machine() -> int:
    with suppress(*UNREADABLE):
        lines = (line.split() for line in _text(MEMINFO).splitlines())
        known = {words[0]: int(words[1]) for words in lines}
        return known["MemAvailable:"] * 1024
    # Elsewhere than on Linux: half of what the machine has.
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2


def _text(path: Path) -> str:
    return files.read_bytes(path).decode()
