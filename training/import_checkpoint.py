"""Import the denoiser weights that the authors of ShadowDiffusion (CVPR 2023) release as `I*_E*_gen.pth`.

Such a file is the state dict of their diffusion object: buffers of the beta schedule, and under
`denoise_fn` the U-Net, whose layers are numbered through (`downs.4.res_block.block1.block.0`). The layout
is read from the shapes; every tensor of the file must find its place and every place its tensor.
"""

from __future__ import annotations

import re
import zipfile
from math import log10
from pathlib import Path

import torch
from torch import Tensor

from shadowdiffusion.training.checkpoint import Model, save_checkpoint
from shadowdiffusion.training.degradation import AUTHORS
from shadowdiffusion.training.denoiser import INPUT_CHANNELS, PAPER, Denoiser, DenoiserConfig
from shadowdiffusion.training.errors import TrainingError
from shadowdiffusion.training.foreign_files import is_pytorch, is_safetensors, no_checkpoint
from shadowdiffusion.training.schedule import DiffusionConfig, betas

PREFIX = "denoise_fn."
WRAPPERS = ("params_ema", "params", "state_dict", "model_state_dict", "model")
"""Under what other programs store a state dict beside other things; of several the first, which is the average."""
DEEPEST = 4
"""Wrappers around a state dict; a file may hold one that contains itself."""
SCHEDULE_BUFFERS = frozenset(
    {
        "betas",
        "alphas_cumprod",
        "alphas_cumprod_prev",
        "sqrt_alphas_cumprod",
        "sqrt_one_minus_alphas_cumprod",
        "log_one_minus_alphas_cumprod",
        "sqrt_recip_alphas_cumprod",
        "sqrt_recipm1_alphas_cumprod",
        "posterior_variance",
        "posterior_log_variance_clipped",
        "posterior_mean_coef1",
        "posterior_mean_coef2",
    }
)
"""All follow from `betas`, the only one that is read."""


def import_checkpoint(pth: str | Path, out: str | Path, task: str = "shadow", groups: int = PAPER.groups) -> Model:
    """Convert the released file `pth` to our checkpoint `out`; returns what was written.

    task: what the weights were trained for. groups: GroupNorm groups, the one number that leaves no trace
    in the file (16 in all released configurations). The beta schedule is taken from the file, or ours if it
    has none. The form of h becomes the authors', h = y / (x_hat + 5e-5).

    Raises TrainingError if the file cannot be read, holds another architecture (naming the tensor that is
    missing, unknown or of another shape), has a tensor that is not finite, or a beta schedule that is not
    linear.
    """
    path = Path(pth)
    state = _read(path)
    unknown = [key for key in state if not key.startswith(PREFIX) and key not in SCHEDULE_BUFFERS]
    if unknown:
        raise TrainingError(f"{path} has the unknown tensor {unknown[0]}: it is not a released denoiser (*_gen.pth)")
    diffusion = _diffusion(state.get("betas"), path)
    network = {key.removeprefix(PREFIX): value for key, value in state.items() if key.startswith(PREFIX)}
    config = _infer_config(network, groups, path)
    with torch.random.fork_rng(devices=[]):
        denoiser = Denoiser(config).eval()
    denoiser.load_state_dict(_rename(network, denoiser, path))
    model = Model(denoiser, None, diffusion, task, {"imported_from": path.name, "groups": groups}, AUTHORS)
    save_checkpoint(out, model)
    return model


def _read(path: Path) -> dict[str, Tensor]:
    try:
        if problem := no_checkpoint(path):
            raise TrainingError(problem)
        if is_safetensors(path):
            advice = "shadowdiffusion export onnx takes checkpoints as they are"
            raise TrainingError(f"{path} is no file of the authors: {advice}")
        if not is_pytorch(path):
            raise TrainingError(f"{path} is not a checkpoint: it does not begin as files of PyTorch do")
    except OSError as error:
        raise TrainingError(f"cannot read {path}: {error.strerror}") from error
    if zipfile.is_zipfile(path) and (damaged := _damaged_member(path)):
        raise TrainingError(f"{path} is damaged: {damaged} in it has another checksum than when it was written")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch.load raises whatever its zip reader and unpickler raise
        # Its own texts advise to load such files without protection.
        if found := re.search(r"(?:GLOBAL |class )([\w.]+)", str(error)):
            raise TrainingError(
                f"{path} holds code ({found[1]}), which is refused: ask for a file of tensors alone, as "
                "torch.save(network.state_dict()) writes it"
            ) from error
        raise TrainingError(f"{path} is truncated or damaged: download it again") from error
    tensors = _unwrapped(state)
    if tensors is None:
        raise TrainingError(f"{path} is not a state dict of tensors: give the *_gen.pth file")
    return {key.removeprefix("module."): value for key, value in tensors.items()}  # saved from inside DataParallel


def _unwrapped(state: object, depth: int = 0) -> dict[str, Tensor] | None:
    """The tensors of a state dict, which may be wrapped in others, or None."""
    if depth > DEEPEST or not isinstance(state, dict) or not all(isinstance(key, str) for key in state):
        return None
    if all(isinstance(value, Tensor) for value in state.values()):
        return state
    inner = (_unwrapped(state[name], depth + 1) for name in WRAPPERS if name in state)
    return next((found for found in inner if found is not None), None)


def _damaged_member(path: Path) -> str | None:
    """PyTorch does not compare the checksums that its files have."""
    try:
        with zipfile.ZipFile(path) as file:
            return file.testzip()
    except (zipfile.BadZipFile, OSError, NotImplementedError, RuntimeError):
        return None  # torch.load says what is wrong


def _diffusion(found: Tensor | None, path: Path) -> DiffusionConfig:
    """The linear schedule whose float32 betas are `found`."""
    ours = DiffusionConfig()
    if found is None:
        return ours
    if found.dim() != 1 or not len(found):
        raise TrainingError(f"{path} has betas of shape {tuple(found.shape)}, not [T]")
    if not found.is_floating_point():
        raise TrainingError(f"{path} has betas of type {found.dtype}, which are no fractions")
    kind = torch.finfo(found.dtype)
    digits = min(6, int(-log10(kind.eps)))  # 1e-4, not float32's 9.9999997e-5; half precision has 3 digits
    start, end = (float(f"{float(value):.{digits}g}") for value in (found[0], found[-1]))
    config = DiffusionConfig(len(found), start, end)
    if not torch.allclose(found.double(), betas(config), rtol=max(1e-5, kind.eps), atol=kind.tiny * kind.eps):
        raise TrainingError(f"{path} has betas that are not linear from {start} to {end}: only linear ones are known")
    return config


def _infer_config(network: dict[str, Tensor], groups: int, path: Path) -> DenoiserConfig:
    """Base width, multipliers, blocks and attention levels from the encoder's tensors."""
    stem = network.get("downs.0.weight")
    if stem is None:
        raise TrainingError(f"{path} lacks the tensor {PREFIX}downs.0.weight: it is of another architecture")
    if stem.dim() != 4 or stem.shape[1] != INPUT_CHANNELS:
        shape = f"{tuple(stem.shape)}, not (base, {INPUT_CHANNELS}, 3, 3)"
        raise TrainingError(f"{path} has {PREFIX}downs.0.weight of shape {shape}: it is of another architecture")
    base = stem.shape[0]
    numbers = {int(match[1]) for key in network if (match := re.match(r"downs\.(\d+)\.", key))}
    levels: list[list[int]] = [[]]
    attention = set()
    for number in sorted(numbers - {0}):
        conv = network.get(f"downs.{number}.res_block.block1.block.3.weight")
        if conv is None:  # the strided convolution that ends a level
            levels.append([])
            continue
        levels[-1].append(conv.shape[0])
        if f"downs.{number}.attn.norm.weight" in network:
            attention.add(len(levels) - 1)
    if not all(levels) or len({len(widths) for widths in levels}) > 1:
        counts = [len(widths) for widths in levels]
        raise TrainingError(f"{path} has {counts} residual blocks in its encoder levels: they must be equally many")
    widths = [level[-1] for level in levels]
    if any(width % base for width in widths):
        raise TrainingError(f"{path} has level widths {widths} that are not multiples of its base width {base}")
    multipliers = tuple(width // base for width in widths)
    try:
        return DenoiserConfig(base, multipliers, len(levels[0]), groups, tuple(sorted(attention)))
    except TrainingError as error:
        raise TrainingError(f"{path}: {error}") from error


def _rename(network: dict[str, Tensor], denoiser: Denoiser, path: Path) -> dict[str, Tensor]:
    """The file's tensors under our names; every one used exactly once."""
    modules = _module_names(denoiser.config)
    left = dict(network)
    state = {}
    for name, wanted in denoiser.state_dict().items():
        module, leaf = name.rsplit(".", 1)
        key = f"{modules[module]}.{leaf}"
        if key not in left:
            raise TrainingError(f"{path} lacks the tensor {PREFIX}{key}: it is of another architecture")
        found = left.pop(key)
        if found.shape != wanted.shape:
            shape = f"{tuple(found.shape)}, not {tuple(wanted.shape)}"
            raise TrainingError(f"{path} has {PREFIX}{key} of shape {shape}: it is of another architecture")
        if not torch.isfinite(found).all():
            raise TrainingError(f"{path} has values in {PREFIX}{key} that are not finite: the file is damaged")
        state[name] = found
    if left:
        raise TrainingError(f"{path} has the unknown tensor {PREFIX}{min(left)}: it is of another architecture")
    return state


def _module_names(config: DenoiserConfig) -> dict[str, str]:
    """Our name of every layer -> the released one. Layers are numbered through in running order there."""
    names = {
        "embedding.hidden": "noise_level_mlp.1",
        "embedding.out": "noise_level_mlp.3",
        "stem": "downs.0",
        "noise_norm": "final_conv.block.0",
        "noise_conv": "final_conv.block.3",
        "mask_out": "mask_tail.fcn.6",
    }
    names |= {f"mask_convs.{i}": f"mask_tail.fcn.{2 * i}" for i in range(3)}
    last = len(config.multipliers) - 1
    number = 1
    for level in range(last + 1):
        for i in range(config.blocks):
            names |= _block_names(f"encoder.{level}.blocks.{i}", f"downs.{number}")
            number += 1
        if level < last:
            names[f"encoder.{level}.down"] = f"downs.{number}.conv"
            number += 1
    for i in range(2):
        names |= _block_names(f"middle.{i}", f"mid.{i}")
    number = 0
    for level in range(last + 1):
        for i in range(config.blocks + 1):
            names |= _block_names(f"decoder.{level}.blocks.{i}", f"ups.{number}")
            number += 1
        if level < last:
            names[f"decoder.{level}.up"] = f"ups.{number}.conv"
            number += 1
    return names


def _block_names(ours: str, theirs: str) -> dict[str, str]:
    return {
        f"{ours}.norm1": f"{theirs}.res_block.block1.block.0",
        f"{ours}.conv1": f"{theirs}.res_block.block1.block.3",
        f"{ours}.time": f"{theirs}.res_block.noise_func.noise_func.0",
        f"{ours}.norm2": f"{theirs}.res_block.block2.block.0",
        f"{ours}.conv2": f"{theirs}.res_block.block2.block.3",
        f"{ours}.skip": f"{theirs}.res_block.res_conv",
        f"{ours}.attention.norm": f"{theirs}.attn.norm",
        f"{ours}.attention.qkv": f"{theirs}.attn.qkv",
        f"{ours}.attention.out": f"{theirs}.attn.out",
    }
