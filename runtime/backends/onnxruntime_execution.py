"""ONNX Runtime in the loop on the GPU: its networks bound to memory that is there already, on the loop's own stream.

Not run on a GPU yet: the tests bind to memory of the CPU, where binding works the same.
"""

import threading
from math import prod
from typing import TYPE_CHECKING

import msgspec
import numpy as np
import numpy.typing as npt

from shadowdiffusion.runtime.backends.failures import failure
from shadowdiffusion.runtime.backends.onnxruntime_networks import OnnxRuntimeNetworks
from shadowdiffusion.runtime.bundle.engines import StoredEngine
from shadowdiffusion.runtime.bundle.folder import Bundle
from shadowdiffusion.runtime.errors import BundleError
from shadowdiffusion.runtime.gpu.cuda import Cuda
from shadowdiffusion.runtime.gpu.device_networks import Bound, Tensors

if TYPE_CHECKING:
    import onnxruntime

Array = npt.NDArray[np.float32]

TYPES = {"tensor(float)": "FLOAT", "tensor(float16)": "HALF"}
"""ONNX Runtime's names of types that `runtime.gpu.device_networks.Tensors` has under another."""


class OnnxRuntimeOnDevice(OnnxRuntimeNetworks):
    """The networks of a bundle, or of an engine of ONNX Runtime, as `runtime.gpu.device_networks.DeviceNetworks`.

    Raises RestoreError where there is no GPU or ONNX Runtime has no CUDA, and from every call if CUDA does not start.
    """

    batch = 1
    """More at once are other shapes, for which cuDNN may choose algorithms that round differently."""

    def __init__(self, bundle: Bundle, threads: int | None = None, engine: StoredEngine | None = None) -> None:
        super().__init__(bundle, "cuda", threads, engine)
        self.cuda, self.lock = Cuda(), threading.Lock()
        options = self._settings.provider_options | {"user_compute_stream": str(self.cuda.stream)}
        self._settings = msgspec.structs.replace(self._settings, provider_options=options)

    def run(self, name: str, inputs: dict[str, Array], wanted: list[str]) -> list[Array]:
        """Outputs of one graph. Raises RestoreError."""
        with self.lock:
            return super().run(name, inputs, wanted)

    def tensors(self, name: str) -> Tensors:
        """Inputs and outputs of one of the graphs, which this opens. Raises RestoreError."""
        session = self._session(name)
        kinds = {"input": session.get_inputs(), "output": session.get_outputs()}
        return {
            node.name: {"kind": kind, "dtype": TYPES.get(node.type, node.type)}
            for kind, nodes in kinds.items()
            for node in nodes
        }

    def check_size(self, name: str, count: int, height: int, width: int) -> None:
        """Any size for which there is memory."""

    def execution(self, name: str, inputs: Bound, outputs: Bound) -> "OnnxRuntimeExecution":
        """As `DeviceNetworks`."""
        return OnnxRuntimeExecution(name, self._session(name), self.cuda, inputs, outputs)


class OnnxRuntimeExecution:
    """As `runtime.gpu.device_networks.Execution`, after a first run on whatever the inputs hold.

    That run tells the shapes of all outputs, and makes ONNX Runtime take its memory and choose its algorithms.
    """

    uncapturable = "ONNX Runtime takes and moves memory while it runs"

    def __init__(
        self, name: str, session: "onnxruntime.InferenceSession", cuda: Cuda, inputs: Bound, outputs: Bound
    ) -> None:
        import onnxruntime

        taken = {node.name for node in session.get_inputs()}
        if taken != inputs.keys():
            raise BundleError(f"{name} takes {sorted(taken)}, not {sorted(inputs)}: export the bundle again")
        self._name, self._session, self._binding = name, session, session.io_binding()
        self._size = next(iter(inputs.values()))[1]
        self._options = onnxruntime.RunOptions()
        self._options.add_run_config_entry("disable_synchronize_execution_providers", "1")  # the stream does not wait
        self.shapes = {key: shape for key, (_, shape) in (*inputs.items(), *outputs.items())}
        self.addresses = {key: address for key, (address, _) in (*inputs.items(), *outputs.items())}
        for key in inputs:
            self._binding.bind_input(key, "cuda", 0, np.float32, self.shapes[key], self.addresses[key])
        names = [node.name for node in session.get_outputs()]
        for key in names:
            self._binding.bind_output(key, "cuda")
        self.enqueue()
        cuda.synchronize()
        found = self._binding.get_outputs()
        self.shapes |= {key: tuple(value.shape()) for key, value in zip(names, found, strict=True)}
        self._buffers = {key: cuda.allocate(4 * prod(self.shapes[key])) for key in names if key not in outputs}
        self.addresses |= {key: buffer.address for key, buffer in self._buffers.items()}
        self._binding.clear_binding_outputs()
        for key in names:
            self._binding.bind_output(key, "cuda", 0, np.float32, self.shapes[key], self.addresses[key])

    def enqueue(self) -> None:
        """Give the network to the stream. Raises RestoreError."""
        try:
            self._session.run_with_iobinding(self._binding, self._options)
        except Exception as error:  # ONNX Runtime has no common base for its own exceptions
            raise failure(self._name, self._size, error) from error
