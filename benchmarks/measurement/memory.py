"""Memory of this process."""

from __future__ import annotations

import resource
import sys


def peak_mib() -> float:
    """The most memory that was resident at once since the process began, MiB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10
