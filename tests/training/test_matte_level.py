"""The photo tells from which matte on it is shadow: known shadows beside surfaces that are only dark."""

import pytest
import torch
from torch import Tensor

from shadowdiffusion.training.color import to_linear
from shadowdiffusion.training.degradation import MATTE_THRESHOLD, DegradationConfig, DegradationPrior
from shadowdiffusion.training.matte_level import _typical, at_level, inconsistency

SIZE = 128


def disc(x: float, y: float, radius: float) -> Tensor:
    """1 within, 0 outside, float[1, 1, SIZE, SIZE]."""
    rows, columns = torch.meshgrid(torch.arange(SIZE), torch.arange(SIZE), indexing="ij")
    return ((columns - x).square() + (rows - y).square() < radius**2).float()[None, None]


def surface() -> Tensor:
    torch.manual_seed(0)
    return (0.5 + 0.03 * torch.randn(1, 3, SIZE, SIZE)).clamp(0.05, 1)


def shadowed(linear: Tensor, where: Tensor) -> Tensor:
    return linear * (1 - where * torch.tensor([0.75, 0.7, 0.6]).view(1, 3, 1, 1))


def patched(linear: Tensor) -> Tensor:
    """Dark things of several colours and strengths within one outline: an edge, but nobody's shadow."""
    patches = torch.rand(1, 3, SIZE // 16, SIZE // 16, generator=torch.Generator().manual_seed(1))
    return linear * enlarged(0.1 + 1.4 * patches)


def enlarged(coarse: Tensor) -> Tensor:
    return torch.nn.functional.interpolate(coarse, (SIZE, SIZE), mode="nearest")


def found(linear: Tensor, matte: Tensor) -> Tensor:
    return torch.sigmoid(at_level(linear, matte, MATTE_THRESHOLD)) >= MATTE_THRESHOLD


@pytest.mark.parametrize("sure", [3.5, 1.5, 0.0])
def test_a_shadow_is_cut_at_its_outline_however_sure_the_network_is(sure: float) -> None:
    where = disc(60, 64, 30)
    halo = disc(60, 64, 50)  # the network's doubt around it
    matte = -4 + (sure - 1.2 + 4) * halo + 1.2 * where
    assert torch.equal(found(shadowed(surface(), where), matte), where.bool())


def test_no_shadow_is_found_where_no_border_is_consistent() -> None:
    outline = disc(60, 64, 35)
    matte = -4 + 8 * outline
    photo = torch.where(outline.bool(), patched(surface()), surface())
    assert not found(photo, matte).any()
    assert found(shadowed(surface(), outline), matte).any()


@pytest.mark.parametrize("value", [-5.0, 0.0, 20.0])
def test_without_a_border_there_is_no_shadow(value: float) -> None:
    assert not found(surface(), torch.full((1, 1, SIZE, SIZE), value)).any()


def test_a_light_disc_is_no_shadow() -> None:
    where = disc(60, 64, 30)
    assert not found(surface() * (0.3 + 0.7 * where), -4 + 8 * where).any()


def test_an_outline_on_an_even_surface_is_no_shadow() -> None:
    assert not found(torch.full((1, 3, SIZE, SIZE), 0.3), -4 + 8 * disc(60, 64, 30)).any()


def test_order_of_pixels_stays() -> None:
    where = disc(60, 64, 30)
    matte = -1 + 2 * where + 0.1 * torch.randn(1, 1, SIZE, SIZE)
    moved = at_level(shadowed(surface(), where), matte, MATTE_THRESHOLD) - matte
    assert float(moved.amax() - moved.amin()) < 1e-4


def test_photos_of_a_batch_do_not_mix() -> None:
    one, other = disc(60, 64, 30), disc(90, 30, 20)
    linear = torch.cat([shadowed(surface(), one), surface()])
    matte = torch.cat([-4 + 5 * one, -4 + 7 * other])
    alone = [at_level(linear[i : i + 1], matte[i : i + 1], 0.75) for i in range(2)]
    torch.testing.assert_close(at_level(linear, matte, 0.75), torch.cat(alone))


def test_black_and_white_stay_finite() -> None:
    linear = torch.zeros(1, 3, SIZE, SIZE)
    linear[..., 64:] = 1
    matte = torch.full((1, 1, SIZE, SIZE), -9.0)
    matte[..., :64] = 9.0
    assert torch.isfinite(inconsistency(linear, matte)).all()
    assert torch.isfinite(at_level(linear, matte, 0.75)).all()


def test_lone_values_do_not_move_the_typical_one() -> None:
    values, weight = torch.full((1, 100), 1.3), torch.ones(1, 100)
    values[:, :25] = -4
    assert float(_typical(values, weight)) == pytest.approx(1.3, abs=0.1)
    weight[:, :25] = 0
    assert float(_typical(values, weight)) == pytest.approx(1.3)


def test_network_returns_the_matte_at_its_level() -> None:
    torch.manual_seed(0)
    prior = DegradationPrior(DegradationConfig(8, (1,), 1, (1,), calibrated=True)).eval()
    for parameter in prior.parameters():
        torch.nn.init.normal_(parameter, 0, 0.3)
    image, mask = torch.rand(1, 3, 64, 64), torch.full((1, 1, 64, 64), 0.5)
    with torch.no_grad():
        matte = prior.estimate(image, mask).matte
        expected = torch.sigmoid(at_level(to_linear(image), matte, MATTE_THRESHOLD))
        assert torch.equal(prior(image, mask)[1], expected)
    assert float((expected - torch.sigmoid(matte)).abs().max()) > 0.01
