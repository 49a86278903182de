"""Where the package keeps what it can make again."""

import os
from pathlib import Path


def cache_folder(purpose: str) -> Path:
    """shadowdiffusion/PURPOSE in XDG_CACHE_HOME if that is absolute, else in ~/.cache; it need not exist."""
    home = os.environ.get("XDG_CACHE_HOME", "")
    base = Path(home) if os.path.isabs(home) else Path.home() / ".cache"
    return base / "shadowdiffusion" / purpose
