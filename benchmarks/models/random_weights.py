"""Networks with random weights: they take the time of trained ones, and their results can be compared as exactly."""

from __future__ import annotations

import torch
from torch import nn

from shadowdiffusion.training.checkpoint import Model
from shadowdiffusion.training.degradation import DegradationConfig, DegradationPrior
from shadowdiffusion.training.denoiser import SIZES, Denoiser, DenoiserConfig
from shadowdiffusion.training.objective import PRIOR_SIZES

TINY_DENOISER = DenoiserConfig(base=8, multipliers=(1, 2), blocks=1, groups=4, patch=2)
TINY_PRIOR = DegradationConfig(width=4, encoder=(1,), middle=1, decoder=(1,))


def paper_model(seed: int = 0) -> Model:
    """Both networks of the paper's size, as the recipe `paper` trains them."""
    return random_model(SIZES["paper"], PRIOR_SIZES["paper"], seed)


def tiny_model(seed: int = 0) -> Model:
    """Networks that try a program in no time."""
    return random_model(TINY_DENOISER, TINY_PRIOR, seed)


def random_model(denoiser: DenoiserConfig, prior: DegradationConfig, seed: int) -> Model:
    """Networks of these shapes; equal seeds give equal weights."""
    with torch.random.fork_rng(devices=[]):
        model = Model(Denoiser(denoiser), DegradationPrior(prior))
    generator = torch.Generator().manual_seed(seed)
    for module in (model.denoiser, model.prior):
        assert module is not None
        _draw(module, generator)
    return model


def _draw(module: nn.Module, generator: torch.Generator) -> None:
    """Draw every parameter, those that training starts at zero too: a zero branch hides what is wrong in it."""
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
