"""The authors' method, written out plainly, against the chain of a bundle that has their degradation form."""

from __future__ import annotations

import math
import shutil
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor

from shadowdiffusion.export.bundle import BundleOptions, build_bundle
from shadowdiffusion.export.errors import ExportError
from shadowdiffusion.export.illumination import form_of, section
from shadowdiffusion.export.photos import verification_samples
from shadowdiffusion.export.verify import unit
from shadowdiffusion.runtime.backends.onnxruntime_networks import OnnxRuntimeNetworks
from shadowdiffusion.runtime.bundle.folder import Bundle, Illumination, parse_manifest
from shadowdiffusion.runtime.bundle.opening import load_bundle
from shadowdiffusion.runtime.errors import BundleError
from shadowdiffusion.runtime.loop.prior_update import illumination
from shadowdiffusion.runtime.loop.sampler import sample
from shadowdiffusion.training import degradation
from shadowdiffusion.training.checkpoint import Model, save_checkpoint
from shadowdiffusion.training.degradation import AUTHORS, CLAMPED, IlluminationForm
from shadowdiffusion.training.sampler import SamplerOptions
from shadowdiffusion.training.sampler import sample as reference_sample
from tests.export.command_line import call

Array = npt.NDArray[np.float32]


def authors(model: Model, y: Tensor, mask: Tensor, clean: Tensor, noise: Tensor) -> Tensor:
    """Their loop: five DDIM steps of 1000, h = y / (x_hat + 5e-5), rho = 0.2; the image in [0, 1]."""
    assert model.denoiser is not None
    alpha_bar = torch.cumprod(1 - torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64), 0)
    x, rho, consistent = noise.double(), 0.2, noise
    network = model.denoiser.double()
    for t in (800, 600, 400, 200, 0):
        now, following = float(alpha_bar[t]), float(alpha_bar[t - 200]) if t else 1.0
        predicted, _ = network(2 * y.double() - 1, mask.double(), x, torch.tensor([float(t)], dtype=torch.float64))
        z = ((x - math.sqrt(1 - now) * predicted) / math.sqrt(now) + 1) / 2
        h = y.double() / (clean.double() + 5e-5)
        consistent = (h * y.double() + rho * z) / (h**2 + rho)
        x = math.sqrt(following) * (2 * consistent - 1) + math.sqrt(1 - following) * predicted
    network.float()
    return consistent


def black(bundle: Bundle) -> tuple[Array, Array, Array, Array]:
    """(photo, mask, x_hat, noise): a real photo whose left half is nearly black, and quite black in places."""
    photo = verification_samples((), bundle.manifest.model.multiple, side=64)[0]
    y, half = photo.image.copy(), photo.image.shape[3] // 2
    y[..., :half] *= np.float32(1e-3)
    y[..., : half // 2] *= np.float32(0.1)
    y[..., :4] = 0
    clean = np.clip(y * np.float32(1.6), 0, 1)
    clean[..., 4:8] = 0  # h reaches its largest values where x_hat is black and the photo is not
    noise = np.random.default_rng(3).standard_normal(y.shape, np.float32)
    return y, photo.mask, clean, noise


def in_numpy(bundle: Bundle, form: IlluminationForm, y: Array, mask: Array, clean: Array, noise: Array) -> Array:
    networks, sampling = OnnxRuntimeNetworks(bundle, "cpu", 1), bundle.manifest.sampling
    h = illumination(y, clean, section(form))
    x = sample(networks.denoise, y, mask, h, clean, lambda step: noise.copy(), sampling, sampling.tables["5"]).x
    return unit(x)


def in_torch(model: Model, form: IlluminationForm, y: Array, mask: Array, clean: Array, noise: Array) -> Array:
    assert model.denoiser is not None
    photo, shadow, estimate, start = map(torch.from_numpy, (y, mask, clean, noise))
    h = degradation.illumination(photo, estimate, form)
    options = SamplerOptions()
    x = reference_sample(model.denoiser, photo, shadow, h, estimate, lambda _: start, options, model.diffusion).x
    return unit(x.numpy())


def test_the_chain_is_the_authors_method_on_nearly_black_pixels(model: Model, bundle: Bundle) -> None:
    given = black(bundle)
    with torch.no_grad():
        expected = authors(model, *map(torch.from_numpy, given)).numpy()
    largest = np.abs(expected).max()
    for found in (in_numpy(bundle, AUTHORS, *given), in_torch(model, AUTHORS, *given)):
        assert np.abs(found - expected).max() < 2e-5 * largest
    ours = in_numpy(bundle, CLAMPED, *given)
    assert np.abs(ours - expected)[..., : given[0].shape[3] // 2].max() > 0.1  # the two forms are no synonyms


def test_a_form_is_the_same_in_both_samplers_bit_for_bit(bundle: Bundle) -> None:
    y, _, clean, _ = black(bundle)
    for form in (CLAMPED, AUTHORS):
        expected = degradation.illumination(torch.from_numpy(y), torch.from_numpy(clean), form).numpy()
        assert np.array_equal(illumination(y, clean, section(form)), expected)
    largest = degradation.illumination(torch.ones(1), torch.zeros(1), AUTHORS)
    assert float(largest) == pytest.approx(1 / 5e-5)  # no bound cuts it


def test_the_manifest_keeps_the_form(model: Model, exported: None, tmp_path: Path) -> None:
    usual, theirs = section(CLAMPED), section(AUTHORS)
    assert msgspec.to_builtins(usual) == {"epsilon": 1e-4, "floor": 0.01, "ceiling": 4.0}  # as it has ever been
    assert theirs == Illumination(5e-5, 0.0, 1e5, 0.0)
    assert [form_of(each) for each in (usual, theirs)] == [CLAMPED, AUTHORS]
    save_checkpoint(tmp_path / "both.safetensors", model)
    path = tmp_path / "bundle"
    result = call("onnx", tmp_path / "both.safetensors", "-o", path, "--degradation-form", "authors")
    assert result.exit_code == 0, result.output  # compared with PyTorch, loop and all
    assert load_bundle(path).manifest.model.illumination == theirs
    again = call("verify", path, "--against", tmp_path / "both.safetensors")
    assert again.exit_code == 0, again.output


def test_black_pixels_need_rho(model: Model, bundle: Bundle, tmp_path: Path) -> None:
    options = BundleOptions(SamplerOptions(rho=0.0), "b", illumination=AUTHORS)
    with pytest.raises(ExportError, match="rho above 0 at every step"):
        build_bundle(model, tmp_path / "b", options)
    raw = msgspec.to_builtins(bundle.manifest)
    raw["model"]["illumination"] = msgspec.to_builtins(section(AUTHORS))
    assert parse_manifest(msgspec.json.encode(raw)).model.illumination == section(AUTHORS)
    raw["sampling"]["tables"]["5"][2]["rho"] = 0.0
    with pytest.raises(BundleError, match="floor of 0 needs rho above 0"):
        parse_manifest(msgspec.json.encode(raw))


def test_gpu_kernels_refuse_the_form(bundle: Bundle, tmp_path: Path) -> None:
    path = Path(shutil.copytree(bundle.path, tmp_path / "b"))
    raw = msgspec.json.decode((path / "manifest.json").read_bytes())
    raw["model"]["illumination"] = msgspec.to_builtins(section(AUTHORS))
    (path / "manifest.json").write_bytes(msgspec.json.encode(raw))
    result = call("kernels", path, "--sm", "80")
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert "degradation form" in result.stderr
