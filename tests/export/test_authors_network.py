"""A released file of the authors, from import to restored photo, on the command lines that their users type.

The file has random weights under the authors' names. What the exported network computes is compared with the network
written out as function calls on those names, which shares no code with ours.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from shadowdiffusion.runtime.backends.onnxruntime_networks import OnnxRuntimeNetworks
from shadowdiffusion.runtime.bundle.folder import Illumination
from shadowdiffusion.runtime.bundle.opening import load_bundle
from tests.export.command_line import ROOT, environment, run
from tests.runtime.tiny import load_pixels, picture, save
from tests.training.test_import_checkpoint import WrittenOut, linear_betas, network, released

pytestmark = pytest.mark.slow


def call(module: str, *arguments: str | Path) -> str:
    command = [sys.executable, "-m", module, *map(str, arguments)]
    result = subprocess.run(
        command, cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=600, check=False
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_from_the_released_file_to_a_photo(tmp_path: Path) -> None:
    torch.save(released(betas=linear_betas()), tmp_path / "I1_E1_gen.pth")
    checkpoint, path = tmp_path / "authors.safetensors", tmp_path / "bundle"
    call("training", "import-checkpoint", tmp_path / "I1_E1_gen.pth", "-o", checkpoint)
    call("export", "onnx", checkpoint, "-o", path)
    report = json.loads(call("export", "verify", path, "--against", checkpoint, "--json"))
    assert report["passed"]
    assert report["verification"]["onnx"]["differences"]["loop"]["relative_l2"] < 1e-5

    bundle = load_bundle(path)
    assert not bundle.has_prior
    assert bundle.manifest.sampling.data_consistency is False
    assert bundle.manifest.model.illumination == Illumination(5e-5, 0.0, 1e5, 0.0)
    assert [step.t for step in bundle.manifest.sampling.tables["5"]] == [800, 600, 400, 200, 0]
    networks, written_out = OnnxRuntimeNetworks(bundle, "cpu", 1), WrittenOut(network())
    generator = torch.Generator().manual_seed(3)
    y = torch.rand(1, 3, 32, 48, generator=generator) * 2 - 1
    mask, x_t = torch.rand(1, 1, 32, 48, generator=generator), torch.randn(1, 3, 32, 48, generator=generator)
    for step in bundle.manifest.sampling.tables["5"]:
        t = torch.tensor([step.t], dtype=torch.float64)
        expected = written_out(y.double(), mask.double(), x_t.double(), t)
        found = networks.denoise(y.numpy(), mask.numpy(), x_t.numpy(), step, with_mask=True)
        for result, reference in zip(found, expected, strict=True):
            assert result is not None
            assert np.abs(result - reference.numpy()).max() < 1e-5

    photo, shadow = (
        save(tmp_path / "photo.png", picture(61, 90)),
        save(tmp_path / "mask.png", picture(61, 90, channels=1)),
    )
    restored = tmp_path / "restored.png"
    call("runtime", "restore", photo, "--mask", shadow, "--bundle", path, "-o", restored, "--working-size", "64")
    assert load_pixels(restored).shape == (61, 90, 3)
    clean = save(tmp_path / "clean.png", picture(61, 90) // 2 + 100)
    whole = tmp_path / "whole.png"
    words: list[str | Path] = ["--mask", shadow, "--bundle", path, "--working-size", "64"]
    call("runtime", "restore", photo, *words, "--clean", clean, "-o", whole)
    assert np.abs(load_pixels(whole).astype(int) - load_pixels(restored)).max() > 20
    refused = run("onnx", tmp_path / "I1_E1_gen.pth", "-o", tmp_path / "other")
    assert refused.returncode == 2
    assert "shadowdiffusion train import-checkpoint" in refused.stderr
