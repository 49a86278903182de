"""How much memory this process may still take: of the machine, and of the containers that it runs in."""

import os
from pathlib import Path

from shadowdiffusion.runtime.control_groups import CGROUPS, PROC, groups_around

UNLIMITED = 1 << 60
"""The first version of control groups writes a number about as large for no limit."""
FILES = {
    1: ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    2: ("memory.max", "memory.current", "inactive_file"),
}
"""By the version of a group: its limit, what it has, and the cached files in its memory.stat."""


def available_memory(proc: Path = PROC, cgroups: Path = CGROUPS) -> int | None:
    """Bytes that can be had without swapping, None where the system does not say (only Linux does)."""
    try:
        lines = (proc / "meminfo").read_text().splitlines()
        fields = dict(line.split(":", 1) for line in lines)
        free = int(fields["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError, ValueError):
        return None
    return max(0, min([free, *_left_in_groups(proc, cgroups)]))


def own_memory(proc: Path = PROC) -> int:
    """Bytes of memory that this process has, 0 where the system does not say."""
    try:
        return int((proc / "self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError, ValueError):
        return 0


def _left_in_groups(proc: Path, cgroups: Path) -> list[int]:
    """What is left of the limit of every memory control group around this process, of either version."""
    left = []
    for group, version in groups_around("memory", proc, cgroups):
        most, used, reclaimable = FILES[version]
        try:
            limit = int((group / most).read_text())  # "max": no limit
            taken = int((group / used).read_text()) - _reclaimable(group, reclaimable)
        except (OSError, ValueError):
            continue
        if limit < UNLIMITED:
            left.append(limit - taken)
    return left


def _reclaimable(group: Path, name: str) -> int:
    """Bytes of cached files that the kernel drops when memory is needed."""
    try:
        pairs = (line.split() for line in (group / "memory.stat").read_text().splitlines())
        return next((int(value) for key, value in pairs if key == name), 0)
    except (OSError, ValueError):
        return 0
