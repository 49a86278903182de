"""8-bit floats (E4M3: 4 bits of exponent, 3 of mantissa, up to 448) for TensorRT, on GPUs that multiply them."""

from __future__ import annotations

from export.errors import ExportError
from export.precision.quantize import Scheme
from runtime.engines import EngineKey

LEAST_SM = 89
FLOAT8 = Scheme("float8_e4m3fn", "float8_e4m3fn", weight_limit=448, outputs=False)


def fp8_scheme(key: EngineKey) -> Scheme:
    """The form for the backend of the key. Raises ExportError for a backend or an SM that has no such numbers."""
    if key.backend == "onnxruntime":
        raise ExportError("ONNX Runtime has no fp8 convolutions: use --precision int8, or a TensorRT backend")
    if not key.sm:
        raise ExportError(f"fp8 needs SM {LEAST_SM} or later, and a portable engine is for any: name GPUs with --sm")
    if old := [sm for sm in key.sm if sm < LEAST_SM]:
        raise ExportError(f"SM {old[0]} has no fp8, which needs SM {LEAST_SM} or later: use --precision int8 or fp16")
    return FLOAT8
