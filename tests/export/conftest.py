"""Tiny networks with random weights, and the bundle made of them, shared by all export tests."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from export import graph
from export.bundle import BundleOptions, build_bundle
from runtime.bundle import Bundle, load_bundle
from training.checkpoint import Model
from training.degradation import DegradationConfig, DegradationPrior
from training.denoiser import Denoiser, DenoiserConfig
from training.sampler import SamplerOptions

TINY_DENOISER = DenoiserConfig(base=16, multipliers=(1, 2), blocks=1, groups=4, patch=2)
TINY_PRIOR = DegradationConfig(width=8, encoder=(1,), middle=1, decoder=(1,))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    # one worker exports the bundle once, instead of every worker its own
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.xdist_group("export"))


def randomise(module: nn.Module, seed: int) -> None:
    """Draw every parameter, those that start as zero too: a zero branch would hide a wrong export."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            values = torch.randn(parameter.shape, generator=generator)
            if parameter.dim() > 1:
                values /= max(1, parameter[0].numel()) ** 0.5
            elif "norm" in name and name.endswith("weight"):
                values = 1 + 0.1 * values
            else:
                values *= 0.1
            parameter.copy_(values)
    module.eval()


@pytest.fixture(scope="session")
def model() -> Model:
    denoiser, prior = Denoiser(TINY_DENOISER), DegradationPrior(TINY_PRIOR)
    randomise(denoiser, 1)
    randomise(prior, 2)
    return Model(denoiser, prior)


@pytest.fixture(scope="session")
def bundle(model: Model, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The model exported for real; copy the folder before changing it."""
    path = tmp_path_factory.mktemp("export") / "tiny"
    build_bundle(model, path, BundleOptions(SamplerOptions(), "tiny", working_size=96))
    return load_bundle(path)


@pytest.fixture
def exported(monkeypatch: pytest.MonkeyPatch, bundle: Bundle) -> None:
    """Replaces the seconds-long tracing by the graphs in `bundle`; everything after it stays real."""
    import onnx

    monkeypatch.setattr(graph, "export_denoiser", lambda _: onnx.load_model(bundle.path / "denoiser.onnx"))
    monkeypatch.setattr(graph, "export_prior", lambda _: onnx.load_model(bundle.path / "prior.onnx"))
