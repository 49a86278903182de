"""The library of CPU kernels that CMake builds from runtime/cpp/cpu, by its C interface (shadowdiffusion_cpu.h).

It is looked for where SHADOWDIFFUSION_CPU_LIBRARY says, else in the lib/ of this Python (`make cpu-kernels` puts it
into that of .venv), else where the loader finds it.
"""

import ctypes
import os
import sys
from collections.abc import Mapping
from ctypes import POINTER, byref, c_char_p, c_float, c_int, c_size_t, c_uint, c_void_p
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from shadowdiffusion.runtime.errors import BundleError, OutOfMemoryError, RestoreError

Array = npt.NDArray[np.float32]
Text = ctypes.Array[ctypes.c_char]

VARIABLE = "SHADOWDIFFUSION_CPU_LIBRARY"
NAME = "libshadowdiffusion_cpu.so.0.1"
"""With the version of its interface."""
OUT_OF_MEMORY = 2
LINE = 1000
"""Bytes for the text of an error."""


def __getattr__(name: str) -> str:
    """`__version__` of the library. Raises OSError if it cannot be loaded, as importing it would."""
    if name != "__version__":
        raise AttributeError(name)
    return str(_library().sdcpu_version().decode())


class Network:
    """A network of the file of a plan, on `threads` threads. Calls may come from any thread and take turns.

    Raises RestoreError where the library is missing, and BundleError for a file that is no plan.
    """

    def __init__(self, path: Path, threads: int) -> None:
        try:
            self._library = _library()
        except OSError as error:
            raise RestoreError(
                f"our CPU kernels cannot be loaded ({error}): build them, as docs/cpu-kernels.md says"
            ) from error
        self._error = ctypes.create_string_buffer(LINE)
        self._network = self._library.sdcpu_open(os.fsencode(path), threads, self._error, LINE)
        if not self._network:
            raise BundleError(self._error.value.decode(errors="replace"))

    def __del__(self) -> None:
        if getattr(self, "_network", None):
            self._library.sdcpu_close(self._network)

    def run_batch(self, feed: Mapping[str, Array], wanted: list[str]) -> list[Array]:
        """As a graph runs a batch: images [N, channels, height, width], one by one, and `row` [1, K] if it takes one.

        Raises RestoreError, OutOfMemoryError where memory runs out.
        """
        images = {name: values for name, values in feed.items() if name != "row"}
        row = feed["row"][0] if "row" in feed else None
        count = len(next(iter(images.values())))
        made = [self.run({name: values[i] for name, values in images.items()}, row, wanted) for i in range(count)]
        return [np.stack(each) for each in zip(*made, strict=True)]

    def run(self, inputs: Mapping[str, Array], row: Array | None, wanted: list[str]) -> list[Array]:
        """Outputs for one image: planes [channels, height, width], as the inputs.

        row: the row of the time table, float32 [K]. Raises RestoreError, OutOfMemoryError where memory runs out.
        """
        error = ctypes.create_string_buffer(LINE)
        given = {name: np.ascontiguousarray(planes, np.float32) for name, planes in inputs.items()}
        size = self._size(given, error)
        made = []
        for name in wanted:
            channels, shrink = self._port(name, error)
            made.append(np.empty((channels, size[0] // shrink, size[1] // shrink), np.float32))
        row = None if row is None else np.ascontiguousarray(row, np.float32)
        names, planes = (c_char_p * len(given))(*map(str.encode, given)), _pointers(list(given.values()))
        outputs, targets = (c_char_p * len(made))(*map(str.encode, wanted)), _pointers(made)
        values, count = (None, 0) if row is None else (row.ctypes.data_as(POINTER(c_float)), row.size)
        self._check(
            self._library.sdcpu_run(
                self._network, *size, len(given), names, planes, values, count, len(made), outputs, targets, error, LINE
            ),
            error,
        )
        return made

    def _size(self, inputs: Mapping[str, Array], error: Text) -> tuple[int, int]:
        """Height and width of the image that the inputs are of, in pixels."""
        sizes = set[tuple[int, int]]()
        for name, planes in inputs.items():
            channels, shrink = self._port(name, error)
            if planes.ndim != 3 or len(planes) != channels:
                raise RestoreError(f"{name} is [{channels}, height, width], not {list(planes.shape)}")
            sizes.add((planes.shape[1] * shrink, planes.shape[2] * shrink))
        if len(sizes) != 1:
            raise RestoreError(f"{' and '.join(inputs)} are of different sizes: {sorted(sizes)}")
        return sizes.pop()

    def _port(self, name: str, error: Text) -> tuple[int, int]:
        """Channels of an input or output, and the image's side over its own."""
        channels, shrink = c_size_t(), c_size_t()
        status = self._library.sdcpu_port(self._network, name.encode(), byref(channels), byref(shrink), error, LINE)
        self._check(status, error)
        return channels.value, shrink.value

    def _check(self, status: int, error: Text) -> None:
        if status == 0:
            return
        text = error.value.decode(errors="replace")
        raise OutOfMemoryError(text) if status == OUT_OF_MEMORY else RestoreError(text)


def _pointers(arrays: list[Array]) -> "ctypes.Array[ctypes._Pointer[c_float]]":
    return (POINTER(c_float) * len(arrays))(*(array.ctypes.data_as(POINTER(c_float)) for array in arrays))


@cache
def _library() -> ctypes.CDLL:
    named = os.environ.get(VARIABLE)
    own = Path(sys.prefix) / "lib" / NAME
    library = ctypes.CDLL(named or (str(own) if own.exists() else NAME))
    line = (c_char_p, c_size_t)
    tensors = (c_size_t, POINTER(c_char_p), POINTER(POINTER(c_float)))
    signatures = {
        "sdcpu_version": (c_char_p, ()),
        "sdcpu_open": (c_void_p, (c_char_p, c_uint, *line)),
        "sdcpu_port": (c_int, (c_void_p, c_char_p, POINTER(c_size_t), POINTER(c_size_t), *line)),
        "sdcpu_run": (
            c_int,
            (c_void_p, c_size_t, c_size_t, *tensors, POINTER(c_float), c_size_t, *tensors, *line),
        ),
        "sdcpu_close": (None, (c_void_p,)),
    }
    for name, (result, arguments) in signatures.items():
        try:
            function = getattr(library, name)
        except AttributeError as error:
            raise OSError(f"{library._name} lacks {name}") from error
        function.restype, function.argtypes = result, list(arguments)
    return library
