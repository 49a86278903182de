"""The mean of two stages' weights."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from shadowdiffusion.training.average import averaged
from shadowdiffusion.training.checkpoint import Model, load_checkpoints, save_checkpoint
from shadowdiffusion.training.cli import app
from shadowdiffusion.training.degradation import DegradationConfig, DegradationPrior
from shadowdiffusion.training.errors import TrainingError

TINY = DegradationConfig(width=8, encoder=(1,), middle=1, decoder=(1,))


def model(value: float, config: DegradationConfig = TINY, task: str = "shadow") -> Model:
    prior = DegradationPrior(config)
    for parameter in prior.parameters():
        torch.nn.init.constant_(parameter, value)
    return Model(prior=prior, task=task, recipe={"value": value})


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_every_weight_lies_between_the_two(tmp_path: Path, share: float) -> None:
    files = [tmp_path / f"{name}.safetensors" for name in ("one", "other", "mean")]
    save_checkpoint(files[0], model(2.0))
    save_checkpoint(files[1], model(4.0))
    arguments = ["average", str(files[0]), str(files[1]), "-o", str(files[2]), "--share", str(share)]
    assert CliRunner().invoke(app, arguments).exit_code == 0
    mean = load_checkpoints(files[2])
    assert mean.prior is not None
    assert all(torch.equal(p, torch.full_like(p, 2 + 2 * share)) for p in mean.prior.parameters())
    assert mean.recipe == {"averaged": {"share": share, "of": [{"value": 2.0}, {"value": 4.0}]}}


@pytest.mark.parametrize(
    ("other", "share", "message"),
    [
        (model(1.0), 1.5, "share must lie"),
        (model(1.0, task="exposure"), 0.5, "models of one task"),
        (model(1.0, replace(TINY, width=16)), 0.5, "unlike networks"),
        (model(1.0, replace(TINY, calibrated=True)), 0.5, "unlike networks"),
    ],
)
def test_what_does_not_fit_is_refused(other: Model, share: float, message: str) -> None:
    with pytest.raises(TrainingError, match=message):
        averaged(model(0.0), other, share)


def test_a_stage_without_a_veil_has_the_one_that_the_next_began_with() -> None:
    veiled = replace(TINY, veiled=True)
    mean = averaged(model(0.0), model(2.0, veiled), 0.5).prior
    assert mean is not None
    begun = DegradationPrior(veiled)
    assert begun.veil_head.bias is not None
    assert mean.veil_head.bias is not None
    assert torch.equal(mean.veil_head.bias, (begun.veil_head.bias + 2) / 2)
    assert torch.equal(mean.veil_head.weight, torch.ones_like(mean.veil_head.weight))
    assert torch.equal(mean.stem.weight, torch.ones_like(mean.stem.weight))
