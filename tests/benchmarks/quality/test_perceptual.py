"""LPIPS is used when it can run, and its absence is said."""

import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from shadowdiffusion.benchmarks.quality import perceptual


@pytest.fixture
def package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A stand-in for the package; gives the folder where PyTorch keeps weights."""

    class LPIPS(torch.nn.Module):
        def __init__(self, net: str, verbose: bool) -> None:
            super().__init__()
            assert net == "alex"

        def forward(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
            assert a.shape == b.shape == (1, 3, 4, 5)
            assert a.dtype == torch.float32
            return (a.amax() - b.amin()).reshape(1, 1, 1, 1)

    module = ModuleType("lpips")
    module.LPIPS = LPIPS  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "lpips", module)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    return tmp_path / "checkpoints"


def test_photos_are_given_between_minus_one_and_one(package: Path) -> None:
    package.mkdir()
    (package / "alexnet-owt-7be5be79.pth").touch()
    distance, which = perceptual.load()
    assert distance is not None
    assert "AlexNet" in which
    assert distance(np.ones((4, 5, 3)), np.zeros((4, 5, 3))) == 2


def test_without_its_weights(package: Path) -> None:
    distance, why = perceptual.load()
    assert distance is None
    assert why == f"there are no weights alexnet-*.pth in {package}"


def test_without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lpips", None)
    distance, why = perceptual.load()
    assert distance is None
    assert why == "the package lpips is not installed"
