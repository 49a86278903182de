"""Files that appear whole or not at all: written under a hidden name beside their target, `.NAME.<random>.tmp`, and
renamed. Only a process that is killed leaves one behind; nothing ever reads it.
"""

import hashlib
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from shadowdiffusion.runtime.unfinished import create, remove

_LONGEST = 143
"""Bytes of a name that every usual file system takes; most take 255, those that encrypt names fewer."""


def hidden_name(name: str, ending: str) -> str:
    """`.NAME` with an ending, where a hash stands for a NAME that would become too long."""
    raw = os.fsencode(name)
    if 1 + len(raw) + len(ending) > _LONGEST:
        name = hashlib.sha256(raw).hexdigest()[:32]
    return f".{name}{ending}"


def temporary_beside(target: Path) -> Path:
    """A fresh name for what is to become `target`."""
    return target.with_name(temporary_name(target.name, secrets.token_hex(4)))


def temporary_name(name: str, random: str) -> str:
    """The hidden name of what is to become NAME; random: 8 hexadecimal digits."""
    return hidden_name(name, f".{random}.tmp")


@contextmanager
def replaced(target: Path) -> Iterator[BinaryIO]:
    """A file to write, and to read, which becomes `target` at the end unless an error is raised. Raises OSError."""
    temporary = temporary_beside(target)
    try:
        with open(create(temporary), "r+b") as file:
            yield file
            file.flush()
            os.fsync(file)  # some disks say only now that they are full
        os.replace(temporary, target)
    finally:
        remove(temporary)
