"""Backends by name."""

from __future__ import annotations

from shadowdiffusion.export.engines.job import Backend
from shadowdiffusion.runtime.bundle.engines import BackendName


def load_backend(name: BackendName) -> Backend:
    """The installed backend of that name. Raises ExportError that says what to install."""
    if name == "onnxruntime":
        from shadowdiffusion.export.engines.onnxruntime import load_onnxruntime

        return load_onnxruntime()
    if name == "cpu-kernels":
        from shadowdiffusion.export.engines.cpu_kernels import load_cpu_kernels

        return load_cpu_kernels()
    from shadowdiffusion.export.engines.tensorrt import load_tensorrt

    return load_tensorrt(name)
