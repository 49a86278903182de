"""A TensorRT made in Python: what runs is the ONNX graph that stands in for the engine file.

It runs on the memory of `tests.runtime.fake_gpu` when the stream is waited for, or as part of a captured graph, which a
context must outlive unchanged. Every call can be made to fail.
"""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto

from tests.runtime.fake_gpu import INVALIDATED, Driver


class TensorRT:
    """The module: only what the runtime calls. Set `refuse` to the name of a call that is to fail."""

    __version__ = "10.16.1"
    ExecutionContextAllocationStrategy = SimpleNamespace(STATIC="STATIC", USER_MANAGED="USER_MANAGED")

    def __init__(self, driver: Driver, rtx: bool = False) -> None:
        self.driver, self.rtx = driver, rtx
        if rtx:
            self.DynamicShapesKernelSpecializationStrategy = SimpleNamespace(LAZY="LAZY", EAGER="EAGER")
        self.refuse = self.refuse_in_capture = ""
        self.opened: list[str] = []
        self.compiled: list[str] = []
        """Networks for which TensorRT for RTX had no kernel in its cache, by shape."""
        self.refitted_from: list[Path] = []
        self.ILogger = type("ILogger", (), {})

    def for_rtx(self) -> TensorRT:
        """TensorRT for RTX on the same GPU, which is refused the same."""
        other = TensorRT(self.driver, rtx=True)
        other.fails = self.fails  # type: ignore[method-assign]
        other.compiled = self.compiled
        return other

    def fails(self, call: str, logger: Any) -> bool:
        refused = call == self.refuse or (self.driver.capture is not None and call == self.refuse_in_capture)
        if refused:
            logger.log(SimpleNamespace(name="WARNING"), "this is not it")
            logger.log(SimpleNamespace(name="ERROR"), f"the reason\n why {call} failed")
        return refused

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

    def create_runtime_config(self) -> Any:
        config = SimpleNamespace(strategy="STATIC", cache=None, create_runtime_cache=KernelCache)

        def set_runtime_cache(cache: KernelCache) -> bool:
            config.cache = cache
            return True

        config.set_runtime_cache = set_runtime_cache
        config.set_execution_context_allocation_strategy = lambda strategy: setattr(config, "strategy", strategy)
        return config

    def create_execution_context(self, how: Any) -> Context | None:
        cache: KernelCache | None = None
        if self.module.rtx:
            assert how.dynamic_shapes_kernel_specialization_strategy == "EAGER"
            how, cache = how.strategy, how.cache
        failed = self.module.fails("create_execution_context", self.logger)
        return None if failed else Context(self, how, cache)


class KernelCache:
    """Names of compiled kernels, one on a line; of another version nothing is taken."""

    VERSION = b"version 1"

    def __init__(self) -> None:
        self.kernels = set[bytes]()

    def serialize(self) -> bytes:
        return b"\n".join([self.VERSION, *sorted(self.kernels)])

    def deserialize(self, raw: bytes) -> bool:
        version, *kernels = raw.split(b"\n")
        if version != self.VERSION:
            return False
        self.kernels = set(kernels)
        return True


class Context:
    """Runs the graph on device memory when the stream is waited for."""

    def __init__(self, engine: Engine, strategy: str, cache: KernelCache | None) -> None:
        self._cache = cache
        self._module, self._logger = engine.module, engine.logger
        self._session = onnxruntime.InferenceSession(engine.model.SerializeToString())
        self._name = engine.model.graph.name
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._addresses: dict[str, int] = {}
        self._needed = 0 if strategy == "STATIC" else None
        self._given = 0
        self._warm = self._changes = 0
        if engine.module.rtx:
            self.is_stream_capturable = lambda stream: not self._module.fails("is_stream_capturable", self._logger)

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        if self._shapes.get(name) != shape:
            self._changes += 1
        self._shapes[name] = shape
        return not self._module.fails("set_input_shape", self._logger)

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        if name in self._shapes:
            return self._shapes[name]
        count, _, height, width = next(shape for shape in self._shapes.values() if len(shape) == 4)
        return (count, {"shadow": 1, "matte": 1, "features": 4}.get(name, 3), height, width)

    def update_device_memory_size_for_shapes(self) -> int:
        assert self._shapes.keys() == {value.name for value in self._session.get_inputs()}
        if self._module.fails("update_device_memory_size_for_shapes", self._logger):
            return 0
        self._needed = 64 * int(np.prod(next(iter(self._shapes.values()))))
        return self._needed

    def set_device_memory(self, address: int, size: int) -> None:
        assert address % 256 == 0
        self._module.driver.at(address, size)
        self._given = size

    def set_tensor_address(self, name: str, address: int) -> bool:
        assert address % 256 == 0
        if self._addresses.get(name) != address:
            self._changes += 1
        self._addresses[name] = address
        return not self._module.fails("set_tensor_address", self._logger)

    def execute_async_v3(self, stream: int) -> bool:
        driver = self._module.driver
        assert stream in driver.streams
        assert self._needed is not None
        assert self._given >= self._needed
        if self._module.fails("execute_async_v3", self._logger):
            return False
        kernel = f"{self._name} {sorted(self._shapes.items())}"
        if self._cache is not None and kernel.encode() not in self._cache.kernels:
            self._module.compiled.append(self._name)
            self._cache.kernels.add(kernel.encode())
        if driver.capture is not None and self._warm != self._changes:
            driver.capture.broken = INVALIDATED  # it has to set itself up for the shape first
            return False
        self._warm = changes = self._changes
        feeds = {
            value.name: self._tensor(value.name, self._shapes[value.name], value.type)
            for value in self._session.get_inputs()
        }
        targets = {
            value.name: self._tensor(value.name, self.get_tensor_shape(value.name), value.type)
            for value in self._session.get_outputs()
        }

        def run() -> None:
            assert changes == self._changes, "the context was changed after it was captured"
            results = self._session.run(list(targets), {name: array.copy() for name, array in feeds.items()})
            for target, result in zip(targets.values(), results, strict=True):
                assert result.shape == target.shape
                target[...] = result

        driver.enqueue(stream, self._name, run)
        return True

    def _tensor(self, name: str, shape: tuple[int, ...], kind: str) -> Any:
        """A view of the device memory that a tensor is bound to."""
        element = np.dtype({"tensor(float)": np.float32, "tensor(float16)": np.float16}[kind])
        raw = self._module.driver.at(self._addresses[name], int(np.prod(shape)) * element.itemsize)
        return raw.view(element).reshape(shape)


def strip_weights(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy whose float weights are zero, as an engine without weights."""
    stripped = onnx.ModelProto()
    stripped.CopyFrom(model)
    for tensor in stripped.graph.initializer:
        if tensor.data_type == TensorProto.FLOAT:
            tensor.CopyFrom(onnx.numpy_helper.from_array(0 * onnx.numpy_helper.to_array(tensor), tensor.name))
    return stripped
