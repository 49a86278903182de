"""What is at the place of a result: nothing, this very result, or something else, which is not to be lost."""

import hashlib
import os
from dataclasses import replace
from typing import Literal, NamedTuple

from shadowdiffusion.runtime.batch.notes import Notes, Origin
from shadowdiffusion.runtime.errors import PhotoError

Standing = Literal["absent", "done", "other"]


class Place(NamedTuple):
    """What is there, and for something else what it is, as a phrase."""

    standing: Standing
    what: str = ""


def look(path: str, origin: Origin, notes: Notes, source: str) -> Place:
    """What is at `path`, where a result with this origin is to be; `source` is the photo's path.

    Where a photo is restored in its own place, what was made of it earlier is the result too, although it has become
    the input. Raises PhotoError for a folder, or a file that cannot be read.
    """
    if os.path.isdir(path):
        raise PhotoError(f"cannot write {path}: it is a folder")
    if not os.path.lexists(path):
        return Place("absent")
    own = same_file(path, source)
    note = notes.of(os.path.basename(path))
    if note is None:
        return Place("other", "it is the photo itself" if own else "it exists already")
    if note.sha256 != hash_of(path):
        return Place("other", "it is the photo itself" if own else "it was changed since it was made")
    expected = replace(origin, input=note.origin.input) if own else origin
    if difference := expected.difference(note.origin):
        return Place("other", f"it exists already, made {difference}")
    return Place("done")


def hash_of(path: str | os.PathLike[str]) -> str:
    """SHA-256 of a file. Raises PhotoError."""
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise PhotoError(f"cannot read {os.fspath(path)}: {error.strerror}") from error


def same_file(path: str, other: str) -> bool:
    """Whether both are there, and one file."""
    try:
        return os.path.samefile(path, other)
    except OSError:
        return False
