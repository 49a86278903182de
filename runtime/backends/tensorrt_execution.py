"""A network of TensorRT at one image size with all its memory in place, so that nothing but its launch is left.

Not run on a GPU yet: the tests give it a CUDA driver and a TensorRT made in Python.
"""

from math import prod
from typing import TYPE_CHECKING

from shadowdiffusion.runtime.errors import BundleError, RestoreError
from shadowdiffusion.runtime.gpu.cuda import ADVICE, Buffer, Cuda
from shadowdiffusion.runtime.gpu.device_networks import Bound
from shadowdiffusion.runtime.gpu.tensor_types import SIZES

if TYPE_CHECKING:
    from shadowdiffusion.runtime.backends.tensorrt_networks import EngineNetwork


class TensorRTExecution:
    """As `runtime.gpu.device_networks.Execution`: a context that is left alone afterwards, as CUDA graphs need it."""

    def __init__(self, network: "EngineNetwork", cuda: Cuda, inputs: Bound, outputs: Bound) -> None:
        taken = {name for name, tensor in network.tensors.items() if tensor["kind"] == "input"}
        if taken != inputs.keys():
            raise BundleError(f"{network.title} takes {sorted(taken)}, not {sorted(inputs)}: build it again")
        self._network, self._stream = network, cuda.stream
        self._context, self._ran = network.new_context(), False
        for name, (_, shape) in inputs.items():
            if not self._context.set_input_shape(name, shape):
                raise RestoreError(f"{network.title} refuses {name} of shape {shape}: {network.logger.last()}")
        self._buffers = [cuda.allocate(network.memory_size(self._context))]
        self._context.set_device_memory(self._buffers[0].address, self._buffers[0].size)
        self.shapes = {name: tuple(self._context.get_tensor_shape(name)) for name in network.tensors}
        given = {name: address for name, (address, _) in (*inputs.items(), *outputs.items())}
        self.addresses = {name: given.get(name) or self._allocate(name, cuda) for name in network.tensors}
        for name, address in self.addresses.items():
            if not self._context.set_tensor_address(name, address):
                raise RestoreError(f"{network.title} refuses memory for {name}: {network.logger.last()}")

    def enqueue(self) -> None:
        """Give the network to the stream. Raises RestoreError if TensorRT refuses, which it also may in a capture."""
        if not self._context.execute_async_v3(self._stream):
            raise RestoreError(f"{self._network.title} did not start: {self._network.logger.last()}; {ADVICE}")
        if not self._ran:  # the first run is never part of a capture
            self._ran = True
            self._network.keep_kernels()

    @property
    def uncapturable(self) -> str | None:
        """What TensorRT says about it, if it says anything."""
        ask = getattr(self._context, "is_stream_capturable", None)  # of TensorRT for RTX
        return (
            None if ask is None or ask(self._stream) else f"TensorRT says that {self._network.title} cannot be captured"
        )

    def _allocate(self, name: str, cuda: Cuda) -> int:
        kind = self._network.tensors[name]["dtype"]
        if kind not in SIZES:
            raise BundleError(f"{self._network.title} gives {name} in {kind}, unknown here: build it again")
        buffer: Buffer = cuda.allocate(prod(self.shapes[name]) * SIZES[kind])
        self._buffers.append(buffer)
        return buffer.address
