"""8-bit integers: which form each backend wants.

ONNX Runtime multiplies unsigned activations with signed weights. A CPU without VNNI or AMX instructions adds up pairs
of products in 16 bits, which saturate: 255 * 127 * 2 > 32767. There a weight has at most the magnitude 64, for which
255 * 64 * 2 still fits, at a cost of about 3 dB in the predicted noise. TensorRT wants symmetric activations.
"""

from __future__ import annotations

from dataclasses import replace

from export.precision.quantize import Scheme
from runtime.engines.store import EngineKey

ONNX_RUNTIME = Scheme("uint8", "int8", weight_limit=127, outputs=True)
SATURATING = replace(ONNX_RUNTIME, weight_limit=64)
TENSORRT = Scheme("int8", "int8", weight_limit=127, outputs=False)


def int8_scheme(key: EngineKey) -> Scheme:
    """The form for the backend of `key`, and for its CPU, whose instructions its name ends with."""
    if key.backend != "onnxruntime":
        return TENSORRT
    return ONNX_RUNTIME if (key.device or "").endswith(("vnni", "amx")) else SATURATING
