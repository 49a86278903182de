"""The layers of a TensorRT engine as they run, after all fusion, from TensorRT's own inspector.

Only on a machine with the GPU that the engine is for. Not run on a GPU yet: the tests give it a TensorRT in Python.
"""

from __future__ import annotations

import importlib
import json
from typing import Any

from shadowdiffusion.runtime.bundle.device import find_gpu
from shadowdiffusion.runtime.bundle.engines import EngineRecord, StoredEngine
from shadowdiffusion.runtime.selection.fit import MODULES


def fused_layers(engine: StoredEngine) -> dict[str, list[dict[str, Any]]]:
    """By network, what the inspector says of every layer: its "Name" at least.

    Empty where the engine cannot be loaded: without a GPU, its backend, or what else it takes.
    """
    record: EngineRecord = engine.record
    if record.key.backend == "onnxruntime" or find_gpu() is None:
        return {}
    try:
        trt = importlib.import_module(MODULES[record.key.backend])
    except (ImportError, OSError):
        return {}
    runtime = trt.Runtime(trt.Logger(trt.Logger.INTERNAL_ERROR))
    runtime.engine_host_code_allowed = "version-compatible" in record.key.flags
    found = dict[str, list[dict[str, Any]]]()
    for name, network in record.networks.items():
        opened = runtime.deserialize_cuda_engine((engine.path / network.file).read_bytes())
        if opened is None:
            return {}
        text = opened.create_engine_inspector().get_engine_information(trt.LayerInformationFormat.JSON)
        layers = json.loads(text)["Layers"]
        found[name] = [layer if isinstance(layer, dict) else {"Name": layer} for layer in layers]
    return found
