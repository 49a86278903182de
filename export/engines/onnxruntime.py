"""Engines of ONNX Runtime."""

from __future__ import annotations

from export.engines.job import Backend
from export.errors import ExportError


def load_onnxruntime() -> Backend:
    """Raises ExportError: there is no such backend yet."""
    raise ExportError("engines of ONNX Runtime cannot be built yet: use --backend tensorrt-rtx")
