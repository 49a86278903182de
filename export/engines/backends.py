"""Backends by name."""

from __future__ import annotations

from export.engines.job import Backend
from runtime.engines.store import BackendName


def load_backend(name: BackendName) -> Backend:
    """The installed backend of that name. Raises ExportError that says what to install."""
    if name == "onnxruntime":
        from export.engines.onnxruntime import load_onnxruntime

        return load_onnxruntime()
    if name == "cpu-kernels":
        from export.engines.cpu_kernels import load_cpu_kernels

        return load_cpu_kernels()
    from export.engines.tensorrt import load_tensorrt

    return load_tensorrt(name)
