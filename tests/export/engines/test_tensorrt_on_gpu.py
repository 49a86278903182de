"""Engines built and run for real, where there is a GPU and a TensorRT. Nobody has run these tests on a GPU yet."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shadowdiffusion.export.engines.build import build_engines
from shadowdiffusion.export.engines.fused_layers import fused_layers
from shadowdiffusion.export.engines.key import EngineOptions
from shadowdiffusion.export.engines.tensorrt import TensorRT, load_tensorrt
from shadowdiffusion.runtime.backends.onnxruntime_networks import OnnxRuntimeNetworks
from shadowdiffusion.runtime.bundle.device import find_gpu
from shadowdiffusion.runtime.bundle.engines import StoredEngine
from shadowdiffusion.runtime.bundle.folder import Bundle
from shadowdiffusion.runtime.bundle.opening import load_bundle
from shadowdiffusion.runtime.errors import RestoreError
from shadowdiffusion.runtime.selection.engine_networks import open_engine
from shadowdiffusion.runtime.selection.fit import MODULES
from shadowdiffusion.runtime.selection.golden_check import golden_psnr

pytestmark = pytest.mark.gpu


@pytest.fixture(params=["tensorrt", "tensorrt-rtx"])
def backend(request: pytest.FixtureRequest) -> Any:
    name = request.param
    pytest.importorskip(MODULES[name])
    gpu, installed = find_gpu(), load_tensorrt(name)
    assert gpu
    assert isinstance(installed, TensorRT)
    if name == "tensorrt-rtx" and gpu.sm not in installed.supported_sms():
        pytest.skip(f"{installed.title} does not support SM {gpu.sm}")
    return name


def build(bundle: Bundle, tmp_path: Path, backend: Any, **changes: Any) -> tuple[Bundle, StoredEngine]:
    path = Path(shutil.copytree(bundle.path, tmp_path / "b"))
    options = EngineOptions(backend, profile="32x32:64x96:128x128", batch="1:1:2", **changes)
    return load_bundle(path), build_engines(path, options, print).engine


@pytest.mark.parametrize(
    "changes",
    [{}, {"precision": "fp16"}, {"strip_weights": True}, {"precision": "fp16", "strip_weights": True}],
    ids=["fp32", "fp16", "stripped", "stripped-fp16"],
)
def test_an_engine_proves_right(bundle: Bundle, tmp_path: Path, backend: Any, changes: dict[str, Any]) -> None:
    opened, engine = build(bundle, tmp_path, backend, **changes)
    assert golden_psnr(opened, engine, None) > (90 if changes.get("precision", "fp32") == "fp32" else 45)


@pytest.mark.parametrize("changes", [{"version_compatible": True}, {"hardware_compatible": True}])
def test_a_compatible_engine_proves_right(bundle: Bundle, tmp_path: Path, changes: dict[str, Any]) -> None:
    pytest.importorskip("tensorrt")
    opened, engine = build(bundle, tmp_path, "tensorrt", **changes)
    assert golden_psnr(opened, engine, None) > 90


def test_all_sizes_of_the_profile_run(bundle: Bundle, tmp_path: Path, backend: Any) -> None:
    opened, engine = build(bundle, tmp_path, backend)
    networks, reference = open_engine(opened, engine, None), OnnxRuntimeNetworks(opened, "cpu", None)
    step = opened.manifest.sampling.tables[str(opened.manifest.sampling.default_steps)][0]
    rng = np.random.default_rng(0)
    for count, height, width in ((1, 32, 32), (2, 128, 128), (1, 64, 96), (2, 32, 128)):
        y, x = rng.random((2, count, 3, height, width), np.float32)
        mask = rng.random((count, 1, height, width), np.float32)
        for with_mask in (True, False):
            found, expected = (each.denoise(y, mask, x, step, with_mask)[0] for each in (networks, reference))
            np.testing.assert_allclose(found, expected, atol=2e-3)
    with pytest.raises(RestoreError, match="32x32 to 128x128"):
        networks.prior(np.zeros((1, 3, 160, 64), np.float32), np.zeros((1, 1, 160, 64), np.float32))


def test_its_layers_are_listed(bundle: Bundle, tmp_path: Path, backend: Any) -> None:
    _, engine = build(bundle, tmp_path, backend)
    found = fused_layers(engine)
    assert found.keys() == engine.record.networks.keys()
    assert all(layer["Name"] for layers in found.values() for layer in layers)
