"""Options of build-engine that the chosen backend or precision cannot follow."""

from __future__ import annotations

from shadowdiffusion.export.engines.key import EngineOptions
from shadowdiffusion.export.errors import ExportError
from shadowdiffusion.export.passes.catalog import PASSES
from shadowdiffusion.runtime.bundle.engines import BackendName

OTHER_BACKEND = "it is for --backend {}"
TENSORRT, ONNXRUNTIME = (OTHER_BACKEND.format(name) for name in ("tensorrt", "onnxruntime"))
BUILDERS = "it is for --backend tensorrt and tensorrt-rtx"
REASONS: dict[BackendName, dict[str, str]] = {
    "tensorrt": {
        "sm": "leave out --sm, as TensorRT builds for the GPU it runs on, or use --backend tensorrt-rtx",
        "threads": ONNXRUNTIME,
        "provider": ONNXRUNTIME,
    },
    "tensorrt-rtx": {
        "version_compatible": TENSORRT,
        "hardware_compatible": "its engines run on all GPUs of the SMs that --sm names",
        "threads": ONNXRUNTIME,
        "provider": ONNXRUNTIME,
    },
    "cpu-kernels": {
        "sm": "it is for --backend tensorrt-rtx",
        "workspace": TENSORRT,
        "strip_weights": TENSORRT,
        "version_compatible": TENSORRT,
        "hardware_compatible": TENSORRT,
        "provider": ONNXRUNTIME,
        "optimization_level": BUILDERS,
    },
    "onnxruntime": {
        "sm": "it is for --backend tensorrt-rtx",
        "workspace": TENSORRT,
        "strip_weights": TENSORRT,
        "version_compatible": TENSORRT,
        "hardware_compatible": TENSORRT,
        "optimization_level": BUILDERS,
    },
}


def check_options(options: EngineOptions) -> None:
    """Raise ExportError for an option that means nothing to the backend, or to the precision."""
    for name, reason in REASONS[options.backend].items():
        if getattr(options, name) != getattr(EngineOptions, name):
            raise ExportError(f"--{name.replace('_', '-')} does not go with --backend {options.backend}: {reason}")
    own = [item.name for item in PASSES if item.stage == "tensorrt" and item.name in options.passes]
    if own and options.backend == "onnxruntime":
        raise ExportError(f"the pass {own[0]} does not go with --backend onnxruntime: {TENSORRT}")
    if options.passes and options.backend == "cpu-kernels":
        raise ExportError("--with and --without do not go with --backend cpu-kernels: it reads the bundle's own graphs")
    if options.gate is not None and options.precision == "fp32":
        raise ExportError("--gate does not go with --precision fp32: it compares the lower precisions with float32")
