"""A stored engine as networks that can be run, whichever backend compiled it."""

from runtime.bundle import Bundle
from runtime.engines import StoredEngine
from runtime.networks import Networks


def open_engine(bundle: Bundle, engine: StoredEngine, threads: int | None) -> Networks:
    """The networks of a stored engine. Raises RestoreError."""
    key = engine.record.key
    if key.backend == "onnxruntime":
        from runtime.onnxruntime_networks import OnnxRuntimeNetworks

        return OnnxRuntimeNetworks(bundle, key.provider or "cpu", threads, engine)
    from runtime.tensorrt_networks import TensorRTNetworks

    return TensorRTNetworks(bundle, engine)
