"""The bytes of a photo or mask, from a file or from stdin."""

import os
import select
import sys

from shadowdiffusion.runtime.batch.inputs import STDIN
from shadowdiffusion.runtime.batch.stopping import Stop
from shadowdiffusion.runtime.errors import PhotoError
from shadowdiffusion.runtime.photo.reading import opened

LARGEST = 2 << 30
"""Bytes that are read at most: more than a photo of the largest size has, and an end for endless devices."""


def read_bytes(path: str, stop: Stop) -> bytes:
    """The whole of a file, or of stdin for "-". Raises PhotoError, and Stopped while waiting for stdin."""
    if path == STDIN:
        return _stdin(stop)
    with opened(path) as file:
        if file.seekable() and os.fstat(file.fileno()).st_size <= LARGEST:
            data = file.readall()
        else:
            data = _some(file.fileno())
    return _checked(data, path)


def _some(file: int) -> bytes:
    with open(file, "rb", closefd=False) as stream:
        return stream.read(LARGEST + 1)


def _stdin(stop: Stop) -> bytes:
    if sys.stdin is None:
        raise PhotoError("stdin is closed: pipe a photo into it")
    if sys.stdin.isatty():
        raise PhotoError("stdin is a terminal: pipe a photo into it")
    file, parts, size = sys.stdin.fileno(), list[bytes](), 0
    while size <= LARGEST:
        stop.check()  # a pipe may stay silent for as long as it likes
        if select.select([file], [], [], 0.2)[0]:
            part = os.read(file, 1 << 20)
            if not part:
                break
            parts.append(part)
            size += len(part)
    return _checked(b"".join(parts), "stdin")


def _checked(data: bytes, name: str) -> bytes:
    if len(data) > LARGEST:
        raise PhotoError(f"{name} is larger than {LARGEST >> 30} GiB: that is no photo")
    return data
