"""How many CPU cores this process may keep busy. More threads than that wait for each other, many times as long."""

import os
from math import ceil
from pathlib import Path

from shadowdiffusion.runtime.control_groups import CGROUPS, PROC, groups_around
from shadowdiffusion.runtime.errors import RestoreError


def cores() -> int:
    """Those of the machine that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def usable_cores(proc: Path = PROC, cgroups: Path = CGROUPS) -> int:
    """The same, or fewer where a control group (container) gives their time in part only; at least 1."""
    shares = (_share(group, version) for group, version in groups_around("cpu", proc, cgroups))
    return min([cores(), *(max(1, ceil(share)) for share in shares if share is not None)])


def check_threads(wanted: int | None) -> None:
    """Raise RestoreError for fewer threads than one; None stands for as many as are useful."""
    if wanted is not None and wanted < 1:
        raise RestoreError(f"{wanted} threads are too few: choose at least 1")


def _share(group: Path, version: int) -> float | None:
    """Cores whose whole time a group may use, None = no limit."""
    try:
        if version == 2:
            quota, period = map(int, (group / "cpu.max").read_text().split())  # "max": no limit
        else:
            quota, period = (int((group / f"cpu.cfs_{name}_us").read_text()) for name in ("quota", "period"))
    except (OSError, ValueError):
        return None
    return quota / period if quota > 0 and period > 0 else None
