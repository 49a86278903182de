"""Importing released weights: every layer lands where it belongs.

The file is made up here from a written-out list of layers in the released naming, and what the imported
network computes is compared with the same network written out as function calls on that naming.
"""

from __future__ import annotations

import math
import os
import pickle
import stat
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from shadowdiffusion.training.checkpoint import load_checkpoints
from shadowdiffusion.training.degradation import AUTHORS
from shadowdiffusion.training.denoiser import PAPER, Denoiser, DenoiserConfig
from shadowdiffusion.training.errors import TrainingError
from shadowdiffusion.training.import_checkpoint import import_checkpoint
from shadowdiffusion.training.schedule import DiffusionConfig

GROUPS = 16

# Released layout with base 64, multipliers (1, 2), one residual block: layer -> (kind, inputs, outputs).
LAYERS = {
    "noise_level_mlp.1": ("linear", 64, 256),
    "noise_level_mlp.3": ("linear", 256, 64),
    "downs.0": ("conv3", 7, 64),
    "downs.1": ("block", 64, 64),
    "downs.2.conv": ("conv3", 64, 64),
    "downs.3": ("block", 64, 128),
    "mid.0": ("block+attention", 128, 128),
    "mid.1": ("block", 128, 128),
    "ups.0": ("block", 256, 128),
    "ups.1": ("block", 192, 128),
    "ups.2.conv": ("conv3", 128, 128),
    "ups.3": ("block", 192, 64),
    "ups.4": ("block", 128, 64),
    "final_conv.block.0": ("norm", 64, 64),
    "final_conv.block.3": ("conv3", 64, 3),
    "mask_tail.fcn.0": ("conv3", 64, 64),
    "mask_tail.fcn.2": ("conv3", 64, 64),
    "mask_tail.fcn.4": ("conv3", 64, 64),
    "mask_tail.fcn.6": ("conv1", 64, 1),
}


def shapes() -> dict[str, tuple[int, ...]]:
    result: dict[str, tuple[int, ...]] = {}

    def add(name: str, *weight: int, bias: bool = True) -> None:
        result[f"{name}.weight"] = weight
        if bias:
            result[f"{name}.bias"] = weight[:1]

    for name, (kind, inputs, outputs) in LAYERS.items():
        if kind == "linear":
            add(name, outputs, inputs)
        elif kind == "norm":
            add(name, outputs)
        elif kind in ("conv1", "conv3"):
            add(name, outputs, inputs, int(kind[-1]), int(kind[-1]))
        else:
            add(f"{name}.res_block.noise_func.noise_func.0", outputs, 64)
            add(f"{name}.res_block.block1.block.0", inputs)
            add(f"{name}.res_block.block1.block.3", outputs, inputs, 3, 3)
            add(f"{name}.res_block.block2.block.0", outputs)
            add(f"{name}.res_block.block2.block.3", outputs, outputs, 3, 3)
            if inputs != outputs:
                add(f"{name}.res_block.res_conv", outputs, inputs, 1, 1)
        if kind == "block+attention":
            add(f"{name}.attn.norm", outputs)
            add(f"{name}.attn.qkv", 3 * outputs, outputs, 1, 1, bias=False)
            add(f"{name}.attn.out", outputs, outputs, 1, 1)
    return result


def network() -> dict[str, Tensor]:
    """Random tensors of a size that keeps activations near one."""
    generator = torch.Generator().manual_seed(0)
    return {
        name: torch.randn(shape, generator=generator) / math.sqrt(max(1, math.prod(shape[1:])))
        for name, shape in shapes().items()
    }


def released(**betas: Tensor) -> dict[str, Tensor]:
    return betas | {f"denoise_fn.{name}": tensor for name, tensor in network().items()}


def linear_betas(count: int = 1000, start: float = 1e-4, end: float = 0.02) -> Tensor:
    return torch.tensor([start + (end - start) * i / (count - 1) for i in range(count)], dtype=torch.float32)


def written(path: Path, state: object) -> Path:
    torch.save(state, path)
    return path


def refused(tmp_path: Path, state: object) -> str:
    out = tmp_path / "out.safetensors"
    with pytest.raises(TrainingError) as caught:
        import_checkpoint(written(tmp_path / "x_gen.pth", state), out)
    assert not out.exists()
    assert "\n" not in str(caught.value)
    return str(caught.value)


class WrittenOut:
    """The released network as function calls on its own names, float64."""

    def __init__(self, state: dict[str, Tensor]) -> None:
        self.state = {name: tensor.double() for name, tensor in state.items()}

    def conv(self, name: str, x: Tensor, stride: int = 1) -> Tensor:
        weight = self.state[f"{name}.weight"]
        return F.conv2d(x, weight, self.state.get(f"{name}.bias"), stride, weight.shape[-1] // 2)

    def linear(self, name: str, x: Tensor) -> Tensor:
        return F.linear(x, self.state[f"{name}.weight"], self.state[f"{name}.bias"])

    def norm(self, name: str, x: Tensor) -> Tensor:
        return F.group_norm(x, GROUPS, self.state[f"{name}.weight"], self.state[f"{name}.bias"])

    def block(self, name: str, x: Tensor, time: Tensor) -> Tensor:
        h = self.conv(f"{name}.res_block.block1.block.3", F.silu(self.norm(f"{name}.res_block.block1.block.0", x)))
        h = h + self.linear(f"{name}.res_block.noise_func.noise_func.0", time)[:, :, None, None]
        h = self.conv(f"{name}.res_block.block2.block.3", F.silu(self.norm(f"{name}.res_block.block2.block.0", h)))
        skip = f"{name}.res_block.res_conv"
        return h + (self.conv(skip, x) if f"{skip}.weight" in self.state else x)

    def attention(self, name: str, x: Tensor) -> Tensor:
        q, k, v = self.conv(f"{name}.attn.qkv", self.norm(f"{name}.attn.norm", x)).flatten(2).chunk(3, dim=1)
        weights = torch.softmax(q.transpose(1, 2) @ k / math.sqrt(x.shape[1]), dim=-1)
        return x + self.conv(f"{name}.attn.out", (v @ weights.transpose(1, 2)).reshape(x.shape))

    def __call__(self, y: Tensor, mask: Tensor, x_t: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        phase = t[:, None] * torch.tensor([10_000 ** (-i / 32) for i in range(32)], dtype=torch.float64)
        time = torch.cat([phase.sin(), phase.cos()], dim=1)
        time = self.linear("noise_level_mlp.3", F.silu(self.linear("noise_level_mlp.1", time)))
        stem = self.conv("downs.0", torch.cat([y, mask, x_t], dim=1))
        fine = self.block("downs.1", stem, time)
        down = self.conv("downs.2.conv", fine, stride=2)
        coarse = self.block("downs.3", down, time)
        x = self.attention("mid.0", self.block("mid.0", coarse, time))
        x = self.block("mid.1", x, time)
        x = self.block("ups.0", torch.cat([x, coarse], dim=1), time)
        x = self.block("ups.1", torch.cat([x, down], dim=1), time)
        x = self.conv("ups.2.conv", x.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3))
        x = self.block("ups.3", torch.cat([x, fine], dim=1), time)
        x = self.block("ups.4", torch.cat([x, stem], dim=1), time)
        noise = self.conv("final_conv.block.3", F.silu(self.norm("final_conv.block.0", x)))
        for i in (0, 2, 4):
            x = F.relu(self.conv(f"mask_tail.fcn.{i}", x))
        return noise, torch.sigmoid(self.conv("mask_tail.fcn.6", x))


@pytest.mark.parametrize("prefix", ["", "module."])
def test_imported_network_computes_the_same(tmp_path: Path, prefix: str) -> None:
    state = {prefix + name: tensor for name, tensor in released(betas=linear_betas()).items()}
    out = tmp_path / "out.safetensors"
    import_checkpoint(written(tmp_path / "I1_E1_gen.pth", state), out)
    model = load_checkpoints(out)
    assert model.denoiser is not None
    assert model.denoiser.config == DenoiserConfig(base=64, multipliers=(1, 2), blocks=1, groups=16)
    assert model.prior is None
    assert model.diffusion == DiffusionConfig()
    assert model.illumination == AUTHORS
    assert model.recipe == {"imported_from": "I1_E1_gen.pth", "groups": 16}
    generator = torch.Generator().manual_seed(1)
    for height, width in ((8, 8), (6, 14)):
        y = torch.rand(2, 3, height, width, generator=generator, dtype=torch.float64) * 2 - 1
        mask = torch.rand(2, 1, height, width, generator=generator, dtype=torch.float64)
        x_t = torch.randn(2, 3, height, width, generator=generator, dtype=torch.float64)
        given = (y, mask, x_t, torch.tensor([800.0, 3.0], dtype=torch.float64))
        with torch.no_grad():
            noise, shadow = model.denoiser.double()(*given)
        expected_noise, expected_shadow = WrittenOut(network())(*given)
        torch.testing.assert_close(noise, expected_noise, rtol=0, atol=1e-11)
        torch.testing.assert_close(shadow, expected_shadow, rtol=0, atol=1e-11)


def test_released_size_finds_every_place() -> None:
    """The tensors of the paper-size file, counted by hand, are as many as our network has."""
    block, skip, attention, plain = 10, 2, 5, 2
    encoder = 8 * block + 3 * skip + 4 * plain  # three levels grow; stem, three strided convolutions
    middle = 2 * block + attention
    decoder = 12 * (block + skip) + 3 * plain  # every decoder block sees twice the channels it makes, or more
    ends = 2 * plain + 2 * plain + 4 * plain  # time embedding, final norm and convolution, mask head
    with torch.device("meta"):
        assert len(Denoiser(PAPER).state_dict()) == encoder + middle + decoder + ends


def test_attention_levels_are_found(tmp_path: Path) -> None:
    state = released()
    for name in ("downs.3", "ups.0", "ups.1"):
        state |= {
            f"denoise_fn.{name}.attn.{leaf}": torch.randn(shape)
            for leaf, shape in {
                "norm.weight": (128,), "norm.bias": (128,), "qkv.weight": (384, 128, 1, 1),
                "out.weight": (128, 128, 1, 1), "out.bias": (128,),
            }.items()
        }  # fmt: skip
    model = import_checkpoint(written(tmp_path / "a_gen.pth", state), tmp_path / "attention.safetensors")
    assert model.denoiser is not None
    assert model.denoiser.config.attention == (1,)
    # Attention in the encoder only is no layout that this network can have.
    for name in [name for name in state if ".ups." in name and ".attn." in name]:
        del state[name]
    assert "denoise_fn.ups.0.attn" in refused(tmp_path, state)


def test_schedules(tmp_path: Path) -> None:
    out = tmp_path / "out.safetensors"
    files: list[tuple[dict[str, Tensor], DiffusionConfig]] = [
        ({}, DiffusionConfig()),
        ({"betas": linear_betas()}, DiffusionConfig()),
        ({"betas": linear_betas(2000, 1e-6, 0.01)}, DiffusionConfig(2000, 1e-6, 0.01)),
    ]
    for betas, expected in files:
        import_checkpoint(written(tmp_path / "a_gen.pth", released(**betas)), out)
        assert load_checkpoints(out).diffusion == expected
    out.unlink()
    assert "not linear" in refused(tmp_path, released(betas=linear_betas() ** 2 * 50))
    assert "betas of shape" in refused(tmp_path, released(betas=torch.ones(2, 2)))


@pytest.mark.parametrize(
    "name",
    ["downs.0.weight", "mid.0.attn.qkv.weight", "ups.4.res_block.res_conv.bias", "mask_tail.fcn.6.bias"],
)
def test_missing_tensor_is_named(tmp_path: Path, name: str) -> None:
    state = released()
    del state[f"denoise_fn.{name}"]
    assert f"lacks the tensor denoise_fn.{name}" in refused(tmp_path, state)


@pytest.mark.parametrize(
    "name", ["denoise_fn.mask_update.fcn.0.weight", "degrade_predict.weight", "denoise_fn.downs.1.bias"]
)
def test_unknown_tensor_is_named(tmp_path: Path, name: str) -> None:
    assert f"unknown tensor {name}" in refused(tmp_path, released() | {name: torch.ones(3)})


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("downs.0.weight", (64, 6, 3, 3)),
        ("ups.3.res_block.block1.block.0.bias", (64,)),
        ("mid.1.res_block.block1.block.3.weight", (128, 128, 1, 1)),
    ],
)
def test_other_shape_is_named(tmp_path: Path, name: str, shape: tuple[int, ...]) -> None:
    message = refused(tmp_path, released() | {f"denoise_fn.{name}": torch.ones(shape)})
    assert f"denoise_fn.{name} of shape {shape}" in message


def test_uneven_blocks_and_odd_widths_are_refused(tmp_path: Path) -> None:
    state = released()
    extra = {name.replace("downs.3", "downs.4"): tensor for name, tensor in state.items() if ".downs.3." in name}
    assert "[1, 2] residual blocks" in refused(tmp_path, state | extra)
    odd = {"denoise_fn.downs.3.res_block.block1.block.3.weight": torch.ones(96, 64, 3, 3)}
    assert "[64, 96]" in refused(tmp_path, state | odd)
    assert "groups" in refused_with_groups(tmp_path, state, 48)


def refused_with_groups(tmp_path: Path, state: object, groups: int) -> str:
    with pytest.raises(TrainingError) as caught:
        import_checkpoint(written(tmp_path / "x_gen.pth", state), tmp_path / "out.safetensors", groups=groups)
    return str(caught.value)


def test_damaged_values_are_refused(tmp_path: Path) -> None:
    state = released()
    state["denoise_fn.mid.1.res_block.block2.block.3.bias"][5] = math.nan
    assert "denoise_fn.mid.1.res_block.block2.block.3.bias that are not finite" in refused(tmp_path, state)


def test_each_kind_of_file_names_the_command_that_takes_it(tmp_path: Path) -> None:
    released_file, checkpoint = written(tmp_path / "I1_E1_gen.pth", released()), tmp_path / "authors.safetensors"
    with pytest.raises(TrainingError, match="shadowdiffusion train import-checkpoint"):
        load_checkpoints(released_file)
    import_checkpoint(released_file, checkpoint)
    with pytest.raises(TrainingError, match="shadowdiffusion export onnx"):
        import_checkpoint(checkpoint, tmp_path / "again.safetensors")
    assert not (tmp_path / "again.safetensors").exists()


def test_files_of_another_kind_are_refused(tmp_path: Path) -> None:
    for state in ([1, 2], {"epoch": 1, "optimizer": {}}, {"model": 3}, {1: torch.ones(1)}):
        assert "not a state dict of tensors" in refused(tmp_path, state)
    assert "lacks the tensor denoise_fn.downs.0.weight" in refused(tmp_path, {})
    path = written(tmp_path / "x_gen.pth", released())
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(TrainingError, match="truncated"):
        import_checkpoint(path, tmp_path / "out.safetensors")
    with pytest.raises(TrainingError, match="does not exist"):
        import_checkpoint(tmp_path / "absent.pth", tmp_path / "out.safetensors")
    path = written(tmp_path / "flipped_gen.pth", released())
    damaged = bytearray(path.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    path.write_bytes(damaged)
    with pytest.raises(TrainingError, match=r"is damaged: .* another checksum"):
        import_checkpoint(path, tmp_path / "out.safetensors")


class Surprise:
    """Would run code when unpickled."""

    def __reduce__(self) -> tuple[object, ...]:
        return (print, ("unpickled",))


def test_nothing_is_executed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = refused(tmp_path, released() | {"betas": Surprise()})
    assert "holds code (print), which is refused" in said.replace("builtins.", "")
    assert "weights_only" not in said
    old = tmp_path / "old_gen.pth"
    torch.save({"betas": Surprise()}, old, _use_new_zipfile_serialization=False)
    with pytest.raises(TrainingError, match=r"holds code \((builtins\.)?print\)"):
        import_checkpoint(old, tmp_path / "out.safetensors")
    old.write_bytes(pickle.dumps(Surprise()))
    with pytest.raises(TrainingError, match="did not write, which may hold code and is refused"):
        import_checkpoint(old, tmp_path / "out.safetensors")
    assert "unpickled" not in capsys.readouterr().out


def test_a_file_that_contains_itself_is_refused(tmp_path: Path) -> None:
    state: dict[str, object] = {}
    state["model"] = state
    torch.save(state, tmp_path / "a_gen.pth")
    with pytest.raises(TrainingError, match="is not a state dict of tensors"):
        import_checkpoint(tmp_path / "a_gen.pth", tmp_path / "out.safetensors")


FOREIGN = {
    "page": (b"\n<!DOCTYPE html><html><body>404</body></html>", "is an HTML page, not a checkpoint: download"),
    "xml": (b"<?xml version='1.0'?><Error>AccessDenied</Error>", "is an HTML page, not a checkpoint: download"),
    "pointer": (
        b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n",
        "is a Git LFS pointer, not a checkpoint: run git lfs pull",
    ),
    "empty": (b"", "is empty, not a checkpoint"),
    "text": (b"hello", None),
    "photo": (b"\xff\xd8\xff\xe0" + bytes(100), None),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_what_is_no_checkpoint_is_called_what_it_is(tmp_path: Path, name: str) -> None:
    """By whatever reads checkpoints: the importer, and the exporter with all others."""
    raw, words = FOREIGN[name]
    path = tmp_path / "x_gen.pth"
    path.write_bytes(raw)
    for read in (lambda: import_checkpoint(path, tmp_path / "out.safetensors"), lambda: load_checkpoints(path)):
        with pytest.raises(TrainingError) as caught:
            read()
        said = str(caught.value)
        assert "\n" not in said
        assert "weights_only" not in said
        assert words is None or words in said


@pytest.mark.parametrize("wrapper", ["params_ema", "params", "state_dict", "model"])
@pytest.mark.parametrize("prefix", ["", "module."])
def test_wrapped_state_dicts_are_read(tmp_path: Path, wrapper: str, prefix: str) -> None:
    state = {prefix + name: tensor for name, tensor in released(betas=linear_betas()).items()}
    wrapped = {wrapper: state, "epoch": 3, "optimizer": {"lr": 1e-4}}
    if wrapper == "params_ema":  # the average goes first
        wrapped["params"] = {name: torch.zeros_like(tensor) for name, tensor in state.items()}
    model = import_checkpoint(written(tmp_path / "x_gen.pth", wrapped), tmp_path / "out.safetensors")
    assert model.denoiser is not None
    torch.testing.assert_close(model.denoiser.stem.weight.detach(), network()["downs.0.weight"], rtol=0, atol=0)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_read_with_its_schedule(tmp_path: Path, dtype: torch.dtype) -> None:
    state = {name: tensor.to(dtype) for name, tensor in released(betas=linear_betas()).items()}
    model = import_checkpoint(written(tmp_path / "x_gen.pth", state), tmp_path / "out.safetensors")
    assert model.diffusion == DiffusionConfig()
    again = load_checkpoints(tmp_path / "out.safetensors").denoiser
    assert again is not None
    weight = network()["downs.0.weight"].to(dtype).float()
    torch.testing.assert_close(again.stem.weight.detach(), weight, rtol=0, atol=0)
    (tmp_path / "out.safetensors").unlink()
    assert "not linear" in refused(tmp_path, state | {"betas": (linear_betas() ** 2 * 50).to(dtype)})


@pytest.mark.parametrize("mask", [0o022, 0o027, 0o077])
def test_checkpoint_has_the_mode_of_new_files(tmp_path: Path, mask: int) -> None:
    source, out = written(tmp_path / "x_gen.pth", released()), tmp_path / "out.safetensors"
    before = os.umask(mask)
    try:
        import_checkpoint(source, out)
    finally:
        os.umask(before)
    assert stat.S_IMODE(out.stat().st_mode) == 0o666 & ~mask
