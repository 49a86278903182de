"""One process at a time makes a result: `.NAME.lock` beside it is locked meanwhile.

The lock dies with its process. A file that is left behind says that one was killed, and what else it left is removed.
"""

import os
from contextlib import suppress
from dataclasses import dataclass
from fnmatch import fnmatchcase

from shadowdiffusion.runtime.file_locks import lock
from shadowdiffusion.runtime.replacing import hidden_name, temporary_name
from shadowdiffusion.runtime.unfinished import adopt, create, forget, remove


@dataclass(frozen=True)
class Claim:
    """The right to write a result, until `release`."""

    path: str
    file: int

    def release(self) -> None:
        """Let others have it."""
        remove(self.path)
        os.close(self.file)


def claim(target: str, *others: str) -> Claim | None:
    """Claim the file `target`, in a folder that exists, and with it what is made along with it; None if another process
    has it. Raises OSError.
    """
    path = _lock_of(target)
    while True:
        file, is_new = _open(path)
        try:
            free = lock(file)
        except OSError:
            adopt(path)
            return Claim(path, file)  # there are file systems without locks
        if free and _is(path, file):
            if not is_new:
                adopt(path)
                for abandoned in (target, *others):
                    _sweep(*os.path.split(abandoned))
            return Claim(path, file)
        if is_new:
            forget(path)
        os.close(file)
        if not free:
            return None
        # else its owner has just released and removed it


def release_abandoned(target: str, *others: str) -> None:
    """Remove the lock, and what else a killed process left behind, of a result that need not be made."""
    with suppress(OSError):
        if os.path.lexists(_lock_of(target)) and (mine := claim(target, *others)):
            mine.release()


def _lock_of(target: str) -> str:
    folder, name = os.path.split(target)
    return os.path.join(folder, hidden_name(name, ".lock"))


def _open(path: str) -> tuple[int, bool]:
    """A descriptor of the file, and whether it is new."""
    while True:
        try:
            return create(path), True
        except FileExistsError:
            with suppress(FileNotFoundError):
                return os.open(path, os.O_RDWR), False


def _is(path: str, file: int) -> bool:
    try:
        return os.path.samestat(os.stat(path), os.fstat(file))
    except FileNotFoundError:
        return False


def _sweep(folder: str, name: str) -> None:
    """Remove what a killed process was writing."""
    with suppress(OSError):
        for entry in os.listdir(folder or os.curdir):
            random = entry[-12:-4]
            if entry == temporary_name(name, random) and fnmatchcase(random, "[0-9a-f]" * 8):
                os.unlink(os.path.join(folder, entry))
