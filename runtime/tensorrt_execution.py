"""A network of TensorRT at one image size with all its memory in place, so that nothing but its launch is left.

Not run on a GPU yet: the tests give it a CUDA driver and a TensorRT made in Python.
"""

from collections.abc import Mapping
from math import prod

from runtime.cuda import ADVICE, Buffer, Cuda
from runtime.device_layout import Shape
from runtime.errors import BundleError, RestoreError
from runtime.tensorrt_networks import EngineNetwork

SIZES = {"FLOAT": 4, "HALF": 2, "BF16": 2}
"""Bytes of one value, by the type's name in TensorRT."""


class Execution:
    """An execution context of its own that is left alone afterwards, as TensorRT asks of one in a CUDA graph.

    inputs: address and shape of each. outputs: addresses of those that are wanted somewhere; the others get memory
    here. Raises OutOfMemoryError where there is too little, and RestoreError.
    """

    def __init__(
        self, network: EngineNetwork, cuda: Cuda, inputs: Mapping[str, tuple[int, Shape]], outputs: Mapping[str, int]
    ) -> None:
        taken = {name for name, tensor in network.tensors.items() if tensor["kind"] == "input"}
        if taken != inputs.keys():
            raise BundleError(f"{network.title} takes {sorted(taken)}, not {sorted(inputs)}: build it again")
        self._network, self._stream = network, cuda.stream
        self._context = network.new_context(managed=True)
        for name, (_, shape) in inputs.items():
            if not self._context.set_input_shape(name, shape):
                raise RestoreError(f"{network.title} refuses {name} of shape {shape}: {network.logger.last()}")
        self._buffers = [cuda.allocate(max(1, self._context.update_device_memory_size_for_shapes()))]
        self._context.set_device_memory(self._buffers[0].address, self._buffers[0].size)
        self.shapes = {name: tuple(self._context.get_tensor_shape(name)) for name in network.tensors}
        """Of every input and output."""
        given = {name: address for name, (address, _) in inputs.items()} | dict(outputs)
        self.addresses = {name: given.get(name) or self._allocate(name, cuda) for name in network.tensors}
        """Of every input and output."""
        for name, address in self.addresses.items():
            if not self._context.set_tensor_address(name, address):
                raise RestoreError(f"{network.title} refuses memory for {name}: {network.logger.last()}")

    def enqueue(self) -> None:
        """Give the network to the stream. Raises RestoreError if TensorRT refuses, which it also may in a capture."""
        if not self._context.execute_async_v3(self._stream):
            raise RestoreError(f"{self._network.title} did not start: {self._network.logger.last()}; {ADVICE}")

    @property
    def capturable(self) -> bool:
        """Whether TensorRT says that a CUDA graph can hold it, as far as it says anything."""
        ask = getattr(self._context, "is_stream_capturable", None)  # of TensorRT for RTX
        return ask is None or bool(ask(self._stream))

    def _allocate(self, name: str, cuda: Cuda) -> int:
        kind = self._network.tensors[name]["dtype"]
        if kind not in SIZES:
            raise BundleError(f"{self._network.title} gives {name} in {kind}, unknown here: build it again")
        buffer: Buffer = cuda.allocate(prod(self.shapes[name]) * SIZES[kind])
        self._buffers.append(buffer)
        return buffer.address
