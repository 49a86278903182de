"""What TensorRT's inspector says of an engine, where the engine can be loaded. TensorRT is made in Python."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner

from shadowdiffusion.export.commands.cli import app
from shadowdiffusion.export.engines import fused_layers as fused_module
from shadowdiffusion.export.engines.fused_layers import fused_layers
from shadowdiffusion.runtime.bundle.device import Gpu
from shadowdiffusion.runtime.bundle.engines import StoredEngine, engine_stores, read_engine
from shadowdiffusion.runtime.bundle.opening import load_bundle
from tests.runtime.engine_folders import make_key, write_engine
from tests.runtime.tiny import write_bundle

SAID = {"Layers": [{"Name": "conv+silu", "LayerType": "gemm"}, "reformat"], "Bindings": []}


class TensorRT:
    """Only the inspector; `loads`: whether engines can be loaded."""

    LayerInformationFormat = SimpleNamespace(JSON="json")
    loads = True

    class Logger:
        INTERNAL_ERROR = "worst"

        def __init__(self, level: str) -> None:
            assert level == "worst"

    def Runtime(self, logger: Any) -> Any:
        inspector = SimpleNamespace(get_engine_information=lambda form: json.dumps(SAID))
        engine = SimpleNamespace(create_engine_inspector=lambda: inspector)

        def load(raw: bytes) -> Any:
            assert raw == b"engine" * 100
            return engine if self.loads else None

        return SimpleNamespace(deserialize_cuda_engine=load)


@pytest.fixture
def engine(tmp_path: Path) -> StoredEngine:
    bundle = load_bundle(write_bundle(tmp_path / "b"))
    return read_engine(write_engine(engine_stores(bundle)[0], make_key(bundle.path, backend="tensorrt")))


@pytest.fixture
def trt(monkeypatch: pytest.MonkeyPatch) -> TensorRT:
    made = TensorRT()
    monkeypatch.setitem(sys.modules, "tensorrt", made)
    monkeypatch.setattr(fused_module, "find_gpu", lambda: Gpu("NVIDIA L4", 89, "580.65.06"))
    return made


def test_every_network_is_listed(engine: StoredEngine, trt: TensorRT) -> None:
    layers = [{"Name": "conv+silu", "LayerType": "gemm"}, {"Name": "reformat"}]
    assert fused_layers(engine) == {"prior.onnx": layers, "denoiser.onnx": layers}
    result = CliRunner().invoke(app, ["inspect", str(engine.path)])
    assert "denoiser.onnx: 2 layers on this GPU, after all fusion" in result.stdout
    assert "gemm                 conv+silu" in result.stdout
    facts = json.loads(CliRunner().invoke(app, ["inspect", str(engine.path), "--json"]).stdout)
    assert facts["fused"]["prior.onnx"] == layers


def test_nothing_is_listed_where_the_engine_cannot_be_loaded(
    engine: StoredEngine, trt: TensorRT, monkeypatch: pytest.MonkeyPatch
) -> None:
    trt.loads = False
    assert fused_layers(engine) == {}
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    assert fused_layers(engine) == {}
    monkeypatch.setattr(fused_module, "find_gpu", lambda: None)
    assert fused_layers(engine) == {}
    assert CliRunner().invoke(app, ["inspect", str(engine.path)]).exit_code == 0
