"""Where the package keeps what it can make again."""

import os
from functools import cache
from pathlib import Path

from shadowdiffusion.runtime.errors import tell
from shadowdiffusion.runtime.replacing import replaced

CHOOSE = "XDG_CACHE_HOME chooses a folder"


def cache_folder(purpose: str) -> Path | None:
    """The cache's folder for one purpose, which need not exist.

    Args:
        purpose: Name of a folder.

    Returns:
        shadowdiffusion/PURPOSE in XDG_CACHE_HOME if that is absolute, else in ~/.cache; None without a home folder, as
        for a user without an account in a container, of which a warning tells once.
    """
    base = os.environ.get("XDG_CACHE_HOME", "")
    if os.path.isabs(base):
        return Path(base, "shadowdiffusion", purpose)
    home = os.path.expanduser("~")
    if os.path.isabs(home):
        return Path(home, ".cache", "shadowdiffusion", purpose)
    _warn_once()
    return None


@cache
def _warn_once() -> None:
    """Python itself warns again whenever a library has changed the filters of warnings."""
    tell(f"there is no cache, since this user has no home folder: {CHOOSE}")


def keep(file: Path | None, raw: bytes) -> None:
    """Write a file of the cache whole or not at all; a cache that cannot be written is none."""
    if file is None:
        return
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with replaced(file) as target:
            target.write(raw)
    except OSError:
        return
