"""Kernels that TensorRT for RTX compiles when an engine first runs, kept for the next process.

Not run on a GPU yet: the tests give it a TensorRT made in Python.
"""

import hashlib
from pathlib import Path
from typing import Any

from shadowdiffusion.runtime.cache import cache_folder, keep
from shadowdiffusion.runtime.selection.fit import this_machine


class RuntimeCache:
    """The kernels of one engine file on this GPU, in a file of the cache folder.

    TensorRT for RTX itself refuses a file of another version, GPU or driver, which is then written anew. A cache that
    cannot be read or written costs the compilation, nothing else.
    """

    def __init__(self, engine_file: str) -> None:
        """engine_file: SHA-256 of the engine."""
        name = hashlib.sha256(f"{engine_file} {this_machine().graphics}".encode()).hexdigest()
        folder = cache_folder("tensorrt-rtx")
        self.file = folder and folder / f"{name}.cache"
        self._cache: Any = None
        self._kept: bytes | None = None

    def attach(self, config: Any) -> None:
        """Let contexts of this runtime configuration take kernels from the cache, and add theirs."""
        if self._cache is None:
            self._cache = config.create_runtime_cache()
            raw = _read(self.file)
            if raw is not None and self._cache.deserialize(raw):
                self._kept = raw
        config.set_runtime_cache(self._cache)

    def keep(self) -> None:
        """Write the kernels, if there are others than in the file."""
        raw = bytes(self._cache.serialize())
        if raw != self._kept:
            keep(self.file, raw)
            self._kept = raw


def _read(file: Path | None) -> bytes | None:
    try:
        return file.read_bytes() if file else None
    except OSError:
        return None
