"""The border of a shadow tells how strong it is: known shadows on a known surface."""

import math

import pytest
import torch
from torch import Tensor

from shadowdiffusion.training.border_calibration import border_votes, consensus
from shadowdiffusion.training.degradation import DegradationConfig, DegradationPrior

WEIGHT = (0.25, 0.3, 0.4)  # of the light left in the shadow, per channel


def shadowed(size: int = 96, texture: float = 0.05) -> tuple[Tensor, Tensor, Tensor]:
    """(linear photo, log of the gain that restores it, matte): a soft disc of shadow on a textured surface."""
    torch.manual_seed(0)
    surface = 0.5 + texture * torch.randn(1, 1, size, size)
    y, x = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    distance = (x - size / 2).square().add((y - size / 2).square()).sqrt()
    matte = torch.sigmoid((size / 4 - distance) / 0.7)[None, None]
    shade = 1 - (1 - torch.tensor(WEIGHT).view(1, 3, 1, 1)) * matte
    return surface.clamp(0.05, 1) * shade, -shade.log(), matte


def change(linear: Tensor, log_gain: Tensor, matte: Tensor) -> Tensor:
    return consensus(*border_votes(linear, log_gain, matte))[..., 0, 0]


def test_a_right_gain_stays() -> None:
    assert change(*shadowed()).abs().max() < 0.03


@pytest.mark.parametrize("factor", [0.75, 0.9, 1.2])
def test_a_wrong_strength_is_put_right(factor: float) -> None:
    linear, log_gain, matte = shadowed()
    found = (1 + change(linear, factor * log_gain, matte)) * factor
    assert (found - 1).abs().max() < abs(factor - 1) / 3


def test_each_channel_for_itself() -> None:
    linear, log_gain, matte = shadowed()
    factors = torch.tensor([0.8, 1.0, 1.25])
    found = change(linear, log_gain * factors.view(1, 3, 1, 1), matte)[0]
    assert found[0] > 0.1
    assert abs(found[1]) < 0.05
    assert found[2] < -0.08


@pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
def test_without_a_border_nothing_changes(value: float) -> None:
    linear, log_gain, matte = shadowed()
    assert torch.equal(change(linear, log_gain, torch.full_like(matte, value)), torch.zeros(1, 3))


def test_black_and_white_stay_finite_and_trainable() -> None:
    linear, log_gain, matte = shadowed()
    linear[..., :48] = 0
    linear[..., 48:] = 1
    log_gain.requires_grad_()
    change(linear, log_gain, matte).sum().backward()
    assert log_gain.grad is not None
    assert torch.isfinite(log_gain.grad).all()


def test_images_of_a_batch_do_not_mix() -> None:
    linear, log_gain, matte = shadowed()
    pair = [torch.cat([a, a.flip(-1) * b]) for a, b in ((linear, 0.5), (log_gain, 0.7), (matte, 1.0))]
    alone = [change(*(tensor[i : i + 1] for tensor in pair)) for i in range(2)]
    torch.testing.assert_close(change(*pair), torch.cat(alone))


def test_calibrated_network_differs_only_by_the_strength_of_its_gain() -> None:
    torch.manual_seed(0)
    config = DegradationConfig(width=8, encoder=(1,), middle=1, decoder=(1,))
    plain, calibrated = (
        DegradationPrior(c).eval() for c in (config, DegradationConfig(8, (1,), 1, (1,), calibrated=True))
    )
    for parameter in plain.parameters():
        torch.nn.init.normal_(parameter, 0, 0.3)
    calibrated.load_state_dict({**plain.state_dict(), "trust": calibrated.trust})
    image, mask = torch.rand(1, 3, 64, 64) * 0.5, torch.full((1, 1, 64, 64), 0.5)
    with torch.no_grad():
        one, other = plain.estimate(image, mask), calibrated.estimate(image, mask)
    ratio = other.log_gain / one.log_gain
    assert torch.equal(one.matte, other.matte)
    for channel in range(3):
        values = ratio[0, channel][one.log_gain[0, channel].abs() > 0.05]
        assert float(values.max() - values.min()) < 1e-2
    assert math.isfinite(float(ratio.nanmean()))
