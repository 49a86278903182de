"""8-bit floats (E4M3: 4 bits of exponent, 3 of mantissa, up to 448) for TensorRT, on GPUs that multiply them."""

from __future__ import annotations

from shadowdiffusion.export.errors import ExportError
from shadowdiffusion.export.precision.quantize import Scheme
from shadowdiffusion.runtime.bundle.engines import EngineKey

FLOAT8 = Scheme("float8_e4m3fn", "float8_e4m3fn", weight_limit=448, outputs=False)


def fp8_scheme(key: EngineKey) -> Scheme:
    """The form for the engine of `key`. Raises ExportError for a portable one: GPUs before SM 89 have no fp8."""
    if not key.sm:
        raise ExportError("fp8 needs SM 89 or later, and a portable engine is for any GPU: name yours with --sm")
    return FLOAT8
