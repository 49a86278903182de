"""A TensorRT whose networks are those of `tests.runtime.tiny` as PyTorch operations on the memory they are bound to.

That may be a real GPU's, where the operations are captured as TensorRT's would be, or that of `tests.runtime.fake_gpu`.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from math import prod
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from torch.nn import functional

from tests.runtime.fake_gpu import Driver
from tests.runtime.fake_tensorrt import TensorRT
from tests.runtime.tiny import T

Tensors = dict[str, torch.Tensor]


class OnGpu:
    """A real GPU: operations go straight to the stream, captured or not."""

    def __init__(self) -> None:
        self._known: dict[tuple[int, tuple[int, ...]], torch.Tensor] = {}

    def tensor(self, address: int, shape: tuple[int, ...]) -> torch.Tensor:
        if (address, shape) not in self._known:  # nothing is looked up during a capture
            memory = SimpleNamespace(
                __cuda_array_interface__={"data": (address, False), "shape": shape, "typestr": "<f4", "version": 3}
            )
            self._known[address, shape] = torch.as_tensor(memory, device="cuda")
        return self._known[address, shape]

    def submit(self, stream: int, name: str, work: Callable[[], None]) -> None:
        with torch.cuda.stream(torch.cuda.ExternalStream(stream)):
            work()


class OnDriver:
    """The GPU made in Python: operations wait in the stream."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver

    def tensor(self, address: int, shape: tuple[int, ...]) -> torch.Tensor:
        self._driver.at(address, 4 * prod(shape))
        raw = (ctypes.c_uint8 * (4 * prod(shape))).from_address(address)
        return torch.frombuffer(raw, dtype=torch.float32).view(shape)

    def submit(self, stream: int, name: str, work: Callable[[], None]) -> None:
        self._driver.enqueue(stream, name, work)


class TorchTensorRT:
    """The module `tensorrt`, as far as the loop on the GPU uses it."""

    __version__ = TensorRT.__version__
    ExecutionContextAllocationStrategy = SimpleNamespace(STATIC="STATIC", USER_MANAGED="USER_MANAGED")

    def __init__(self, gpu: OnGpu | OnDriver) -> None:
        self.gpu = gpu
        self.ILogger = type("ILogger", (), {"__init__": lambda self: None})

    def Runtime(self, logger: Any) -> Any:
        def deserialize(raw: bytes) -> Any:
            model = onnx.load_from_string(raw)
            return SimpleNamespace(create_execution_context=lambda how: Context(self.gpu, model))

        return SimpleNamespace(deserialize_cuda_engine=deserialize)


class Context:
    """One of the three networks; which one, the graph's name says, and the graph has the weights."""

    def __init__(self, gpu: OnGpu | OnDriver, model: onnx.ModelProto) -> None:
        self._gpu, self._name = gpu, model.graph.name
        self._outputs = [value.name for value in model.graph.output]
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._addresses: dict[str, int] = {}
        weights = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
        self._weight = torch.from_numpy(weights.get("w", np.zeros((4, 8, 3, 3), np.float32)).copy())
        if isinstance(gpu, OnGpu):
            self._weight = self._weight.cuda()

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        self._shapes[name] = shape
        return True

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        if name in self._shapes:
            return self._shapes[name]
        count, _, height, width = next(shape for shape in self._shapes.values() if len(shape) == 4)
        return (count, {"shadow": 1, "matte": 1, "features": 4}.get(name, 3), height, width)

    def update_device_memory_size_for_shapes(self) -> int:
        return 256  # PyTorch has memory of its own

    def set_device_memory(self, address: int, size: int) -> None:
        pass

    def set_tensor_address(self, name: str, address: int) -> bool:
        self._addresses[name] = address
        return True

    def execute_async_v3(self, stream: int) -> bool:
        given, wanted = (
            {name: self._gpu.tensor(self._addresses[name], self.get_tensor_shape(name)) for name in names}
            for names in (self._shapes, self._outputs)
        )
        network = {"prior": _prior, "denoiser": self._denoiser, "mask head": _head}[self._name]

        def work() -> None:
            with torch.inference_mode(), torch.backends.cudnn.flags(allow_tf32=False, deterministic=True):
                for name, result in network(given).items():
                    if name in wanted:
                        wanted[name].copy_(result)

        self._gpu.submit(stream, self._name, work)
        return True

    def _denoiser(self, given: Tensors) -> Tensors:
        time = (given["t"] / T).view(-1, 1, 1, 1).expand_as(given["mask"])
        both = functional.conv2d(
            torch.cat((given["image"], given["mask"], given["x_t"], time), 1), self._weight, padding=1
        )
        return {"noise": both[:, :3], "features": both, "shadow": both[:, 3:].sigmoid()}


def _prior(given: Tensors) -> Tensors:
    image, mask = given["image"], given["mask"]
    return {"clean": (image * (1 + 0.5 * mask)).clamp(0, 1), "matte": image[:, :1] * mask}


def _head(given: Tensors) -> Tensors:
    return {"shadow": given["features"][:, 3:].sigmoid()}
