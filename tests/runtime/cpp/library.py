"""The C++ library through ctypes: the structs of shadowdiffusion.h, and a Restorer like the Python one's."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from ctypes import POINTER, Structure, byref, c_char_p, c_double, c_float, c_int, c_int32, c_size_t, c_uint64, c_void_p
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

TYPES = {"uint8": 0, "uint16": 1, "float32": 2}
PROGRESS = ctypes.CFUNCTYPE(c_int, c_int32, c_int32, c_void_p)


class Photo(Structure):
    """shadowdiffusion_photo."""

    _fields_ = [
        ("pixels", c_void_p),
        ("type", c_int32),
        ("height", c_size_t),
        ("width", c_size_t),
        ("bands", c_size_t),
        ("stride", c_size_t),
    ]


class Settings(Structure):
    """shadowdiffusion_settings."""

    _fields_ = [("size", c_size_t), ("task", c_char_p), ("backend", c_char_p), ("threads", c_int32)]


class Options(Structure):
    """shadowdiffusion_options."""

    _fields_ = [
        ("size", c_size_t),
        ("steps", c_int32),
        ("seed", c_uint64),
        ("working_size", c_int32),
        ("native_size", c_int32),
        ("strength", c_double),
        ("progress", PROGRESS),
        ("context", c_void_p),
    ]


class Result(Structure):
    """shadowdiffusion_result."""

    _fields_ = [
        ("size", c_size_t),
        ("image", c_void_p),
        ("mask", POINTER(c_float)),
        ("prior", c_void_p),
        ("illumination", POINTER(c_float)),
    ]


class CppError(Exception):
    """A status other than OK, and the library's one line."""

    def __init__(self, status: int, line: str) -> None:
        super().__init__(line)
        self.status = status


@dataclass
class Restored:
    """As `runtime.Restored`."""

    image: npt.NDArray[Any]
    mask: npt.NDArray[np.float32]
    prior: npt.NDArray[Any]
    illumination: npt.NDArray[np.float32]


class Library:
    """The shared library at `path`."""

    def __init__(self, path: Path) -> None:
        self.c = ctypes.CDLL(str(path))
        self.c.shadowdiffusion_error.restype = c_char_p
        self.c.shadowdiffusion_version.restype = c_char_p
        self.c.shadowdiffusion_open.argtypes = [c_char_p, POINTER(Settings), POINTER(c_void_p)]
        self.c.shadowdiffusion_close.argtypes = [c_void_p]
        self.c.shadowdiffusion_close.restype = None
        photo = POINTER(Photo)
        self.c.shadowdiffusion_restore.argtypes = [c_void_p, photo, photo, POINTER(Options), POINTER(Result)]
        size = POINTER(c_size_t)
        self.c.shadowdiffusion_working_size.argtypes = [c_void_p, c_size_t, c_size_t, POINTER(Options), size, size]
        self.c.shadowdiffusion_check.argtypes = [c_void_p, POINTER(c_double)]

    def demand(self, status: int) -> None:
        """Raise CppError unless the status is OK."""
        if status != 0:
            raise CppError(status, self.c.shadowdiffusion_error().decode())


class Restorer:
    """A bundle opened by the library; with `task`, a built-in one."""

    def __init__(
        self,
        library: Library,
        bundle: Path | None = None,
        task: str | None = None,
        threads: int = 0,
        backend: str = "auto",
    ) -> None:
        self._library = library
        settings = Settings(ctypes.sizeof(Settings), task.encode() if task else None, backend.encode(), threads)
        self._handle = c_void_p()
        path = None if bundle is None else str(bundle).encode()
        library.demand(library.c.shadowdiffusion_open(path, byref(settings), byref(self._handle)))

    def close(self) -> None:
        """Free it."""
        self._library.c.shadowdiffusion_close(self._handle)

    def check(self) -> float:
        """PSNR in dB on the golden example."""
        found = c_double()
        self._library.demand(self._library.c.shadowdiffusion_check(self._handle, byref(found)))
        return found.value

    def __call__(
        self,
        image: npt.NDArray[Any],
        mask: npt.NDArray[Any] | None = None,
        *,
        steps: int = 0,
        seed: int = 0,
        working_size: int = 0,
        native: bool = False,
        strength: float = 1.0,
        progress: Callable[[int, int], bool] | None = None,
    ) -> Restored:
        """As `runtime.Restorer`, with everything that can be asked for."""
        call = PROGRESS(lambda done, total, _: int(not progress(done, total)) if progress else 0)
        options = Options(ctypes.sizeof(Options), steps, seed, working_size, native, strength, call, None)
        height, width = image.shape[:2]
        h, w = c_size_t(), c_size_t()
        size = self._library.c.shadowdiffusion_working_size
        self._library.demand(size(self._handle, height, width, byref(options), byref(h), byref(w)))
        found = Restored(
            np.empty_like(image),
            np.empty((height, width), np.float32),
            np.empty_like(image),
            np.empty((h.value, w.value, 3), np.float32),
        )
        floats = POINTER(c_float)
        result = Result(
            ctypes.sizeof(Result),
            found.image.ctypes.data,
            found.mask.ctypes.data_as(floats),
            found.prior.ctypes.data,
            found.illumination.ctypes.data_as(floats),
        )
        masked = None if mask is None else byref(_photo(mask))
        restore = self._library.c.shadowdiffusion_restore
        self._library.demand(restore(self._handle, byref(_photo(image)), masked, byref(options), byref(result)))
        return found


def _photo(pixels: npt.NDArray[Any]) -> Photo:
    assert pixels.flags.c_contiguous
    bands = 1 if pixels.ndim == 2 else pixels.shape[2]
    return Photo(pixels.ctypes.data, TYPES[pixels.dtype.name], pixels.shape[0], pixels.shape[1], bands, 0)
