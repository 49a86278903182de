"""Writing to a store of engines: which one it is, whose turn it is, and how a folder appears in it whole or not at all.

An engine is made in a scratch folder, which gets its name last: an interrupted build leaves nothing, a killed one a
scratch folder that the next build removes.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from shadowdiffusion.export.commands.console import Report
from shadowdiffusion.export.engines.lock import locked
from shadowdiffusion.export.errors import ExportError
from shadowdiffusion.runtime.bundle.engines import engine_stores
from shadowdiffusion.runtime.bundle.folder import Bundle
from shadowdiffusion.runtime.cache import CHOOSE

SCRATCH = ".tmp"


@contextmanager
def writable_store(bundle: Bundle, packed: bool, report: Report) -> Iterator[Path]:
    """Hold the lock of the store to build in, and give its folder: the bundle's own, else that of the cache.

    packed: the bundle came as one file, so that its folder is a copy that belongs to the cache. What killed builds
    left is gone. Raises ExportError if neither store can be written.
    """
    own, *others = engine_stores(bundle)
    if not packed and os.access(own if own.exists() else bundle.path, os.W_OK):
        with locked(bundle.path, report):
            own.mkdir(exist_ok=True)
            clear_scratch(own)
            try:
                yield own
            finally:
                if not any(own.iterdir()):
                    own.rmdir()
        return
    why = f"{bundle.path} {'is packed' if packed else 'cannot be written'}"
    if not others:
        raise ExportError(f"there is no place for engines: {why}, and there is no cache: {CHOOSE}")
    cache = others[0]
    try:
        cache.mkdir(parents=True, exist_ok=True)
        if not os.access(cache, os.W_OK):
            raise PermissionError(0, "it is not writable")
    except OSError as error:
        raise ExportError(
            f"there is no place for engines: {why}, nor can the cache {cache} ({error.strerror}): {CHOOSE}"
        ) from error
    report(f"{why}: its engines are stored in {cache}")
    with locked(cache, report):
        clear_scratch(cache)
        yield cache


def clear_scratch(store: Path) -> None:
    """Remove what killed builds left. Only for the holder of the store's lock: nothing else is under way then."""
    for left in store.glob(f".*{SCRATCH}"):
        shutil.rmtree(left)


@contextmanager
def scratch_folder(store: Path, name: str) -> Iterator[Path]:
    """A folder for the engine `name` that is gone at the end unless it was renamed."""
    folder = store / f".{name}{SCRATCH}"
    try:
        folder.mkdir()
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def put_in_place(folder: Path, target: Path) -> None:
    """Rename the finished folder; an old engine steps aside first and returns if that fails."""
    old = target.with_name(f".{target.name}.old{SCRATCH}")
    if target.exists():
        os.rename(target, old)
    try:
        os.rename(folder, target)
    except BaseException:
        if old.exists():
            os.rename(old, target)
        raise
    shutil.rmtree(old, ignore_errors=True)
