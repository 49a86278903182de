"""ONNX Runtime on a GPU: what all steps of one photo read is uploaded once.

Not run on a GPU yet: the tests bind to the CPU, where binding works the same.
"""

import threading
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import onnxruntime

Array = npt.NDArray[np.float32]

SHARED = ("image", "mask")
"""Inputs of the denoiser that stay the same from step to step."""


class DeviceInputs:
    """Runs a denoiser with its inputs bound to a device ("cuda" or "cpu"). Calls may come from any thread.

    An image that is the very array of the last call marks the next step of the same photo: then the image, and the
    mask if that is the same array too, are not uploaded again. Nobody may write to them in between.
    """

    def __init__(self, device: str) -> None:
        self._device = device
        self._local = threading.local()

    def run(self, session: "onnxruntime.InferenceSession", wanted: list[str], inputs: dict[str, Array]) -> list[Array]:
        """Outputs of the session in host memory."""
        binding = session.io_binding()
        values = self._values(inputs)
        for name, value in values.items():
            binding.bind_ortvalue_input(name, value)
        for name in wanted:
            binding.bind_output(name)
        session.run_with_iobinding(binding)
        outputs: list[Array] = binding.copy_outputs_to_cpu()
        return outputs

    def _values(self, inputs: dict[str, Array]) -> "dict[str, onnxruntime.OrtValue]":
        import onnxruntime

        held: dict[str, tuple[Array, onnxruntime.OrtValue]] = getattr(self._local, "held", {})
        if "image" not in held or held["image"][0] is not inputs["image"]:
            held = {}
        values = {}
        for name, array in inputs.items():
            if name in held and held[name][0] is array:
                values[name] = held[name][1]
                continue
            values[name] = onnxruntime.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(array), self._device, 0)
            if name in SHARED:
                held[name] = (array, values[name])
        self._local.held = held
        return values
