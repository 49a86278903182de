"""8-bit integers: which form each backend wants.

ONNX Runtime on a CPU multiplies unsigned activations with signed weights. Without VNNI instructions it adds up pairs
of products in 16 bits, which saturate: 255 * 127 * 2 > 32767. So a weight has at most the magnitude 64, for which
255 * 64 * 2 still fits; the other forms that cannot saturate measured slower than float32 or cost the same in dB.
TensorRT wants symmetric activations and takes the full range.
"""

from __future__ import annotations

from export.errors import ExportError
from export.precision.quantize import Scheme
from runtime.engines import EngineKey

ONNX_RUNTIME = Scheme("uint8", "int8", weight_limit=64, outputs=True)
TENSORRT = Scheme("int8", "int8", weight_limit=127, outputs=False)


def int8_scheme(key: EngineKey) -> Scheme:
    """The form for the backend of the key. Raises ExportError for one that has none."""
    if key.backend != "onnxruntime":
        return TENSORRT
    if key.provider == "cuda":
        raise ExportError("ONNX Runtime has no int8 convolutions for CUDA: use --precision fp16, or --provider cpu")
    return ONNX_RUNTIME
