"""8-bit integers: which form each backend wants.

ONNX Runtime multiplies unsigned activations with signed weights. A CPU without VNNI or AMX instructions adds up pairs
of products in 16 bits, which saturate: 255 * 127 * 2 > 32767. So a weight has at most the magnitude 64, for which
255 * 64 * 2 still fits: one form that is right on every CPU. TensorRT wants symmetric activations.
"""

from __future__ import annotations

from shadowdiffusion.export.precision.quantize import Scheme
from shadowdiffusion.runtime.bundle.engines import EngineKey

ONNX_RUNTIME = Scheme("uint8", "int8", weight_limit=64, outputs=True)
TENSORRT = Scheme("int8", "int8", weight_limit=127, outputs=False)


def int8_scheme(key: EngineKey) -> Scheme:
    """The form for the backend of `key`."""
    return ONNX_RUNTIME if key.backend == "onnxruntime" else TENSORRT
