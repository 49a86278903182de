"""The reference sampler against the method written out literally, and against cases with a known answer."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from shadowdiffusion.training.errors import TrainingError
from shadowdiffusion.training.prior_update import mask_update
from shadowdiffusion.training.sampler import SamplerOptions, sample, step_table, timesteps
from shadowdiffusion.training.schedule import DiffusionConfig, alpha_bars

DIFFUSION = DiffusionConfig()
POLICIES = ["input", "predicted", "late", "closed-form"]


def problem(count: int = 2) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)

    def rand(channels: int) -> Tensor:
        return torch.rand(count, channels, 5, 6, generator=generator, dtype=torch.float64)

    clean, mask = rand(3), (rand(1) > 0.5).double()
    h = 1.0 - (0.3 + 0.4 * rand(3)) * mask
    return {
        "y01": h * clean,
        "mask": mask,
        "h": h,
        "clean": (clean + 0.1 * rand(3)).clamp(0, 1),
        "truth": clean,
    }


def noise(index: int) -> Tensor:
    return torch.randn(2, 3, 5, 6, generator=torch.Generator().manual_seed(100 + index), dtype=torch.float64)


def made_up(y: Tensor, mask: Tensor, x_t: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
    """A smooth stand-in for the network, in which every input matters."""
    time = (t / 1000.0).view(-1, 1, 1, 1)
    predicted = torch.tanh(0.9 * x_t - 0.3 * y + 0.2 * mask + 0.1 * time)
    return predicted, torch.sigmoid(x_t.mean(dim=1, keepdim=True) + mask - time)


def run(options: SamplerOptions, denoise: Callable[..., tuple[Tensor, Tensor]] = made_up, **changes: Any) -> Any:
    given = problem() | changes
    return sample(denoise, given["y01"], given["mask"], given["h"], given["clean"], noise, options, DIFFUSION)


def literal(options: SamplerOptions) -> tuple[Tensor, Tensor]:
    """The sampling algorithm step by step as the paper states it, in [0, 1] where it speaks of images."""
    p = problem()
    beta = [1e-4 + (0.02 - 1e-4) * i / 999 for i in range(1000)]
    alpha_bar = [math.prod(1 - b for b in beta[: t + 1]) for t in range(1000)]
    count = options.steps
    if options.start is None:
        times = list(range(0, 1000, 1000 // count))[::-1]
        x = noise(0)
    else:
        times = [options.start * k // count for k in range(count, 0, -1)]
        start = alpha_bar[options.start]
        x = math.sqrt(start) * (2 * p["clean"] - 1) + math.sqrt(1 - start) * noise(0)
    m = p["mask"]
    for i, t in enumerate(times):
        rho = {
            "constant": options.rho,
            "geometric": options.rho * options.rho_gamma**i,
            "linear": options.rho + options.rho_gamma * i,
        }[options.rho_schedule]
        now, following = alpha_bar[t], alpha_bar[times[i + 1]] if i + 1 < count else 1.0
        eps, v = made_up(2 * p["y01"] - 1, m, x, torch.full((2,), float(t), dtype=torch.float64))
        z = (x - math.sqrt(1 - now) * eps) / math.sqrt(now)
        if options.clamp:
            z = torch.clamp(z, -1, 1)
        if options.data_consistency:
            z01 = (z + 1) / 2
            x01 = (p["h"] * p["y01"] + rho * z01) / (p["h"] ** 2 + rho)
            estimate = 2 * x01 - 1
        else:
            estimate = z
        if options.mask_policy == "closed-form":
            v = mask_update(p["h"], v, p["mask"], rho)
        if options.mask_policy in ("predicted", "closed-form") or (
            options.mask_policy == "late" and i + 1 < count and times[i + 1] < 200
        ):
            m = v
        if i + 1 == count:
            return estimate, v
        sigma = options.eta * math.sqrt((1 - following) / (1 - now)) * math.sqrt(1 - now / following)
        x = math.sqrt(following) * estimate + math.sqrt(1 - following - sigma**2) * eps + sigma * noise(i + 1)
    raise AssertionError


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"steps": 1},
        {"steps": 25},
        {"eta": 0.7},
        {"eta": 1.0, "start": 400},
        {"rho": 2.0},
        {"rho_schedule": "geometric", "rho_gamma": 1.7},
        {"rho_schedule": "linear", "rho_gamma": 0.15},
        {"data_consistency": False},
        {"clamp": True},
        {"start": 300, "steps": 4},
        {"start": 500, "steps": 7, "clamp": True, "eta": 0.3, "rho_schedule": "geometric", "rho_gamma": 1.2},
    ],
    ids=str,
)
def test_equals_the_literal_algorithm(fields: dict[str, Any], policy: str) -> None:
    options = SamplerOptions(mask_policy=policy, **fields)  # type: ignore[arg-type]
    x, mask = literal(options)
    result = run(options)
    scale = float(x.abs().max())
    torch.testing.assert_close(result.x, x, rtol=0, atol=1e-11 * max(1.0, scale))
    torch.testing.assert_close(result.mask, mask, rtol=0, atol=1e-10)


def test_policies_and_options_differ() -> None:
    """Each option does something: no two of these give the same picture."""
    variants: list[dict[str, Any]] = [
        {}, {"mask_policy": "predicted"}, {"mask_policy": "late"}, {"mask_policy": "closed-form"},
        {"eta": 0.5}, {"rho": 0.3}, {"data_consistency": False}, {"clamp": True}, {"start": 700},
        {"steps": 6}, {"rho_schedule": "linear"}, {"rho_schedule": "geometric", "rho_gamma": 2.0},
    ]  # fmt: skip
    pictures = [run(SamplerOptions(**fields)).x for fields in variants]
    for i, one in enumerate(pictures):
        for other in pictures[:i]:
            assert (one - other).abs().max() > 1e-8


@pytest.mark.parametrize("fields", [{}, {"start": 600}, {"eta": 1.0}, {"clamp": True}, {"mask_policy": "predicted"}])
@pytest.mark.parametrize("steps", [1, 5, 20])
def test_oracle_recovers_the_clean_photo(fields: dict[str, Any], steps: int) -> None:
    """If the network knows the true noise, z is the truth in every step, and y = h x makes Eq. 13 keep it."""
    truth = problem()["truth"] * 2 - 1
    table = alpha_bars(DIFFUSION)

    def oracle(y: Tensor, mask: Tensor, x_t: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        level = table[t.long()].view(-1, 1, 1, 1)
        return (x_t - level.sqrt() * truth) / (1 - level).sqrt(), mask

    result = run(SamplerOptions(steps=steps, **fields), oracle)
    torch.testing.assert_close(result.x, truth, rtol=0, atol=1e-10)


def test_rho_extremes() -> None:
    p = problem()
    huge = run(SamplerOptions(rho=1e14)).x
    torch.testing.assert_close(huge, run(SamplerOptions(data_consistency=False)).x, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(run(SamplerOptions(rho=0.0)).x, 2 * p["y01"] / p["h"] - 1, rtol=0, atol=1e-12)


def test_lit_pixels_lean_on_the_photo() -> None:
    """h = 1, one step from z: x = (y + rho z) / (1 + rho)."""
    p = problem()
    ones = torch.ones_like(p["h"])
    x = run(SamplerOptions(steps=1), h=ones).x
    z = run(SamplerOptions(steps=1, data_consistency=False)).x
    torch.testing.assert_close(x, ((2 * p["y01"] - 1) + 0.2 * z) / 1.2, rtol=0, atol=1e-12)


def test_deterministic_and_pure() -> None:
    p = problem()
    before = {name: tensor.clone() for name, tensor in p.items()}
    options = SamplerOptions(eta=0.5, start=500, mask_policy="closed-form")
    torch.manual_seed(1)
    one = sample(made_up, p["y01"], p["mask"], p["h"], p["clean"], noise, options, DIFFUSION)
    torch.manual_seed(2)
    two = sample(made_up, p["y01"], p["mask"], p["h"], p["clean"], noise, options, DIFFUSION)
    assert torch.equal(one.x, two.x)
    assert torch.equal(one.mask, two.mask)
    assert all(torch.equal(before[name], p[name]) for name in p)


def test_fresh_noise_is_asked_for_only_where_used() -> None:
    p = problem()
    for eta, expected in ((0.0, [0]), (1.0, [0, 1, 2, 3, 4])):  # the last of five steps adds none
        asked: list[int] = []

        def record(index: int, asked: list[int] = asked) -> Tensor:
            asked.append(index)
            return noise(index)

        sample(made_up, p["y01"], p["mask"], p["h"], None, record, SamplerOptions(eta=eta), DIFFUSION)
        assert asked == expected


def test_network_sees_the_right_mask_time_and_photo() -> None:
    seen: dict[str, list[Any]] = {policy: [] for policy in POLICIES}
    p = problem()
    for policy in POLICIES:

        def spy(y: Tensor, mask: Tensor, x_t: Tensor, t: Tensor, calls: list[Any] = seen[policy]) -> Any:
            torch.testing.assert_close(y, 2 * p["y01"] - 1)
            calls.append((t.tolist(), torch.equal(mask, p["mask"])))
            return made_up(y, mask, x_t, t)

        run(SamplerOptions(mask_policy=policy), spy)  # type: ignore[arg-type]
    times = [[float(t)] * 2 for t in (800, 600, 400, 200, 0)]
    assert seen["input"] == [(t, True) for t in times]
    assert seen["predicted"] == seen["closed-form"] == [(t, i == 0) for i, t in enumerate(times)]
    assert seen["late"] == [(t, t[0] >= 200) for t in times]


def test_float32_stays_float32_and_close_to_float64() -> None:
    p = {name: tensor.float() for name, tensor in problem().items()}
    options = SamplerOptions(eta=0.3, start=300)
    single = sample(made_up, p["y01"], p["mask"], p["h"], p["clean"], noise, options, DIFFUSION).x
    assert single.dtype == torch.float32
    torch.testing.assert_close(single.double(), run(options).x, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"steps": 5}, [800, 600, 400, 200, 0]),
        ({"steps": 25}, list(range(960, -1, -40))),
        ({"steps": 1}, [0]),
        ({"steps": 1000}, list(range(999, -1, -1))),
        ({"steps": 3}, [666, 333, 0]),
        ({"steps": 5, "start": 500}, [500, 400, 300, 200, 100]),
        ({"steps": 3, "start": 100}, [100, 66, 33]),
        ({"steps": 1, "start": 250}, [250]),
    ],
)
def test_timesteps(fields: dict[str, Any], expected: list[int]) -> None:
    assert timesteps(SamplerOptions(**fields), 1000) == expected


@given(st.integers(1, 60), st.one_of(st.none(), st.integers(1, 999)), st.floats(0.0, 1.0))
def test_step_table(steps: int, start: int | None, eta: float) -> None:
    if start is not None and start < steps:
        return
    options = SamplerOptions(steps=steps, start=start, eta=eta)
    table = step_table(options, DIFFUSION)
    assert len(table) == steps
    assert all(one.t > two.t and one.alpha_bar_next == two.alpha_bar for one, two in itertools.pairwise(table))
    assert table[-1].alpha_bar_next == 1.0
    assert table[-1].sigma == 0.0
    assert all(0.0 <= step.sigma**2 <= 1.0 - step.alpha_bar_next + 1e-15 for step in table)
    if start is not None:
        assert table[0].t == start
        assert table[-1].t > 0


def test_ancestral_noise_by_hand() -> None:
    step = step_table(SamplerOptions(eta=1.0), DIFFUSION)[0]
    now, following = step.alpha_bar, step.alpha_bar_next
    # eta = 1 is the posterior variance of DDPM between the two times: beta' (1 - abar') / (1 - abar).
    assert step.sigma**2 == pytest.approx((1 - now / following) * (1 - following) / (1 - now), rel=1e-12)


@pytest.mark.parametrize(
    "fields",
    [
        {"steps": 0}, {"eta": -0.1}, {"eta": 1.1}, {"rho": -1.0}, {"rho_schedule": "x"}, {"start": 4},
        {"mask_policy": "x"}, {"mask_policy": "closed-form", "rho": 0.0},
        {"rho_schedule": "linear", "rho_gamma": -0.1},
    ],
    ids=str,
)  # fmt: skip
def test_bad_options_are_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(TrainingError):
        SamplerOptions(**fields)


@pytest.mark.parametrize("fields", [{"steps": 1001}, {"start": 1000}])
def test_options_beyond_the_diffusion_are_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(TrainingError, match="1000"):
        timesteps(SamplerOptions(**fields), 1000)


@pytest.mark.parametrize(
    ("options", "missing"),
    [
        (SamplerOptions(start=500), "clean"),
        (SamplerOptions(), "h"),
        (SamplerOptions(data_consistency=False, mask_policy="closed-form"), "h"),
    ],
    ids=str,
)
def test_missing_inputs_are_refused(options: SamplerOptions, missing: str) -> None:
    changes: dict[str, Any] = {missing: None}
    with pytest.raises(TrainingError):
        run(options, **changes)
    run(
        dataclasses.replace(options, data_consistency=False, mask_policy="input", start=None),
        h=None,
        clean=None,
    )
