"""The sampling loop against the PyTorch reference, and the closed forms against their definitions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from shadowdiffusion.runtime.bundle.folder import Illumination, Sampling, Step
from shadowdiffusion.runtime.loop.noise import gaussian
from shadowdiffusion.runtime.loop.prior_update import blend_coefficients, closed_form_mask, confident_mask, illumination
from shadowdiffusion.runtime.loop.sampler import sample
from tests.runtime.tiny import make_sampling

HEIGHT, WIDTH = 24, 32


def inputs() -> tuple[Any, Any, Any, Any]:
    rng = np.random.default_rng(0)
    clean = rng.random((1, 3, HEIGHT, WIDTH), np.float32)
    mask = np.zeros((1, 1, HEIGHT, WIDTH), np.float32)
    mask[..., :12] = 1
    y = (clean * (1 - 0.6 * mask)).astype(np.float32)
    return y, mask, illumination(y, clean, Illumination(1e-4, 0.01, 4.0)), clean


def noise(step: int) -> Any:
    return gaussian(HEIGHT, WIDTH, seed=4, step=step)[None]


def fake_denoiser(xp: Any) -> Any:
    """A smooth function of everything the denoiser sees, in NumPy or PyTorch."""

    def denoise(y: Any, mask: Any, x: Any, time: Any, with_mask: bool = True) -> Any:
        t = float(time.t if isinstance(time, Step) else time[0])
        epsilon = 0.7 * xp.tanh(x) + 0.2 * y * mask + t / 5000
        shadow = 1 / (1 + xp.exp(-(4 * mask - 2 + x[:, :1] - y[:, 1:2])))
        return epsilon, shadow if with_mask else None

    return denoise


CASES: dict[str, dict[str, Any]] = {
    "paper": {},
    "one step": {"steps": 1},
    "25 steps": {"steps": 25},
    "eta": {"eta": 0.7},
    "clamp": {"clamp": True},
    "geometric": {"rho_schedule": "geometric", "rho_gamma": 1.5},
    "linear": {"rho_schedule": "linear", "rho_gamma": 0.15},
    "no data consistency": {"data_consistency": False, "clamp": True},
    "predicted": {"mask_policy": "predicted"},
    "late": {"mask_policy": "late", "steps": 10},
    "late, never": {"mask_policy": "late", "steps": 2, "start": 600},
    "closed-form": {"mask_policy": "closed-form"},
    "start": {"start": 250, "steps": 3},
    "everything": {
        "start": 400,
        "eta": 1.0,
        "mask_policy": "closed-form",
        "clamp": True,
        "rho": 1.0,
        "steps": 4,
    },
}


@pytest.mark.parametrize("choice", CASES.values(), ids=CASES.keys())
def test_the_loop_matches_the_pytorch_reference(choice: dict[str, Any]) -> None:
    torch = pytest.importorskip("torch")
    from shadowdiffusion.training.sampler import SamplerOptions, step_table
    from shadowdiffusion.training.sampler import sample as reference
    from shadowdiffusion.training.schedule import DiffusionConfig

    options, diffusion = SamplerOptions(**choice), DiffusionConfig()
    table = [Step(*step) for step in step_table(options, diffusion)]
    sampling = Sampling(
        default_steps=options.steps,
        eta=options.eta,
        rho_schedule=options.rho_schedule,
        rho_gamma=options.rho_gamma,
        mask_policy=options.mask_policy,
        data_consistency=options.data_consistency,
        clamp=options.clamp,
        start=options.start,
        T=diffusion.timesteps,
        start_alpha_bar=table[0].alpha_bar if options.start is not None else None,
        tables={str(options.steps): table},
    )
    y, mask, h, clean = inputs()
    actual = sample(fake_denoiser(np), y, mask, h, clean, noise, sampling, table)
    expected = reference(
        fake_denoiser(torch),
        torch.from_numpy(y),
        torch.from_numpy(mask),
        torch.from_numpy(h),
        torch.from_numpy(clean),
        lambda step: torch.from_numpy(noise(step)),
        options,
        diffusion,
    )
    assert actual.mask is not None
    for ours, theirs in ((actual.x, expected.x.numpy()), (actual.mask, expected.mask.numpy())):
        assert ours.dtype == np.float32
        peak = max(1.0, float(np.abs(theirs).max()))  # without data consistency values run away
        assert np.sqrt(np.mean((ours - theirs) ** 2)) < 1e-4 * peak  # 1e-4 of the peak = 80 dB


@pytest.mark.parametrize(
    ("choice", "evaluations"),
    [({}, 0), ({"mask_policy": "late"}, 1), ({"mask_policy": "predicted"}, 4), ({"mask_policy": "closed-form"}, 4)],
)
def test_the_mask_head_runs_only_where_its_mask_is_read(choice: dict[str, Any], evaluations: int) -> None:
    y, mask, h, clean = inputs()
    sampling = make_sampling(**choice)
    asked: list[bool] = []

    def denoise(y: Any, mask: Any, x: Any, step: Step, with_mask: bool) -> Any:
        asked.append(with_mask)
        return fake_denoiser(np)(y, mask, x, step, with_mask)

    table = sampling.tables["5"]
    with_it = sample(denoise, y, mask, h, clean, noise, sampling, table, with_mask=True)
    assert sum(asked) == evaluations + 1
    asked.clear()
    without = sample(denoise, y, mask, h, clean, noise, sampling, table, with_mask=False)
    assert sum(asked) == evaluations
    assert np.array_equal(without.x, with_it.x)
    assert without.mask is None
    assert with_it.mask is not None


def test_the_inputs_are_left_alone_and_progress_is_reported() -> None:
    arrays = inputs()
    before = [array.copy() for array in arrays]
    sampling = make_sampling(mask_policy="closed-form")
    seen: list[tuple[int, int]] = []
    for _ in range(2):
        sample(fake_denoiser(np), *arrays, noise, sampling, sampling.tables["5"], lambda *done: seen.append(done))
    assert all(np.array_equal(a, b) for a, b in zip(arrays, before, strict=True))
    assert seen == [(1, 5), (2, 5), (3, 5), (4, 5), (5, 5)] * 2


@pytest.mark.parametrize("rho", [0.0, 0.2, 5.0])
def test_blend_minimises_the_unrolled_objective(rho: float) -> None:
    y, _, h, _ = inputs()
    z = np.random.default_rng(1).random(y.shape, np.float32)
    a, b = blend_coefficients(y, h, rho)
    x = (a + b * (2 * z - 1) + 1) / 2
    slope = h * (h * x - y) + rho * (x - z)
    assert np.abs(slope).max() < 1e-5


def test_an_extreme_illumination_stays_finite() -> None:
    y = np.array([0, 1, 0, 1], np.float32).reshape(1, 1, 2, 2).repeat(3, 1)
    clean = np.array([0, 0, 1, 1], np.float32).reshape(1, 1, 2, 2).repeat(3, 1)
    h = illumination(y, clean, Illumination(1e-4, 0.01, 4.0))
    assert np.allclose(h[0, 0], np.array([[1, 4], [0.01, 1]]))
    assert all(np.isfinite(part).all() for part in blend_coefficients(y, h, 1e-6))


def test_confident_mask_begins_at_the_threshold() -> None:
    matte = np.array([0.0, 0.7, 0.8, 1.0], np.float32).reshape(1, 1, 1, 4)
    assert confident_mask(matte, 0.8).ravel().tolist() == [0, 0, 1, 1]


def test_closed_form_mask_finds_the_matte_of_an_exact_shadow() -> None:
    matte = np.linspace(0, 1, 64, dtype=np.float32).reshape(1, 1, 8, 8)
    sure = (matte == 1).astype(np.float32)
    weight = np.array([0.3, 0.4, 0.5], np.float32).reshape(1, 3, 1, 1)
    h = 1 - (1 - weight) * matte
    assert np.abs(closed_form_mask(h, np.zeros_like(matte), sure, 1e-6) - matte).max() < 1e-5
    predicted = np.full_like(matte, 0.3)
    assert np.allclose(closed_form_mask(h, predicted, sure, 1e6), predicted, atol=1e-4)
    assert np.allclose(closed_form_mask(h, predicted, np.zeros_like(matte), 0.2), predicted)
