"""The networks of the built-in bundle, back in PyTorch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from shadowdiffusion.benchmarks.errors import BenchmarkError
from shadowdiffusion.benchmarks.models import recover
from shadowdiffusion.benchmarks.models.recover import recovered
from shadowdiffusion.benchmarks.models.subject import Subject
from shadowdiffusion.runtime.backends.onnxruntime_networks import OnnxRuntimeNetworks
from shadowdiffusion.runtime.bundle.opening import load_bundle


def test_they_compute_what_the_graphs_compute(monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = load_bundle(None)
    monkeypatch.setattr(recover, "NEEDED_DB", 80.0)
    model = recovered(bundle)
    assert model.denoiser is not None
    rng = np.random.default_rng(1)
    image, mask, x = (rng.random((1, count, 32, 48), np.float32) for count in (3, 1, 3))
    networks = OnnxRuntimeNetworks(bundle, "cpu", 1)
    for step in bundle.table(25)[::12]:
        noise, shadow = networks.denoise(image, mask, x, step, True)
        with torch.no_grad():
            time = torch.tensor([float(step.t)])
            own = model.denoiser(*(torch.from_numpy(part) for part in (image, mask, x)), time)
        assert np.abs(own[0].numpy() - noise).max() < 1e-4 * np.abs(noise).max()
        assert shadow is not None
        assert np.abs(own[1].numpy() - shadow).max() < 1e-4


def test_other_architectures_are_refused(subject: Subject) -> None:
    with pytest.raises(BenchmarkError, match=r"has a denoiser of size .custom.: only paper, small"):
        recovered(subject.bundle)


def test_weights_that_do_not_reproduce_the_golden_output(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recover, "NEEDED_DB", 500.0)
    with pytest.raises(BenchmarkError, match=r"reproduce its golden output to .* dB only, 500 dB are needed"):
        recovered(load_bundle(None))


def test_what_was_exported_before_is_kept(subject: Subject) -> None:
    from shadowdiffusion.benchmarks.models.subject import tiny_subject

    said: list[str] = []
    again = tiny_subject(said.append)
    assert said == []
    assert again.facts == subject.facts
    assert again.bundle.path == subject.bundle.path
    plain = again.plain_graphs()
    assert "t" in [value.name for value in plain["denoiser.onnx"].graph.input]
    exported = onnx.load_model(Path(subject.bundle.path) / "denoiser.onnx")
    assert "row" in [value.name for value in exported.graph.input]
