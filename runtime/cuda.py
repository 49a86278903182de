"""Device memory, copies and one stream, from the CUDA driver itself through ctypes: no CUDA toolkit and no package.

Not run on a GPU yet: the tests give it a driver made of Python functions.
"""

import ctypes
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from runtime.errors import RestoreError

Array = npt.NDArray[np.float32]

OUT_OF_MEMORY = 2  # CUDA_ERROR_OUT_OF_MEMORY
MIB = 2**20


class Cuda:
    """The first GPU that CUDA programs see, its primary context (which TensorRT uses too), and one stream.

    Raises RestoreError where there is no driver or no GPU, and from every call that the driver refuses.
    """

    def __init__(self, load: Callable[[str], Any] = ctypes.CDLL) -> None:
        try:
            self._driver = load("libcuda.so.1")
        except OSError as error:
            raise RestoreError(f"there is no NVIDIA driver here ({error}): use the CPU backend") from error
        device, self._context, stream = ctypes.c_int(), ctypes.c_void_p(), ctypes.c_void_p()
        self._call("cuInit", 0)
        self._call("cuDeviceGet", ctypes.byref(device), 0)
        self._call("cuDevicePrimaryCtxRetain", ctypes.byref(self._context), device)
        # never released: TensorRT holds it as well, until the process ends
        self.enter()
        self._call("cuStreamCreate", ctypes.byref(stream), 1)  # CU_STREAM_NON_BLOCKING
        self.stream = stream.value or 0
        """Handle of the stream, as TensorRT takes it."""

    def enter(self) -> None:
        """Make the context that of the calling thread, which needs it before anything else here."""
        self._call("cuCtxSetCurrent", self._context)

    def upload(self, address: int, array: Array) -> None:
        """Queue a copy of a contiguous array to the device; the array must live until `synchronize`."""
        self._call("cuMemcpyHtoDAsync_v2", _pointer(address), _data(array), ctypes.c_size_t(array.nbytes), self._stream)

    def download(self, array: Array, address: int) -> None:
        """Queue a copy from the device into a contiguous array, which holds it after `synchronize`."""
        self._call("cuMemcpyDtoHAsync_v2", _data(array), _pointer(address), ctypes.c_size_t(array.nbytes), self._stream)

    def synchronize(self) -> None:
        """Wait for the stream. What went wrong on the device is raised here."""
        self._call("cuStreamSynchronize", self._stream)

    def allocate(self, size: int) -> "Buffer":
        """Device memory of `size` bytes. Raises RestoreError with the figures where there is not enough."""
        address = ctypes.c_uint64()
        code = self._driver.cuMemAlloc_v2(ctypes.byref(address), ctypes.c_size_t(size))
        if code == OUT_OF_MEMORY:
            free, total = ctypes.c_size_t(), ctypes.c_size_t()
            self._call("cuMemGetInfo_v2", ctypes.byref(free), ctypes.byref(total))
            figures = f"{size / MIB:.0f} MiB are needed, {free.value / MIB:.0f} of {total.value / MIB:.0f} MiB are free"
            advice = "use a smaller working size, or end other programs on the GPU"
            raise RestoreError(f"GPU memory ran out ({figures}): {advice}")
        self._check("cuMemAlloc_v2", code)
        return Buffer(self, address.value, size)

    def release(self, address: int) -> None:
        """Give device memory back."""
        self._driver.cuCtxSetCurrent(self._context)  # the garbage collector may run in any thread
        self._driver.cuMemFree_v2(_pointer(address))

    @property
    def _stream(self) -> ctypes.c_void_p:
        return ctypes.c_void_p(self.stream)

    def _call(self, name: str, *arguments: Any) -> None:
        self._check(name, getattr(self._driver, name)(*arguments))

    def _check(self, name: str, code: int) -> None:
        if code != 0:
            text = ctypes.c_char_p()
            self._driver.cuGetErrorName(code, ctypes.byref(text))
            reason = (text.value or b"").decode(errors="replace") or f"error {code}"
            raise RestoreError(f"the GPU cannot be used: {name} failed with {reason}; use the CPU backend")


class Buffer:
    """Device memory at `address`, freed with the object."""

    def __init__(self, cuda: Cuda, address: int, size: int) -> None:
        self.address = address
        self.size = size
        weakref.finalize(self, cuda.release, address).atexit = False  # the driver clears up after a process


def _pointer(address: int) -> ctypes.c_uint64:
    return ctypes.c_uint64(address)


def _data(array: Array) -> ctypes.c_void_p:
    return ctypes.c_void_p(array.ctypes.data)
