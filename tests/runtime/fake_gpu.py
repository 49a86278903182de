"""A CUDA driver made in Python, whose device memory is host memory and whose kernels are those of `kernels/`.

As on a real device, work only happens when its stream is waited for and in the order that streams and events leave it;
calls from a thread without the context are refused, during a capture nothing runs, and what a graph holds is what was
captured. Every call can be made to fail. Memory comes full of values that are no numbers and is watched on both sides.
"""

from __future__ import annotations

import ctypes
import struct
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

INVALID_VALUE, OUT_OF_MEMORY, INVALID_CONTEXT, UNSUPPORTED, INVALIDATED = 1, 2, 201, 900, 901
NAMES = {
    2: b"CUDA_ERROR_OUT_OF_MEMORY",
    201: b"CUDA_ERROR_INVALID_CONTEXT",
    700: b"CUDA_ERROR_ILLEGAL_ADDRESS",
    900: b"CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED",
    901: b"CUDA_ERROR_STREAM_CAPTURE_INVALIDATED",
}
MARGIN = 512
WATCH = 0xA5
NO_NUMBER = 0xFF  # float32 and float16 of these bytes are NaN
CUBIN = b"cubin of "
"""What a stand-in for a compiled kernel begins with; the name of its variant follows."""
ANYWHERE = ("cuInit", "cuDevice", "cuDriver", "cuCtx", "cuGetErrorName")
CONTEXT = 0xC0DE
UNSAFE = ("cuMemAlloc_v2", "cuMemFree_v2", "cuMemHostAlloc", "cuMemFreeHost", "cuStreamSynchronize")
"""Calls that a capture does not survive."""

Work = Callable[[], None]


@dataclass
class Memory:
    """A piece of memory between two margins."""

    raw: npt.NDArray[np.uint8]
    address: int
    size: int

    @classmethod
    def of(cls, size: int) -> Memory:
        raw = np.full(size + 2 * MARGIN, WATCH, np.uint8)
        address = -(-(raw.ctypes.data + MARGIN // 2) // 256) * 256
        memory = cls(raw, address, size)
        memory.bytes[:] = NO_NUMBER
        return memory

    @property
    def start(self) -> int:
        return self.address - self.raw.ctypes.data

    @property
    def bytes(self) -> npt.NDArray[np.uint8]:
        return self.raw[self.start : self.start + self.size]

    def check(self) -> None:
        assert (self.raw[: self.start] == WATCH).all(), "written before the memory"
        assert (self.raw[self.start + self.size :] == WATCH).all(), "written after the memory"


@dataclass
class Point:
    """An event: whether what it stands for has passed, and how to make it so."""

    stream: int | None = None
    passed: bool = True
    time: float = 0.0


@dataclass
class Captured:
    """What a stream got between the beginning and the end of a capture."""

    stream: int
    work: list[tuple[str, Work]] = field(default_factory=list)
    broken: int = 0


class Driver:
    """libcuda.so.1 with `size` bytes of device memory.

    refused: what a function of that name returns instead of 0. in_capture: the same, but only during a capture.
    calls: names of all calls. done: how often each kind of work ran on the device, kernels by their variant's name.
    """

    def __init__(self, size: int = 2**30, sm: int = 90, release: int = 13000) -> None:
        self.size, self.sm, self.release = size, sm, release
        self.memory: dict[int, Memory] = {}
        self.pinned: dict[int, Memory] = {}
        self.streams: dict[int, list[tuple[str, Work]]] = {}
        self.points: dict[int, Point] = {}
        self.functions: dict[int, str] = {}
        self.graphs: dict[int, Captured] = {}
        self.capture: Captured | None = None
        self.refused: dict[str, int] = {}
        self.in_capture: dict[str, int] = {}
        self.contexts: dict[int, list[int | None]] = {}
        """The contexts that each thread has pushed, the current one last."""
        self.calls: list[str] = []
        self.done = Counter[str]()
        self.lenient = False
        """Whether a file with the machine code of another kernel is taken."""
        self._next = 0x1000
        self._clock = 0.0

    def load(self, name: str) -> Driver:
        assert name == "libcuda.so.1"
        return self

    def __getattr__(self, name: str) -> Callable[..., int]:
        if not name.startswith("cu"):
            raise AttributeError(name)
        work = getattr(self, f"_{name.removesuffix('_v2')}")

        def call(*arguments: Any) -> int:
            self.calls.append(name)
            if name in self.refused:
                return self.refused[name]
            if not name.startswith(ANYWHERE) and self.current() != CONTEXT:
                return INVALID_CONTEXT
            refused = name in (*self.in_capture, *UNSAFE) and name != "cuStreamEndCapture"
            if self.capture is not None and refused:
                self.capture.broken = INVALIDATED
                return self.in_capture.get(name, UNSUPPORTED)
            return int(work(*arguments) or 0)

        return call

    def current(self) -> int | None:
        """The context of the calling thread."""
        return (self.contexts.get(threading.get_ident()) or [None])[-1]

    def used(self) -> int:
        return sum(memory.size for memory in self.memory.values())

    def enqueue(self, stream: int, name: str, work: Work) -> None:
        """Add work to a stream, or to what is being captured on it."""
        if self.capture is not None and stream == self.capture.stream:
            self.capture.work.append((name, work))
        else:
            self.streams[stream].append((name, work))

    def at(self, address: int, size: int) -> npt.NDArray[np.uint8]:
        """Device memory, which must be allocated."""
        for memory in self.memory.values():
            if memory.address <= address and address + size <= memory.address + memory.size:
                first = address - memory.address
                return memory.bytes[first : first + size]
        raise AssertionError(f"{size} bytes at {address:#x} are not device memory")

    def run(self, stream: int, until: Point | None = None) -> None:
        """Do the work of a stream, up to an event."""
        work = self.streams[stream]
        while work and not (until and until.passed):
            name, task = work.pop(0)
            if name:
                self.done[name] += 1
            task()
        for memory in self.memory.values():
            memory.check()

    def _handle(self) -> int:
        self._next += 16
        return self._next

    def _cuInit(self, flags: int) -> None:
        assert flags == 0

    def _cuDeviceGet(self, device: Any, ordinal: int) -> None:
        device._obj.value = ordinal

    def _cuDeviceGetAttribute(self, value: Any, attribute: int, device: Any) -> None:
        value._obj.value = {75: self.sm // 10, 76: self.sm % 10}[attribute]

    def _cuDevicePrimaryCtxRetain(self, context: Any, device: Any) -> None:
        context._obj.value = CONTEXT

    def _cuDriverGetVersion(self, version: Any) -> None:
        version._obj.value = self.release

    def _cuCtxPushCurrent(self, context: Any) -> None:
        self.contexts.setdefault(threading.get_ident(), []).append(context.value)

    def _cuCtxPopCurrent(self, context: Any) -> int:
        stack = self.contexts.get(threading.get_ident(), [])
        if not stack:
            return INVALID_CONTEXT
        context._obj.value = stack.pop()
        return 0

    def _cuStreamCreate(self, stream: Any, flags: int) -> None:
        assert flags == 1
        stream._obj.value = self._handle()
        self.streams[stream._obj.value] = []

    def _cuStreamSynchronize(self, stream: Any) -> None:
        self.run(stream.value)

    def _cuStreamWaitEvent(self, stream: Any, event: Any, flags: int) -> None:
        point = self.points[event.value]
        awaited = point.stream

        def wait() -> None:
            if awaited is not None:
                self.run(awaited, point)

        self.enqueue(stream.value, "", wait)

    def _cuEventCreate(self, event: Any, flags: int) -> None:
        event._obj.value = self._handle()
        self.points[event._obj.value] = Point()

    def _cuEventDestroy(self, event: Any) -> None:
        del self.points[event.value]

    def _cuEventRecord(self, event: Any, stream: Any) -> None:
        assert self.capture is None, "an event that was captured cannot be waited for"
        point = self.points[event.value]
        point.stream, point.passed = stream.value, False

        def arrive() -> None:
            self._clock += 1.0
            point.passed, point.time = True, self._clock

        self.enqueue(stream.value, "", arrive)

    def _cuEventSynchronize(self, event: Any) -> None:
        point = self.points[event.value]
        if point.stream is not None:
            self.run(point.stream, point)

    def _cuEventElapsedTime(self, milliseconds: Any, start: Any, end: Any) -> None:
        first, last = self.points[start.value], self.points[end.value]
        assert first.passed
        assert last.passed
        milliseconds._obj.value = last.time - first.time

    def _cuMemGetInfo(self, free: Any, total: Any) -> None:
        free._obj.value, total._obj.value = self.size - self.used(), self.size

    def _cuMemAlloc(self, address: Any, size: Any) -> int:
        if size.value == 0:
            return INVALID_VALUE
        if size.value > self.size - self.used():
            return OUT_OF_MEMORY
        memory = Memory.of(size.value)
        self.memory[memory.address] = memory
        address._obj.value = memory.address
        return 0

    def _cuMemFree(self, address: Any) -> None:
        self.memory.pop(address.value).check()

    def _cuMemHostAlloc(self, address: Any, size: Any, flags: int) -> None:
        memory = Memory.of(size.value)
        self.pinned[memory.address] = memory
        address._obj.value = memory.address

    def _cuMemFreeHost(self, address: Any) -> None:
        self.pinned.pop(address.value).check()

    def _cuMemcpyHtoDAsync(self, target: Any, source: Any, size: Any, stream: Any) -> None:
        captured = self.capture is not None and stream.value == self.capture.stream
        assert not captured, "the graph would upload this memory for ever"
        place, first, count = self.at(target.value, size.value), source.value, size.value

        def copy() -> None:
            place[:] = np.frombuffer(ctypes.string_at(first, count), np.uint8)

        self.enqueue(stream.value, "upload", copy)

    def _cuMemcpyDtoHAsync(self, target: Any, source: Any, size: Any, stream: Any) -> None:
        place, first, count = self.at(source.value, size.value), target.value, size.value

        def copy() -> None:
            ctypes.memmove(first, place.tobytes(), count)

        self.enqueue(stream.value, "download", copy)

    def _cuMemcpyDtoDAsync(self, target: Any, source: Any, size: Any, stream: Any) -> None:
        place, given = self.at(target.value, size.value), self.at(source.value, size.value)
        self.enqueue(stream.value, "copy", lambda: np.copyto(place, given))

    def _cuMemsetD32Async(self, target: Any, value: Any, count: Any, stream: Any) -> None:
        place, pattern = self.at(target.value, 4 * count.value).view(np.uint32), value.value
        self.enqueue(stream.value, "fill", lambda: np.copyto(place, pattern))

    def _cuGetErrorName(self, code: int, text: Any) -> None:
        text._obj.value = NAMES.get(code)

    def _cuModuleLoadData(self, module: Any, code: bytes) -> int:
        if not code.startswith(CUBIN):
            return INVALID_VALUE
        module._obj.value = self._handle()
        self.functions[module._obj.value] = code.removeprefix(CUBIN).decode()
        return 0

    def _cuModuleGetFunction(self, function: Any, module: Any, name: bytes) -> None:
        from tests.runtime.fake_kernels import VARIANTS

        variant = self.functions[module.value]
        assert self.lenient or name.decode() == VARIANTS[variant].kernel.__name__
        function._obj.value = self._handle()
        self.functions[function._obj.value] = variant

    def _cuLaunchKernel(self, function: Any, *rest: Any) -> None:
        from tests.runtime.fake_kernels import launch

        gx, gy, gz, bx, by, bz, shared, stream, parameters, extra = rest
        assert parameters is None
        assert [extra[0], extra[2], extra[4]] == [1, 2, None]  # the buffer, its size, the end
        packed = ctypes.string_at(extra[1], struct.unpack("N", ctypes.string_at(extra[3], 8))[0])
        variant = self.functions[function.value]
        assert shared.value <= 48 * 1024
        grid, block = (gx.value, gy.value, gz.value), (bx.value, by.value, bz.value)
        self.enqueue(stream.value, variant, launch(variant, grid, block, packed, self))

    def _cuStreamBeginCapture(self, stream: Any, mode: int) -> None:
        assert self.capture is None
        assert mode == 1  # thread local
        self.capture = Captured(stream.value)

    def _cuStreamEndCapture(self, stream: Any, graph: Any) -> int:
        assert self.capture is not None
        assert self.capture.stream == stream.value
        captured, self.capture = self.capture, None
        graph._obj.value = None
        if broken := captured.broken or self.in_capture.get("cuStreamEndCapture"):
            return broken
        graph._obj.value = self._handle()
        self.graphs[graph._obj.value] = captured
        return 0

    def _cuGraphInstantiateWithFlags(self, executable: Any, graph: Any, flags: Any) -> None:
        assert flags.value == 0
        executable._obj.value = self._handle()
        self.graphs[executable._obj.value] = self.graphs[graph.value]

    def _cuGraphDestroy(self, graph: Any) -> None:
        del self.graphs[graph.value]

    def _cuGraphExecDestroy(self, graph: Any) -> None:
        del self.graphs[graph.value]

    def _cuGraphLaunch(self, graph: Any, stream: Any) -> None:
        assert self.capture is None
        self.streams[stream.value] += self.graphs[graph.value].work
