"""The denoiser's layout is pinned: a checkpoint made today must load tomorrow."""

from __future__ import annotations

import pytest
import torch

from shadowdiffusion.training.denoiser import PAPER, SIZES, SMALL, Attention, Denoiser, DenoiserConfig
from shadowdiffusion.training.errors import TrainingError

TINY = DenoiserConfig(base=8, multipliers=(1, 2, 3), blocks=1, groups=4)


def inputs(count: int, height: int, width: int, seed: int = 0) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    y = torch.rand(count, 3, height, width, generator=generator) * 2 - 1
    mask = torch.rand(count, 1, height, width, generator=generator)
    x_t = torch.randn(count, 3, height, width, generator=generator)
    return [y, mask, x_t, torch.linspace(900.0, 10.0, count)]


def awake(config: DenoiserConfig) -> Denoiser:
    """A denoiser whose zero-initialised layers are random too, as after training."""
    torch.manual_seed(0)
    denoiser = Denoiser(config).eval()
    with torch.no_grad():
        for parameter in denoiser.parameters():
            if not parameter.any():
                parameter.normal_(std=0.05)
    return denoiser


@pytest.mark.parametrize(("name", "count"), [("paper", 55_518_660), ("small", 4_466_928)])
def test_parameter_count(name: str, count: int) -> None:
    with torch.device("meta"):
        denoiser = Denoiser(SIZES[name])
    assert sum(parameter.numel() for parameter in denoiser.parameters()) == count


def test_paper_layer_shapes() -> None:
    with torch.device("meta"):
        shapes = {name: tuple(tensor.shape) for name, tensor in Denoiser(PAPER).state_dict().items()}
    expected = {
        "embedding.hidden.weight": (256, 64),
        "embedding.out.weight": (64, 256),
        "stem.weight": (64, 7, 3, 3),
        "encoder.0.blocks.0.conv1.weight": (64, 64, 3, 3),
        "encoder.0.down.weight": (64, 64, 3, 3),
        "encoder.1.blocks.0.skip.weight": (128, 64, 1, 1),
        "encoder.3.blocks.1.conv2.weight": (512, 512, 3, 3),
        "middle.0.attention.qkv.weight": (1536, 512, 1, 1),
        "middle.0.attention.out.weight": (512, 512, 1, 1),
        "middle.1.time.weight": (512, 64),
        "decoder.0.blocks.0.conv1.weight": (512, 1024, 3, 3),
        "decoder.0.blocks.2.conv1.weight": (512, 768, 3, 3),
        "decoder.0.up.weight": (512, 512, 3, 3),
        "decoder.3.blocks.0.conv1.weight": (64, 192, 3, 3),
        "decoder.3.blocks.2.conv1.weight": (64, 128, 3, 3),
        "noise_conv.weight": (3, 64, 3, 3),
        "mask_convs.2.weight": (64, 64, 3, 3),
        "mask_out.weight": (1, 64, 1, 1),
    }
    assert {name: shapes[name] for name in expected} == expected
    assert len(shapes) == 285
    for absent in ("middle.0.attention.qkv.bias", "encoder.3.down.weight", "decoder.3.up.weight"):
        assert absent not in shapes
    # One attention in the whole network, as in the released code.
    assert {name.split(".attention")[0] for name in shapes if ".attention." in name} == {"middle.0"}


def test_small_works_on_two_by_two_patches() -> None:
    with torch.device("meta"):
        shapes = {name: tuple(tensor.shape) for name, tensor in Denoiser(SMALL).state_dict().items()}
    assert shapes["stem.weight"] == (32, 28, 3, 3)
    assert shapes["noise_conv.weight"] == (12, 32, 3, 3)
    assert shapes["mask_out.weight"] == (4, 32, 1, 1)
    assert shapes["middle.1.conv1.weight"] == (160, 160, 3, 3)


@pytest.mark.parametrize(("config", "multiple"), [(PAPER, 8), (SMALL, 16), (TINY, 4)])
def test_multiple(config: DenoiserConfig, multiple: int) -> None:
    assert config.multiple == multiple


@pytest.mark.parametrize("patch", [1, 2])
@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (3, 5), (7, 1)])
def test_output_shapes_at_odd_multiples(patch: int, rows: int, columns: int) -> None:
    config = DenoiserConfig(base=8, multipliers=(1, 2, 3), blocks=1, groups=4, patch=patch)
    height, width = rows * config.multiple, columns * config.multiple
    noise, mask = awake(config)(*inputs(2, height, width))
    assert noise.shape == (2, 3, height, width)
    assert mask.shape == (2, 1, height, width)
    assert mask.min() >= 0.0
    assert mask.max() <= 1.0
    assert torch.isfinite(noise).all()


def test_wrong_size_is_refused() -> None:
    with pytest.raises(TrainingError, match=r"30x12.*multiples of 4"):
        Denoiser(TINY)(*inputs(1, 12, 30))


def test_patching_keeps_pixels_in_place() -> None:
    """What a patched network predicts about one corner depends on that corner's pixels, not on shuffled
    ones."""
    denoiser = awake(DenoiserConfig(base=8, multipliers=(1,), blocks=1, groups=8, patch=2))
    y, mask, x_t, t = inputs(1, 64, 64)
    x_t.requires_grad_(True)
    # GroupNorm and attention mix all pixels a little: the strongest influence must still be the local one.
    denoiser(y, mask, x_t, t)[0][0, :, 10:12, 50:52].sum().backward()
    assert x_t.grad is not None
    influence = x_t.grad.abs().sum(dim=(0, 1))
    row, column = divmod(int(influence.argmax()), 64)
    assert abs(row - 11) <= 6
    assert abs(column - 51) <= 6


@pytest.mark.parametrize("config", [TINY, DenoiserConfig(base=8, multipliers=(1, 2), blocks=1, groups=4, patch=2)])
def test_every_input_matters(config: DenoiserConfig) -> None:
    denoiser = awake(config)
    given = inputs(1, 16, 16)
    noise, mask = denoiser(*given)
    for index in range(4):
        changed = list(given)
        changed[index] = changed[index] + 0.3
        other_noise, other_mask = denoiser(*changed)
        assert (other_noise - noise).abs().max() > 1e-4
        assert (other_mask - mask).abs().max() > 1e-6


def test_samples_of_a_batch_do_not_mix() -> None:
    denoiser = awake(TINY).double()
    y, mask, x_t, t = (tensor.double() for tensor in inputs(3, 16, 16))
    together = denoiser(y, mask, x_t, t)[0]
    alone = denoiser(y[1:2], mask[1:2], x_t[1:2], t[1:2])[0]
    torch.testing.assert_close(together[1:2], alone, rtol=0, atol=1e-12)


def test_untrained_network_predicts_no_noise() -> None:
    assert not Denoiser(TINY)(*inputs(1, 16, 16))[0].any()


def test_attention_is_softmax_of_scaled_products() -> None:
    torch.manual_seed(0)
    attention = Attention(8, groups=4).double()
    x = torch.randn(2, 8, 3, 5, dtype=torch.float64)
    query, key, value = attention.qkv(attention.norm(x)).flatten(2).split(8, dim=1)
    weights = torch.softmax(torch.einsum("ncp,ncq->npq", query, key) / 8**0.5, dim=-1)
    mixed = torch.einsum("npq,ncq->ncp", weights, value).reshape(x.shape)
    torch.testing.assert_close(attention(x), x + attention.out(mixed), rtol=0, atol=1e-12)


def test_attention_levels_are_configurable() -> None:
    config = DenoiserConfig(base=8, multipliers=(1, 2), blocks=1, groups=4, attention=(1,))
    names = {name.split(".attention")[0] for name in Denoiser(config).state_dict() if ".attention." in name}
    assert names == {"encoder.1.blocks.0", "middle.0", "decoder.0.blocks.0", "decoder.0.blocks.1"}


def test_embedding_keeps_float32_phases_for_half_precision_networks() -> None:
    embedding = awake(TINY).embedding
    t = torch.tensor([999.0, 998.0])
    full = embedding(t)
    half = embedding.to(torch.bfloat16)(t)
    assert half.dtype == torch.bfloat16
    torch.testing.assert_close(half.float(), full, rtol=0.05, atol=0.05)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"multipliers": ()}, "at least 1"),
        ({"blocks": 0}, "at least 1"),
        ({"base": 9, "groups": 9}, "even"),
        ({"groups": 7}, "groups 7"),
        ({"attention": (4,)}, "levels 0..3"),
    ],
)
def test_impossible_configs_are_refused(fields: dict[str, object], message: str) -> None:
    with pytest.raises(TrainingError, match=message):
        DenoiserConfig(**fields)  # type: ignore[arg-type]
