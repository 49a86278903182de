"""The mean of one network's weights after two stages of fine-tuning.

Runs that begin with the same weights stay in one valley of the loss, where the mean of two is often better than either
(Wortsman et al., "Model soups", ICML 2022).
"""

from __future__ import annotations

import dataclasses

from torch import Tensor, nn

from shadowdiffusion.training.checkpoint import Model
from shadowdiffusion.training.degradation import DegradationPrior
from shadowdiffusion.training.errors import TrainingError


def averaged(one: Model, other: Model, share: float) -> Model:
    """(1 - share) of `one` and `share` of `other`, network by network.

    Raises TrainingError for a share outside [0, 1] and for models of other tasks, networks or sizes.
    """
    if not 0.0 <= share <= 1.0:
        raise TrainingError(f"the share must lie in [0, 1], not {share}")
    if one.task != other.task:
        raise TrainingError(f"one model is for {one.task}, the other for {other.task}: average models of one task")
    pairs = {"prior": (_like(one.prior, other.prior), other.prior), "denoiser": (one.denoiser, other.denoiser)}
    for part, (a, b) in pairs.items():
        if (None if a is None else a.config) != (None if b is None else b.config):
            raise TrainingError(f"the two models have unlike networks ({part}): average stages of one training")
        if a is not None and b is not None:
            b.load_state_dict(_mean(a, b, share))
    recipe = {"averaged": {"share": share, "of": [dict(one.recipe), dict(other.recipe)]}}
    return dataclasses.replace(other, recipe=recipe)


def _like(prior: DegradationPrior | None, later: DegradationPrior | None) -> DegradationPrior | None:
    """`prior`, with the veil it was given when its next stage began if `later` has learned one since."""
    if prior is None or later is None or prior.config.veiled or not later.config.veiled:
        return prior
    begun = DegradationPrior(dataclasses.replace(prior.config, veiled=True))
    begun.load_state_dict(begun.state_dict() | prior.state_dict())
    return begun


def _mean(a: nn.Module, b: nn.Module, share: float) -> dict[str, Tensor]:
    weights = b.state_dict()
    return {name: value + share * (weights[name] - value) for name, value in a.state_dict().items()}
