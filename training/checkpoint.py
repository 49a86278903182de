"""Checkpoints: one safetensors file with the weights of the denoiser, of the degradation prior, or of both.

Tensors are named `denoiser.*` and `prior.*`. The metadata holds {"format": "shadowdiffusion", "version": "1",
"config": JSON, "sha256": digest of the config and the tensors}, where the JSON has `task`, the shapes `denoiser` and
`prior` of the networks (or null), `diffusion`, `recipe` (how the weights were made: any JSON object) and, where it is
not the usual one, the form `illumination` of h. Nothing is unpickled.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import secrets
import stat
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from shadowdiffusion.training.degradation import CLAMPED, DegradationConfig, DegradationPrior, IlluminationForm
from shadowdiffusion.training.denoiser import Denoiser, DenoiserConfig
from shadowdiffusion.training.errors import TrainingError
from shadowdiffusion.training.foreign_files import is_pytorch, no_checkpoint
from shadowdiffusion.training.schedule import DiffusionConfig

FORMAT, VERSION = "shadowdiffusion", "1"
TASKS = ("shadow", "low-light", "exposure")
PARTS = ("denoiser", "prior")

Network = TypeVar("Network", bound=nn.Module)
Config = TypeVar("Config", DenoiserConfig, DegradationConfig, DiffusionConfig, IlluminationForm)


@dataclass(frozen=True)
class Model:
    """The networks of one restorer and how they were made; either network may be absent.

    task: "shadow", "low-light" or "exposure".
    recipe: any JSON object; after uniting files, {file stem: its recipe}.
    illumination: the form of h with which the denoiser is sampled.
    """

    denoiser: Denoiser | None = None
    prior: DegradationPrior | None = None
    diffusion: DiffusionConfig = field(default_factory=DiffusionConfig)
    task: str = "shadow"
    recipe: Mapping[str, Any] = field(default_factory=dict)
    illumination: IlluminationForm = CLAMPED

    def __post_init__(self) -> None:
        if self.task not in TASKS:
            raise TrainingError(f"task {self.task!r} is unknown: use one of {', '.join(TASKS)}")


def save_checkpoint(path: str | Path, model: Model) -> None:
    """Write `model` to `path`: under a temporary name beside it, then renamed, so no reader sees half a file.

    Raises TrainingError if the model has no network, the recipe is not JSON, or the file cannot be written.
    """
    target = Path(path)
    parts: dict[str, nn.Module] = {}
    if model.denoiser is not None:
        parts["denoiser"] = model.denoiser
    if model.prior is not None:
        parts["prior"] = model.prior
    if not parts:
        raise TrainingError(f"nothing to save in {target}: the model has neither a denoiser nor a prior")
    config = {
        "task": model.task,
        "denoiser": None if model.denoiser is None else dataclasses.asdict(model.denoiser.config),
        "prior": None if model.prior is None else dataclasses.asdict(model.prior.config),
        "diffusion": dataclasses.asdict(model.diffusion),
        "recipe": dict(model.recipe),
    }
    if model.illumination != CLAMPED:
        config["illumination"] = dataclasses.asdict(model.illumination)
    try:
        text = json.dumps(config, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise TrainingError(f"the recipe of {target} must be plain JSON: {error}") from error
    tensors = {
        f"{part}.{name}": tensor.detach().cpu().contiguous()
        for part, module in parts.items()
        for name, tensor in module.state_dict().items()
    }
    temporary = target.with_name(f".{secrets.token_hex(8)}.tmp")  # as short as any name of a target
    try:
        metadata = {"format": FORMAT, "version": VERSION, "config": text, "sha256": _digest(text, tensors)}
        temporary.touch()
        mode = temporary.stat().st_mode  # as every new file's; safetensors makes files that their owner alone may read
        save_file(tensors, temporary, metadata)
        temporary.chmod(stat.S_IMODE(mode))
        os.replace(temporary, target)
    except (OSError, SafetensorError) as error:
        raise TrainingError(f"cannot write checkpoint {target}: {error}") from error
    finally:
        temporary.unlink(missing_ok=True)


def load_checkpoints(paths: Sequence[str | Path] | str | Path) -> Model:
    """Read one checkpoint, or unite several (the prior of one with the denoiser of another).

    The networks come back on the CPU, in eval mode and in float32. The diffusion and the form of h are those of the
    file with the denoiser. Raises TrainingError if a file is missing, truncated, of another format, version or
    architecture, if two files hold the same network, or if their tasks differ.
    """
    files = [Path(p) for p in ([paths] if isinstance(paths, str | Path) else paths)]
    if not files:
        raise TrainingError("no checkpoint given: name at least one file")
    united = _load(files[0])
    if len(files) == 1:
        return united
    holder = {part: files[0] for part in PARTS if getattr(united, part) is not None}
    recipes: dict[str, Any] = {files[0].stem: united.recipe}
    for path in files[1:]:
        model = _load(path)
        if model.task != united.task:
            tasks = f"{files[0]} is for {united.task}, {path} for {model.task}"
            raise TrainingError(f"{tasks}: unite files of one task")
        changes: dict[str, Any] = {}
        for part in PARTS:
            if getattr(model, part) is None:
                continue
            if part in holder:
                raise TrainingError(f"both {holder[part]} and {path} hold a {part}: give only one of them")
            holder[part] = path
            changes[part] = getattr(model, part)
            if part == "denoiser":
                changes |= {"diffusion": model.diffusion, "illumination": model.illumination}
        recipes[path.stem] = model.recipe
        united = dataclasses.replace(united, recipe=recipes, **changes)
    return united


def _load(path: Path) -> Model:
    tensors, config = _read(path)
    if not isinstance(config.get("recipe"), dict):
        raise TrainingError(f"{path} is damaged: its recipe is not an object")
    denoiser: Denoiser | None = None
    prior: DegradationPrior | None = None
    # Building a network draws its initial weights: keep that out of the caller's random stream.
    with torch.random.fork_rng(devices=[]):
        if config.get("denoiser") is not None:
            denoiser = _build(Denoiser, _parse(DenoiserConfig, config["denoiser"], path), path)
            _fill(denoiser, "denoiser", tensors, path)
        if config.get("prior") is not None:
            prior = _build(DegradationPrior, _parse(DegradationConfig, config["prior"], path), path)
            _fill(prior, "prior", tensors, path)
    if tensors:
        raise TrainingError(f"{path} holds a tensor that no network of it wants: {sorted(tensors)[0]}")
    if denoiser is None and prior is None:
        raise TrainingError(f"{path} holds neither a denoiser nor a prior")
    diffusion = _parse(DiffusionConfig, config.get("diffusion"), path)
    form = _parse(IlluminationForm, config.get("illumination", {}), path)
    return Model(denoiser, prior, diffusion, config.get("task", ""), config["recipe"], form)


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    try:
        if problem := no_checkpoint(path):
            raise TrainingError(problem)
        if is_pytorch(path):
            advice = "convert the authors' denoiser first (shadowdiffusion train import-checkpoint)"
            raise TrainingError(f"{path} is a file of PyTorch, not a {FORMAT} checkpoint: {advice}")
        with safe_open(path, framework="pt", device="cpu") as file:
            metadata = file.metadata() or {}
            kind, version = metadata.get("format"), metadata.get("version")
            if kind != FORMAT:
                raise TrainingError(
                    f"{path} is not a {FORMAT} checkpoint (its format is {kind!r}): give one that fit wrote"
                )
            if version != VERSION:
                raise TrainingError(f"{path} is a checkpoint of version {version}, this program reads {VERSION}")
            text = metadata.get("config", "")
            config = json.loads(text)
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    except (SafetensorError, OSError) as error:
        raise TrainingError(f"{path} is truncated or not a safetensors file: {error}") from error
    except ValueError as error:
        raise TrainingError(f"{path} is damaged: its config is not JSON ({error})") from error
    if not isinstance(config, dict):
        raise TrainingError(f"{path} is damaged: its config is not an object")
    if metadata.get("sha256", found := _digest(text, tensors)) != found:  # files of earlier versions have none
        raise TrainingError(f"{path} is damaged: its tensors have another SHA-256 than when they were written")
    return tensors, config


def _digest(config: str, tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 of the config and of every tensor's name and bytes: safetensors itself notices no flipped bit."""
    digest = hashlib.sha256(config.encode())
    for name in sorted(tensors):
        digest.update(name.encode())
        digest.update(tensors[name].reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _parse(cls: type[Config], data: object, path: Path) -> Config:
    """JSON object -> config dataclass; refuses fields that are unknown or of another type than their default.

    A field that the file lacks is newer than the file and keeps its default.
    """
    name = cls.__name__
    if not isinstance(data, dict):
        raise TrainingError(f"{path} is damaged: its {name} is {data!r}, not an object")
    known = {f.name: f.default for f in dataclasses.fields(cls)}
    values: dict[str, Any] = {}
    for key, value in data.items():
        if key not in known:
            raise TrainingError(f"{path} has the unknown {name} field {key!r}: it was made by another version")
        if not _same_kind(value, known[key]):
            raise TrainingError(f"{path} has {name} field {key} = {value!r}, unlike {known[key]!r}")
        values[key] = tuple(value) if isinstance(value, list) else value
    try:
        return cls(**values)
    except TrainingError as error:
        raise TrainingError(f"{path}: {error}") from error


def _build(network: Callable[[Config], Network], config: Config, path: Path) -> Network:
    try:
        return network(config)
    except (ValueError, RuntimeError, IndexError, ZeroDivisionError) as error:
        raise TrainingError(f"{path} describes a network that cannot be built, {config}: {error}") from error


def _same_kind(value: object, default: object) -> bool:
    if isinstance(default, tuple):
        return isinstance(value, list) and all(type(item) is int for item in value)
    if isinstance(default, bool | str):
        return type(value) is type(default)
    if isinstance(default, float):
        return type(value) in (int, float)
    return type(value) is int


def _fill(module: nn.Module, part: str, tensors: dict[str, Tensor], path: Path) -> None:
    """Load `part`'s tensors into `module` and take them out of `tensors`."""
    state = {}
    for name, wanted in module.state_dict().items():
        key = f"{part}.{name}"
        if key not in tensors:
            raise TrainingError(f"{path} lacks the tensor {key}: it is of another architecture")
        found = tensors.pop(key)
        if found.shape != wanted.shape:
            sizes = f"{tuple(found.shape)}, not {tuple(wanted.shape)}"
            raise TrainingError(f"{path} has {key} of shape {sizes}: it is of another architecture")
        state[name] = found
    module.load_state_dict(state)
    module.eval()
