"""Checkpoint -> bundle -> runtime gives what the reference sampler gives, whatever the options."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import torch

from shadowdiffusion import runtime
from shadowdiffusion.export.bundle import _model_info
from shadowdiffusion.export.illumination import section
from shadowdiffusion.export.photos import ellipse, synthetic, verification_samples
from shadowdiffusion.export.schedule import sampling_section
from shadowdiffusion.export.verify import (
    LOOP_DB,
    LOOPS,
    InPyTorch,
    OnBackend,
    compare,
    psnr,
    reference_loop,
    unit,
    verification,
)
from shadowdiffusion.runtime.backends.onnxruntime_networks import OnnxRuntimeNetworks
from shadowdiffusion.runtime.bundle.folder import DENOISER, Bundle, Task, hash_files, write_manifest
from shadowdiffusion.runtime.gain.brightening import brighten
from shadowdiffusion.runtime.gain.illumination import log_gain
from shadowdiffusion.runtime.gain.resizing import reduced
from shadowdiffusion.runtime.loop.noise import gaussian
from shadowdiffusion.training.checkpoint import Model
from shadowdiffusion.training.degradation import AUTHORS, CLAMPED, IlluminationForm, illumination
from shadowdiffusion.training.sampler import SamplerOptions, sample
from tests.export.conftest import output_names

PHOTOS = Path(__file__).parents[1] / "data" / "photos" / "val"

OPTIONS: dict[str, dict[str, Any]] = {
    "paper": {},
    "one step": {"steps": 1},
    "many steps": {"steps": 25},
    "no data consistency": {"data_consistency": False},
    "ancestral noise": {"eta": 1.0},
    "some noise": {"eta": 0.3, "steps": 4},
    "clamp": {"clamp": True, "data_consistency": False},
    "start from the prior": {"start": 300},
    "start, noise": {"start": 450, "eta": 0.7, "steps": 6},
    "geometric rho": {"rho": 0.05, "rho_schedule": "geometric", "rho_gamma": 1.6},
    "linear rho": {"rho_schedule": "linear", "rho_gamma": 0.15},
    "predicted masks": {"mask_policy": "predicted"},
    "late masks": {"mask_policy": "late", "steps": 8},
    "closed-form masks": {"mask_policy": "closed-form"},
    "closed-form masks, rising rho": {"mask_policy": "closed-form", "rho_schedule": "linear", "rho_gamma": 0.1},
    "everything": {"mask_policy": "closed-form", "start": 500, "eta": 0.5, "clamp": True, "steps": 10},
}


@pytest.fixture
def bundle(plain: Bundle) -> Bundle:
    """Any schedule fits a denoiser that takes the timestep itself; equal rows of it are another test's."""
    return plain


def variant(bundle: Bundle, model: Model, options: SamplerOptions) -> Bundle:
    """The same networks with other sampling options."""
    sampling = sampling_section(options, model.diffusion)
    return Bundle(bundle.path, msgspec.structs.replace(bundle.manifest, sampling=sampling))


def on_cpu(bundle: Bundle) -> OnBackend:
    return OnBackend(bundle, OnnxRuntimeNetworks(bundle, "cpu", 1))


def at_multiple(bundle: Bundle) -> int:
    return bundle.manifest.model.multiple


@pytest.mark.parametrize("name", OPTIONS)
def test_sampling_loop_matches_reference(model: Model, bundle: Bundle, name: str) -> None:
    options = SamplerOptions(**OPTIONS[name])
    samples = verification_samples((), at_multiple(bundle), side=64)
    changed = variant(bundle, model, options)
    found = compare(on_cpu(changed), InPyTorch(model, options), changed, samples)
    assert verification("PyTorch", [], found)[1] is None
    assert set(found) == output_names(options.steps) | {f"step {k}" for k in range(1, options.steps + 1)} | set(LOOPS)


@pytest.mark.parametrize("name", ["paper", "start from the prior", "late masks"])
def test_sampling_loop_matches_reference_on_photos(model: Model, bundle: Bundle, name: str) -> None:
    options = SamplerOptions(**OPTIONS[name])
    photos = sorted(PHOTOS.iterdir())
    assert photos
    changed, samples = variant(bundle, model, options), verification_samples(photos, at_multiple(bundle), side=96)
    found = compare(on_cpu(changed), InPyTorch(model, options), changed, samples)
    assert verification("PyTorch", [], found)[1] is None


@pytest.mark.parametrize("name", [name for name in OPTIONS if name != "paper"])
def test_options_matter(model: Model, bundle: Bundle, name: str) -> None:
    """Otherwise the parity above would say nothing about them."""
    sample = verification_samples((), at_multiple(bundle), side=64)[0]
    results = [
        reference_loop(model, SamplerOptions(**options), sample.image, sample.mask, 0)
        for options in ({}, OPTIONS[name])
    ]
    assert psnr(*results) < LOOP_DB - 10


def test_batch_has_the_noise_of_its_images(model: Model, bundle: Bundle) -> None:
    options = SamplerOptions(eta=1.0)
    changed = variant(bundle, model, options)
    samples = verification_samples((), at_multiple(bundle), side=64)[::2] * 2
    image, mask = (np.concatenate([getattr(s, key) for s in samples]) for key in ("image", "mask"))
    result = unit(on_cpu(changed).states(image, mask, 5)[-1])
    assert psnr(result, reference_loop(model, options, image, mask, 5)) >= LOOP_DB
    assert psnr(result[0], result[1]) < 60  # same image, other noise


@pytest.fixture
def without(model: Model, bundle: Bundle, tmp_path: Path) -> Bundle:
    """A denoiser alone, as imported from the authors."""
    shutil.copyfile(bundle.path / DENOISER, tmp_path / DENOISER)
    info = msgspec.structs.replace(bundle.manifest.model, prior_parameters=None)
    sampling = sampling_section(SamplerOptions(data_consistency=False), model.diffusion)
    files = hash_files(tmp_path)
    manifest = msgspec.structs.replace(bundle.manifest, model=info, sampling=sampling, files=files)
    write_manifest(tmp_path, manifest)
    return Bundle(tmp_path, manifest)


def test_without_prior(model: Model, without: Bundle) -> None:
    """The mask is given and nothing ties z to the photo."""
    alone, options = Model(model.denoiser, None), SamplerOptions(data_consistency=False)
    found = compare(on_cpu(without), InPyTorch(alone, options), without, verification_samples((), 8, side=64))
    assert verification("PyTorch", [], found)[1] is None
    assert set(found) == output_names(5, prior=False) | {*(f"step {k}" for k in range(1, 6)), "loop"}
    with pytest.raises(runtime.RestoreError, match="mask"):
        runtime.load(without.path, "portable", "cpu", 1)(synthetic(40, 40).transpose(1, 2, 0))


@pytest.mark.parametrize(("native", "form"), [(False, AUTHORS), (True, CLAMPED)])
def test_with_a_given_clean_estimate_the_method_is_whole(
    model: Model, without: Bundle, native: bool, form: IlluminationForm
) -> None:
    """The public call on a bundle without prior, against the reference sampler with that estimate."""
    assert model.denoiser is not None
    pixels, mask = synthetic(61, 83).transpose(1, 2, 0), ellipse(61, 83)[0, 0]
    clean = (pixels * (1 + 0.6 * mask[..., None])).clip(0, 1)
    info = msgspec.structs.replace(without.manifest.model, illumination=section(form))
    write_manifest(without.path, msgspec.structs.replace(without.manifest, model=info))
    restorer = runtime.load(without.path, "portable", "cpu", 1)
    choice: dict[str, Any] = {"native": True} if native else {"working_size": 64}
    restored = restorer(pixels, mask, clean=clean, seed=3, with_prior=True, **choice)

    small, seen, estimate = (reduced(array, 83 if native else 64) for array in (pixels, mask, clean))
    planes = [padded(array.transpose(2, 0, 1)[None], at_multiple(without)) for array in (small, seen, estimate)]
    y, m, x_hat = map(torch.from_numpy, planes)

    def noise(step: int) -> torch.Tensor:
        return torch.from_numpy(gaussian(*y.shape[2:], seed=3, step=step)[None])

    h = illumination(y, x_hat, form)
    x = sample(model.denoiser, y, m, h, x_hat, noise, SamplerOptions(), model.diffusion).x
    found = unit(x.numpy()).clip(0, 1)[0].transpose(1, 2, 0)[: small.shape[0], : small.shape[1]]
    assert psnr(restored.image, brighten(pixels, small, log_gain(small, found))) >= LOOP_DB
    assert restored.prior is not None
    assert psnr(restored.prior, brighten(pixels, small, log_gain(small, estimate))) >= LOOP_DB
    assert psnr(restored.image, restorer(pixels, mask, seed=3, **choice).image) < 40  # the estimate matters


SMALL = [(64, 80), (61, 83), (33, 96), (5, 90), (1, 1), (1, 257), (300, 2), (250, 130)]
LARGE = [(4000, 64), (3, 3000), (3000, 4000), (512, 8192)]
WORKING_SIZE = 96


@pytest.mark.parametrize("task", ["shadow", "low-light", "exposure"])
@pytest.mark.parametrize(
    ("height", "width"), [*SMALL, *(pytest.param(*size, marks=pytest.mark.slow) for size in LARGE)]
)
def test_whole_pipeline_on_photos_of_any_size(
    model: Model,
    bundle: Bundle,
    tmp_path: Path,
    height: int,
    width: int,
    task: Task,
) -> None:
    """The public call, against the reference sampler on the photo reduced and padded here."""
    options = SamplerOptions(start=400, eta=0.5)
    path = tmp_path / "bundle"
    shutil.copytree(bundle.path, path)
    manifest = variant(bundle, model, options).manifest
    info = _model_info(model, task, WORKING_SIZE)
    write_manifest(path, msgspec.structs.replace(manifest, task=task, model=info))
    pixels = synthetic(height, width).transpose(1, 2, 0)
    mask = np.maximum(ellipse(height, width), np.float32(0.25))[0, 0] if task == "shadow" else np.ones((height, width))
    if mask.min() == mask.max():  # one value, like two, is a drawing
        mask = np.ones_like(mask)

    restorer = runtime.load(path, "portable", "cpu", 1)
    given = mask.astype(np.float32) if task == "shadow" else None  # the others are degraded everywhere
    restored = restorer(pixels, given, seed=11)

    small, seen = (reduced(array, WORKING_SIZE) for array in (pixels, mask.astype(np.float32)))
    y, m = (padded(array.transpose(2, 0, 1)[None], at_multiple(bundle)) for array in (small, seen))
    x = reference_loop(model, options, y, m, 11).clip(0, 1)[0].transpose(1, 2, 0)
    expected = x[: small.shape[0], : small.shape[1]]
    assert restored.image.shape == pixels.shape
    assert psnr(restored.image, brighten(pixels, small, log_gain(small, expected))) >= LOOP_DB


def padded(array: np.ndarray, multiple: int) -> np.ndarray:
    """[1, C, h, w] extended right and below, by NumPy alone."""
    for axis in (2, 3):
        extra, mode = -array.shape[axis] % multiple, "reflect"
        if extra >= array.shape[axis]:
            mode = "edge"
        array = np.pad(array, [(0, extra if a == axis else 0) for a in range(4)], mode=mode)  # type: ignore[call-overload]
    return array


def test_tables_hold_the_reference_schedule_in_double_precision(model: Model, bundle: Bundle) -> None:
    from shadowdiffusion.training.schedule import alpha_bars

    table = alpha_bars(model.diffusion)
    assert table.dtype == torch.float64
    for key, steps in bundle.manifest.sampling.tables.items():
        assert len(steps) == int(key)
        assert [step.t for step in steps] == [1000 // len(steps) * k for k in reversed(range(len(steps)))]
        assert [step.alpha_bar for step in steps] == [float(table[step.t]) for step in steps]
        assert [step.alpha_bar_next for step in steps] == [*(step.alpha_bar for step in steps[1:]), 1.0]
