"""One writer at a time in a folder. The lock is on the folder itself: it leaves no file, and dies with its holder."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from shadowdiffusion.export.errors import ExportError
from shadowdiffusion.runtime.bundle.folder import MANIFEST
from shadowdiffusion.runtime.file_locks import lock


@contextmanager
def writing(bundle: Path, report: Callable[[str], None] = lambda line: None) -> Iterator[None]:
    """Hold the lock of a bundle folder, as `locked` does.

    Raises ExportError for a packed bundle, which cannot be changed, and for what is no bundle at all.
    """
    if bundle.is_file():
        raise ExportError(f"{bundle} is a packed bundle, which is never changed: unzip it into a folder first")
    if not (bundle / MANIFEST).is_file():
        raise ExportError(f"{bundle} is not a bundle: name a folder that holds a {MANIFEST}")
    with locked(bundle, report):
        yield


@contextmanager
def locked(folder: Path, report: Callable[[str], None]) -> Iterator[None]:
    """Hold the lock of `folder`, waiting for another process if need be, which `report` then says.

    An OSError of what is done under the lock becomes an ExportError.
    """
    descriptor = _open_locked(folder, report)
    try:
        yield
    except OSError as error:
        where = f" ({error.filename})" if error.filename else ""
        raise ExportError(f"cannot write to {folder}: {error.strerror or error}{where}") from error
    finally:
        os.close(descriptor)


def _open_locked(folder: Path, report: Callable[[str], None]) -> int:
    """A descriptor of `folder` that holds its lock. The holder before may have put another folder in its place."""
    while True:
        try:
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        except OSError as error:
            raise ExportError(f"cannot open {folder}: {error.strerror}") from error
        try:
            if not lock(descriptor):
                report(f"waiting for another process that is writing to {folder}")
                lock(descriptor, wait=True)
            if folder.exists() and os.path.samestat(os.fstat(descriptor), os.stat(folder)):
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)
