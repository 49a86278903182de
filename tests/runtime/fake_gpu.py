"""A CUDA driver and a TensorRT made in Python: what runs is the ONNX graph that stands in for the engine file.

As on a real device, copies and runs only happen when the stream is waited for, calls from a thread without the context
are refused, and every call can be made to fail.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto

INVALID_CONTEXT = 201


class Driver:
    """libcuda.so.1 with `size` bytes of memory. `refused`: what a function of that name returns instead of 0."""

    def __init__(self, size: int = 2**30) -> None:
        self.size = size
        self.memory: dict[int, bytearray] = {}
        self.queue: list[Callable[[], None]] = []
        self.refused: dict[str, int] = {}
        self.threads = set[int]()
        self.calls: list[str] = []
        self._next = 0x7F00_0000_0000

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
            anywhere = name.startswith(("cuInit", "cuDevice", "cuCtxSetCurrent", "cuGetErrorName"))
            if not anywhere and threading.get_ident() not in self.threads:
                return INVALID_CONTEXT
            return int(work(*arguments) or 0)

        return call

    def used(self) -> int:
        return sum(map(len, self.memory.values()))

    def _cuInit(self, flags: int) -> None:
        assert flags == 0

    def _cuDeviceGet(self, device: Any, ordinal: int) -> None:
        device._obj.value = ordinal

    def _cuDevicePrimaryCtxRetain(self, context: Any, device: Any) -> None:
        context._obj.value = 0xC0DE

    def _cuCtxSetCurrent(self, context: Any) -> None:
        assert context.value == 0xC0DE
        self.threads.add(threading.get_ident())

    def _cuStreamCreate(self, stream: Any, flags: int) -> None:
        stream._obj.value = 0x57

    def _cuMemGetInfo(self, free: Any, total: Any) -> None:
        free._obj.value, total._obj.value = self.size - self.used(), self.size

    def _cuMemAlloc(self, address: Any, size: Any) -> int:
        if size.value > self.size - self.used():
            return 2
        address._obj.value = self._next
        self.memory[self._next] = bytearray(size.value)
        self._next += max(size.value, 1) + 4096
        return 0

    def _cuMemFree(self, address: Any) -> None:
        del self.memory[address.value]

    def _cuMemcpyHtoDAsync(self, target: Any, source: Any, size: Any, stream: Any) -> None:
        assert stream.value == 0x57
        assert size.value <= len(self.memory[target.value])

        def copy() -> None:
            self.memory[target.value][: size.value] = ctypes.string_at(source.value, size.value)

        self.queue.append(copy)

    def _cuMemcpyDtoHAsync(self, target: Any, source: Any, size: Any, stream: Any) -> None:
        assert stream.value == 0x57
        assert size.value <= len(self.memory[source.value])

        def copy() -> None:
            ctypes.memmove(target.value, bytes(self.memory[source.value][: size.value]), size.value)

        self.queue.append(copy)

    def _cuStreamSynchronize(self, stream: Any) -> None:
        assert stream.value == 0x57
        for work in self.queue:
            work()
        self.queue.clear()

    def _cuGetErrorName(self, code: int, text: Any) -> None:
        text._obj.value = {201: b"CUDA_ERROR_INVALID_CONTEXT", 700: b"CUDA_ERROR_ILLEGAL_ADDRESS"}.get(code)


class TensorRT:
    """The module: only what the runtime calls. Set `refuse` to the name of a call that is to fail."""

    __version__ = "10.16.1"

    def __init__(self, driver: Driver) -> None:
        self.driver = driver
        self.refuse = ""
        self.opened: list[str] = []
        self.refitted_from: list[Path] = []
        self.ILogger = type("ILogger", (), {})

    def fails(self, call: str, logger: Any) -> bool:
        if self.refuse == call:
            logger.log(SimpleNamespace(name="WARNING"), "this is not it")
            logger.log(SimpleNamespace(name="ERROR"), f"the reason\n why {call} failed")
        return self.refuse == call

    def Runtime(self, logger: Any) -> Any:
        def deserialize(raw: bytes) -> Any:
            if self.fails("deserialize_cuda_engine", logger):
                return None
            self.opened.append(onnx.load_from_string(raw).graph.name)
            return Engine(self, onnx.load_from_string(raw), logger)

        return SimpleNamespace(deserialize_cuda_engine=deserialize, engine_host_code_allowed=False)

    def Refitter(self, engine: Engine, logger: Any) -> Any:
        return SimpleNamespace(engine=engine, refit_cuda_engine=lambda: not self.fails("refit_cuda_engine", logger))

    def OnnxParserRefitter(self, refitter: Any, logger: Any) -> Any:
        def refit_from_file(path: str) -> bool:
            self.refitted_from.append(Path(path))
            given = {tensor.name: tensor for tensor in onnx.load_model(path).graph.initializer}
            for tensor in refitter.engine.model.graph.initializer:
                tensor.CopyFrom(given[tensor.name])
            return not self.fails("refit_from_file", logger)

        return SimpleNamespace(refit_from_file=refit_from_file, num_errors=0)


class Engine:
    """An ONNX graph in place of an engine."""

    def __init__(self, module: TensorRT, model: onnx.ModelProto, logger: Any) -> None:
        self.module, self.model, self.logger = module, model, logger

    def create_execution_context(self) -> Context | None:
        failed = self.module.fails("create_execution_context", self.logger)
        return None if failed else Context(self)


class Context:
    """Runs the graph on device memory when the stream is waited for."""

    def __init__(self, engine: Engine) -> None:
        self._module, self._logger = engine.module, engine.logger
        self._session = onnxruntime.InferenceSession(engine.model.SerializeToString())
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._addresses: dict[str, int] = {}

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        self._shapes[name] = shape
        return not self._module.fails("set_input_shape", self._logger)

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        count, _, height, width = next(shape for shape in self._shapes.values() if len(shape) == 4)
        return (count, {"shadow": 1, "matte": 1, "features": 4}.get(name, 3), height, width)

    def set_tensor_address(self, name: str, address: int) -> bool:
        self._addresses[name] = address
        return not self._module.fails("set_tensor_address", self._logger)

    def execute_async_v3(self, stream: int) -> bool:
        assert stream == 0x57
        if self._module.fails("execute_async_v3", self._logger):
            return False
        memory = self._module.driver.memory

        def run() -> None:
            feed = {}
            for value in self._session.get_inputs():
                shape = self._shapes[value.name]
                raw = bytes(memory[self._addresses[value.name]])
                kind = np.float16 if value.type == "tensor(float16)" else np.float32
                feed[value.name] = np.frombuffer(raw, kind, int(np.prod(shape))).reshape(shape)
            names = [value.name for value in self._session.get_outputs()]
            for name, array in zip(names, self._session.run(names, feed), strict=True):
                assert array.shape == self.get_tensor_shape(name)
                memory[self._addresses[name]][: array.nbytes] = array.tobytes()

        self._module.driver.queue.append(run)
        return True


def strip_weights(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy whose float weights are zero, as an engine without weights."""
    stripped = onnx.ModelProto()
    stripped.CopyFrom(model)
    for tensor in stripped.graph.initializer:
        if tensor.data_type == TensorProto.FLOAT:
            tensor.CopyFrom(onnx.numpy_helper.from_array(0 * onnx.numpy_helper.to_array(tensor), tensor.name))
    return stripped
