"""Files of work in hand, locks and what is being written: none outlives its process, unless that is killed."""

import os
from contextlib import suppress
from threading import RLock

_turn = RLock()  # a signal is handled in the main thread, which may have it
_paths = set[str]()

PATIENCE = 2.0
"""Seconds to wait for a file that is being made when all are removed."""


def create(path: str | os.PathLike[str]) -> int:
    """Make a file that is not there yet, to be removed or renamed later.

    Args:
        path: Of the file.

    Returns:
        Its descriptor, for reading and writing.

    Raises:
        OSError: It is there already, or cannot be made.
        ValueError: The path has a zero byte.
    """
    with _turn:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
        _paths.add(os.fspath(path))
        return descriptor


def adopt(path: str | os.PathLike[str]) -> None:
    """Take over a file that a killed process left behind, or that a library is about to make."""
    with _turn:
        _paths.add(os.fspath(path))


def forget(path: str | os.PathLike[str]) -> None:
    """Leave a file that `create` made to another process, which was faster to lock it."""
    _paths.discard(os.fspath(path))


def remove(path: str | os.PathLike[str]) -> None:
    """Remove a file that `create` made, or that was adopted, if it still has this name."""
    with suppress(OSError, ValueError):
        os.unlink(path)
    _paths.discard(os.fspath(path))


def remove_all() -> None:
    """Remove all such files, and let no thread make another: the process must end at once."""
    _turn.acquire(timeout=PATIENCE)
    for path in list(_paths):
        with suppress(OSError):
            os.unlink(path)
