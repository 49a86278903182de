"""The networks of the paper's size are those that the shipped recipe trains, and seeds decide their weights."""

from __future__ import annotations

import torch

from shadowdiffusion.benchmarks.models.random_weights import paper_model, tiny_model
from shadowdiffusion.training.config import load_config
from shadowdiffusion.training.degradation import DegradationPrior
from shadowdiffusion.training.denoiser import SIZES, Denoiser
from shadowdiffusion.training.objective import PRIOR_SIZES


def test_the_networks_of_the_paper_are_those_of_the_recipe() -> None:
    found = paper_model()
    assert found.denoiser is not None
    assert found.prior is not None
    with torch.device("meta"):
        denoiser = Denoiser(SIZES[load_config("paper", "denoiser").size])
        prior = DegradationPrior(PRIOR_SIZES[load_config("paper", "prior").size])
    assert shapes(found.denoiser) == shapes(denoiser)
    assert shapes(found.prior) == shapes(prior)


def test_seeds_decide_weights() -> None:
    first, again, other = (next(tiny_model(seed).denoiser.parameters()) for seed in (0, 0, 1))  # type: ignore[union-attr]
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def shapes(network: torch.nn.Module) -> dict[str, torch.Size]:
    return {name: value.shape for name, value in network.state_dict().items()}
