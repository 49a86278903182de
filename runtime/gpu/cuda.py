"""Memory, streams and events of a GPU, from the CUDA driver itself through ctypes: no CUDA toolkit and no package.

Not run on a GPU yet: the tests give it a driver made of Python functions.
"""

import ctypes
import gc
import os
import struct
import weakref
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np
import numpy.typing as npt

from shadowdiffusion.runtime.bundle.device import MAJOR, MINOR
from shadowdiffusion.runtime.errors import OutOfMemoryError, RestoreError
from shadowdiffusion.runtime.forking import AFTER_CUDA

Array = npt.NDArray[Any]

OUT_OF_MEMORY = 2  # CUDA_ERROR_OUT_OF_MEMORY
MIB = 2**20
ADVICE = "use a smaller working size, or end other programs on the GPU"


class Cuda:
    """The first GPU that CUDA programs see, its primary context (which TensorRT uses too), and two streams.

    A thread uses all of it inside `current`. Raises RestoreError where there is no driver or no GPU, and from every
    call that the driver refuses.
    """

    def __init__(self, load: Callable[[str], Any] = ctypes.CDLL) -> None:
        try:
            self._driver = load("libcuda.so.1")
        except OSError as error:
            raise RestoreError(f"there is no NVIDIA driver here ({error}): use the CPU backend") from error
        device, self._context = ctypes.c_int(), ctypes.c_void_p()
        self._freed, self._recording = deque[tuple[str, tuple[Any, ...]]](), False
        self._process = os.getpid()
        self.call("cuInit", 0)
        self.call("cuDeviceGet", ctypes.byref(device), 0)
        major, minor = ctypes.c_int(), ctypes.c_int()
        self.call("cuDeviceGetAttribute", ctypes.byref(major), MAJOR, device)
        self.call("cuDeviceGetAttribute", ctypes.byref(minor), MINOR, device)
        self.sm = 10 * major.value + minor.value
        """Compute capability times ten."""
        release = ctypes.c_int()
        self.call("cuDriverGetVersion", ctypes.byref(release))
        self.release = release.value // 1000, release.value % 1000 // 10
        """The CUDA release of the driver, such as (13, 0)."""
        self.call("cuDevicePrimaryCtxRetain", ctypes.byref(self._context), device)
        # never released: TensorRT holds it as well, until the process ends
        with self.current():
            self.stream = self._new_stream()
            """Handle of the stream for everything, as TensorRT takes it."""
            self.upload_stream = self._new_stream()
            """One more, for uploads beside what the other computes."""

    @contextmanager
    def current(self) -> Iterator[None]:
        """Make the context that of the calling thread; afterwards the thread has its own again, or none as before."""
        if os.getpid() != self._process:
            raise RestoreError(AFTER_CUDA)
        self.call("cuCtxPushCurrent_v2", self._context)
        try:
            yield
        finally:
            self._driver.cuCtxPopCurrent_v2(ctypes.byref(ctypes.c_void_p()))

    @contextmanager
    def recording(self) -> Iterator[None]:
        """Keep what ends a capture away from it: nothing is freed meanwhile, and the garbage collector rests."""
        collecting = gc.isenabled()
        gc.disable()
        self._recording = True
        try:
            yield
        finally:
            self._recording = False
            if collecting:
                gc.enable()
            self._free()

    def upload(self, address: int, array: Array, stream: int | None = None) -> None:
        """Queue a copy of a contiguous array to the device; the array must live until the stream was waited for."""
        on = ctypes.c_void_p(self.stream if stream is None else stream)
        self.call("cuMemcpyHtoDAsync_v2", pointer(address), _data(array), ctypes.c_size_t(array.nbytes), on)

    def download(self, array: Array, address: int) -> None:
        """Queue a copy from the device into a contiguous array, which holds it after `synchronize`."""
        self.call("cuMemcpyDtoHAsync_v2", _data(array), pointer(address), ctypes.c_size_t(array.nbytes), self._stream)

    def copy(self, target: int, source: int, size: int) -> None:
        """Queue a copy of `size` bytes within the device."""
        self.call("cuMemcpyDtoDAsync_v2", pointer(target), pointer(source), ctypes.c_size_t(size), self._stream)

    def fill(self, address: int, value: float, count: int) -> None:
        """Queue `count` float32 numbers of one value."""
        (bits,) = struct.unpack("I", struct.pack("f", value))
        self.call("cuMemsetD32Async", pointer(address), ctypes.c_uint(bits), ctypes.c_size_t(count), self._stream)

    def synchronize(self) -> None:
        """Wait for the stream. What went wrong on the device is raised here."""
        self.call("cuStreamSynchronize", self._stream)

    def settle(self) -> None:
        """Wait for both streams, whatever became of their work: memory that it used may then be used again."""
        for stream in (self.upload_stream, self.stream):
            self.attempt("cuStreamSynchronize", ctypes.c_void_p(stream))

    def allocate(self, size: int) -> "Buffer":
        """Device memory of `size` bytes. Raises OutOfMemoryError with the figures where there is not enough."""
        address = ctypes.c_uint64()
        code = self._driver.cuMemAlloc_v2(ctypes.byref(address), ctypes.c_size_t(size))
        if code == OUT_OF_MEMORY:
            free, total = ctypes.c_size_t(), ctypes.c_size_t()
            self.call("cuMemGetInfo_v2", ctypes.byref(free), ctypes.byref(total))
            figures = f"{size / MIB:.0f} MiB are needed, {free.value / MIB:.0f} of {total.value / MIB:.0f} MiB are free"
            raise OutOfMemoryError(f"GPU memory ran out ({figures}): {ADVICE}")
        self._check("cuMemAlloc_v2", code)
        return Buffer(self, address.value, size)

    def free(self, name: str, *arguments: Any) -> None:
        """Free something by the driver's function for it, from any thread, once nothing is being recorded.

        The function may fail: nothing can be done about it.
        """
        self._freed.append((name, arguments))
        if not self._recording:
            self._free()

    def _free(self) -> None:
        while self._freed:
            try:
                name, arguments = self._freed.popleft()
            except IndexError:  # another thread was faster
                return
            with suppress(RestoreError), self.current():  # finalizers run in any thread
                self.attempt(name, *arguments)

    def attempt(self, name: str, *arguments: Any) -> None:
        """Call a function of the driver that may fail."""
        getattr(self._driver, name)(*arguments)

    def call(self, name: str, *arguments: Any) -> None:
        """Call a function of the driver. Raises RestoreError if it fails."""
        self._check(name, getattr(self._driver, name)(*arguments))

    def _new_stream(self) -> int:
        stream = ctypes.c_void_p()
        self.call("cuStreamCreate", ctypes.byref(stream), 1)  # CU_STREAM_NON_BLOCKING
        return stream.value or 0

    @property
    def _stream(self) -> ctypes.c_void_p:
        return ctypes.c_void_p(self.stream)

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
        # the driver clears up after a process
        weakref.finalize(self, cuda.free, "cuMemFree_v2", pointer(address)).atexit = False


class Pinned:
    """Host memory that the GPU reads and writes by itself, so that copies run beside everything else.

    `bytes` is valid for the life of this object.
    """

    def __init__(self, cuda: Cuda, size: int) -> None:
        address = ctypes.c_void_p()
        cuda.call("cuMemHostAlloc", ctypes.byref(address), ctypes.c_size_t(size), 0)
        weakref.finalize(self, cuda.free, "cuMemFreeHost", address).atexit = False
        self.bytes = np.ctypeslib.as_array((ctypes.c_uint8 * size).from_address(address.value or 0))


class Event:
    """A point in a stream's work that others can wait for, and the time when it was passed."""

    def __init__(self, cuda: Cuda) -> None:
        self._cuda, self._handle = cuda, ctypes.c_void_p()
        cuda.call("cuEventCreate", ctypes.byref(self._handle), 0)
        weakref.finalize(self, cuda.free, "cuEventDestroy_v2", self._handle).atexit = False

    def record(self, stream: int) -> None:
        """Mark what the stream has been given so far."""
        self._cuda.call("cuEventRecord", self._handle, ctypes.c_void_p(stream))

    def hold(self, stream: int) -> None:
        """Let what the stream is given from now on wait for the event."""
        self._cuda.call("cuStreamWaitEvent", ctypes.c_void_p(stream), self._handle, 0)

    def synchronize(self) -> None:
        """Wait for the event. What went wrong on the device is raised here."""
        self._cuda.call("cuEventSynchronize", self._handle)

    def seconds_since(self, start: "Event") -> float:
        """Time between two events that have passed."""
        milliseconds = ctypes.c_float()
        self._cuda.call("cuEventElapsedTime", ctypes.byref(milliseconds), start._handle, self._handle)
        return milliseconds.value / 1000


def pointer(address: int) -> ctypes.c_uint64:
    """An address on the device, as the driver takes it."""
    return ctypes.c_uint64(address)


def _data(array: Array) -> ctypes.c_void_p:
    return ctypes.c_void_p(array.ctypes.data)
