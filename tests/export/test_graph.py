"""Each ONNX graph is the same function as its PyTorch module, at every size."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from shadowdiffusion.export.graph import OPSET, export_denoiser
from shadowdiffusion.export.photos import verification_samples
from shadowdiffusion.export.verify import snr
from shadowdiffusion.runtime.backends.onnxruntime_networks import OnnxRuntimeNetworks
from shadowdiffusion.runtime.bundle.folder import Bundle
from shadowdiffusion.training.checkpoint import Model
from shadowdiffusion.training.degradation import MATTE_THRESHOLD, UNKNOWN_MASK
from shadowdiffusion.training.denoiser import SIZES, Denoiser
from tests.export.conftest import randomise

SHAPES = [
    (1, 1, 1),  # one multiple: the smallest input, sizes the tracer likes to take as constants
    (2, 4, 6),  # the traced shape
    (1, 5, 3),  # odd numbers of multiples
    (3, 2, 2),  # square, larger batch
]


@pytest.mark.parametrize("shape", SHAPES)
def test_denoiser_matches_at_every_size(model: Model, bundle: Bundle, shape: tuple[int, int, int]) -> None:
    assert model.denoiser is not None
    image, mask, noisy = inputs(shape, model.denoiser.config.multiple)
    step = bundle.manifest.sampling.tables["5"][1]
    with torch.no_grad():
        noise, shadow = model.denoiser(2 * image - 1, mask, noisy, torch.full((len(image),), float(step.t)))
    networks = OnnxRuntimeNetworks(bundle, "cpu", 1)
    result = networks.denoise((2 * image - 1).numpy(), mask.numpy(), noisy.numpy(), step, with_mask=True)
    assert snr(result[0], noise.numpy()) > 100
    assert result[1] is not None
    assert snr(result[1], shadow.numpy()) > 100
    alone, no_mask = networks.denoise((2 * image - 1).numpy(), mask.numpy(), noisy.numpy(), step, with_mask=False)
    assert np.array_equal(alone, result[0])
    assert no_mask is None


@pytest.mark.parametrize("shape", SHAPES)
def test_prior_matches_at_every_size(model: Model, bundle: Bundle, shape: tuple[int, int, int]) -> None:
    assert model.prior is not None
    image, mask, _ = inputs(shape, model.prior.config.multiple)
    with torch.no_grad():
        expected = model.prior(image, mask)
    found = OnnxRuntimeNetworks(bundle, "cpu", 1).prior(image.numpy(), mask.numpy())
    assert expected[0].std() > 0.01
    for result, reference in zip(found, expected, strict=True):
        assert snr(result, reference.numpy()) > 100


@pytest.mark.parametrize("border", [True, False])
def test_matte_matches_where_a_shadow_is_found_and_where_none_is(model: Model, bundle: Bundle, border: bool) -> None:
    assert model.prior is not None
    image = torch.from_numpy(verification_samples((), model.prior.config.multiple, side=96)[0].image)
    image = image if border else torch.full_like(image, 0.5)
    mask = torch.full_like(image[:, :1], UNKNOWN_MASK)
    with torch.no_grad():
        reference = model.prior(image, mask)[1]
    assert bool((reference >= MATTE_THRESHOLD).any()) == border
    result = OnnxRuntimeNetworks(bundle, "cpu", 1).prior(image.numpy(), mask.numpy())[1]
    assert snr(result, reference.numpy()) > 100


def inputs(shape: tuple[int, int, int], multiple: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Image and mask in [0, 1] and noise; shape = (batch, height, width), sizes in multiples."""
    count, rows, columns = shape
    size = (rows * multiple, columns * multiple)
    generator = torch.Generator().manual_seed(rows)
    image, mask = (torch.rand(count, channels, *size, generator=generator) for channels in (3, 1))
    return image, mask, torch.randn(image.shape, generator=generator)


def test_timesteps_of_a_batch_may_differ(model: Model, plain: Bundle) -> None:
    import onnxruntime

    assert model.denoiser is not None
    generator = torch.Generator().manual_seed(0)
    size = 4 * model.denoiser.config.multiple
    y, noisy = torch.rand(2, 2, 3, size, size, generator=generator)
    mask, t = torch.rand(2, 1, size, size, generator=generator), torch.tensor([3.0, 900.0])
    with torch.no_grad():
        noise, _ = model.denoiser(y, mask, noisy, t)
    session = onnxruntime.InferenceSession(plain.path / "denoiser.onnx", providers=["CPUExecutionProvider"])
    feed = {"image": y, "mask": mask, "x_t": noisy, "t": t}
    result = session.run(["noise"], {key: value.numpy() for key, value in feed.items()})[0]
    assert snr(result, noise.numpy()) > 100


@pytest.mark.parametrize("name", ["denoiser.onnx", "prior.onnx"])
def test_files_are_portable_and_say_nothing_about_this_machine(bundle: Bundle, name: str) -> None:
    proto = onnx.load_model(bundle.path / name)
    assert [(entry.domain, entry.version) for entry in proto.opset_import] == [("", OPSET)]
    assert not proto.functions
    assert not any(tensor.external_data for tensor in proto.graph.initializer)
    assert str(Path(__file__).resolve().parents[2]).encode() not in proto.SerializeToString()
    assert b"stack_trace" not in proto.SerializeToString()


@pytest.mark.slow
@pytest.mark.parametrize("size", sorted(SIZES))
def test_shipped_sizes_match(size: str) -> None:
    import onnxruntime

    denoiser = Denoiser(SIZES[size])
    randomise(denoiser, 3)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 2
    session = onnxruntime.InferenceSession(export_denoiser(denoiser).SerializeToString(), options)
    generator = torch.Generator().manual_seed(0)
    y, noisy = torch.rand(2, 1, 3, 48, 80, generator=generator)
    mask, t = torch.rand(1, 1, 48, 80, generator=generator), torch.tensor([400.0])
    with torch.no_grad():
        expected = denoiser(y, mask, noisy, t)
    feed = {"image": y, "mask": mask, "x_t": noisy, "t": t}
    results = session.run(["noise", "shadow"], {key: value.numpy() for key, value in feed.items()})
    for result, reference in zip(results, expected, strict=True):
        assert np.isfinite(result).all()
        assert snr(result, reference.numpy()) > 100
