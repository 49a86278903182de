"""Configuration of a training run: TOML files, shipped in `training/configs/` or anybody's own.

A file may name another that it `extends`, and may have a table [prior] or [denoiser] of what holds for that network
alone.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any, Literal, get_args

import msgspec

from shadowdiffusion.training.datasets import CropConfig
from shadowdiffusion.training.errors import TrainingError
from shadowdiffusion.training.exposure import ExposureConfig
from shadowdiffusion.training.from_prior import FromPriorConfig
from shadowdiffusion.training.layouts import LayoutName
from shadowdiffusion.training.shadows import ShadowConfig

SHIPPED = Path(__file__).parent / "configs"

Network = Literal["prior", "denoiser"]


class DataConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where samples come from.

    layout "photos": clean photos in `train`, validation photos in `val`, degraded on the fly as the task wants it:
    by `shadow` for shadows, by `exposure` for low light and exposure.
    Any other layout: photographed pairs, see `training.layouts`, resized to `resize` squared.
    """

    layout: Literal["photos"] | LayoutName = "photos"
    crop: CropConfig = CropConfig()
    shadow: ShadowConfig = ShadowConfig()
    exposure: ExposureConfig = ExposureConfig()
    groups: dict[str, float] = {}
    resize: int = 256
    unknown_mask: float = 0.0


class FitConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One run trains one network; its checkpoint is united with the other network's at export."""

    network: Network
    size: Literal["small", "paper"]
    steps: int
    task: Literal["shadow", "low-light", "exposure"] = "shadow"
    batch: int = 8  # per process
    log_weight: tuple[float, float] = (-4.0, 1.5)  # prior: limits of log w, the light left in linear scale
    veiled: bool = False  # prior: some light is not the shadow's to take
    calibrated: bool = False  # prior: scale the gain by what the shadow's border shows
    from_prior: FromPriorConfig | None = None  # denoiser: train on the estimates of a finished prior
    learning_rate: float = 1e-3
    final_learning_rate: float = 1e-6  # cosine from learning_rate; equal values keep it constant
    warmup: int = 200
    weight_decay: float = 0.0
    betas: tuple[float, float] = (0.9, 0.99)
    clip: float = 1.0  # gradient norm
    ema: float = 0.999
    precision: Literal["no", "bf16"] = "no"
    workers: int = 1
    validate_every: int = 500
    validation_samples: int = 64
    checkpoint_every: int = 500
    keep_checkpoints: int = 2
    seed: int = 0
    data: DataConfig = DataConfig()

    def __post_init__(self) -> None:
        for name in ("steps", "batch", "validate_every", "checkpoint_every", "validation_samples"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1")
        if self.from_prior is not None and self.network != "denoiser":
            raise ValueError("from_prior is for denoisers: set network to denoiser or leave it out")
        if not self.log_weight[0] < self.log_weight[1]:
            raise ValueError("log_weight must be (lower, upper)")
        if not 0 < self.final_learning_rate <= self.learning_rate:
            raise ValueError("0 < final_learning_rate <= learning_rate must hold")

    def as_dict(self) -> dict[str, Any]:
        """Plain values, as stored in the checkpoint."""
        plain: dict[str, Any] = msgspec.to_builtins(self)
        return plain


def shipped_configs() -> list[str]:
    """Names that `load_config` knows."""
    return sorted(p.stem for p in SHIPPED.glob("*.toml"))


def load_config(name: str, network: Network | None = None) -> FitConfig:
    """A shipped configuration by name, or a TOML file by path.

    network: the network to train, None for the one that the file names.

    Raises:
        TrainingError: naming the offending value.
    """
    parts = _parts(name)
    named = next((part["network"] for part in reversed(parts) if "network" in part), None)
    chosen = network or named
    merged: dict[str, Any] = {}
    for part in parts:
        tables = {each: part.pop(each, {}) for each in get_args(Network)}
        merged = _merged(_merged(merged, part), tables.get(chosen, {}))
    if chosen is not None:
        merged["network"] = chosen
    try:
        return msgspec.convert(merged, FitConfig)
    except (msgspec.ValidationError, TrainingError) as error:
        raise TrainingError(f"configuration {name}: {error}") from None


def _parts(name: str) -> list[dict[str, Any]]:
    """The file and all that it extends, the most basic first."""
    parts: list[dict[str, Any]] = []
    following: str | None = name
    read: list[Path] = []
    while following is not None:
        path = SHIPPED / f"{following}.toml"
        if not path.is_file():
            path = Path(following)
        if not path.is_file():
            raise TrainingError(
                f"no configuration {following!r}: give a TOML file or one of {', '.join(shipped_configs())}"
            )
        if path in read:
            raise TrainingError(f"configuration {name}: {path} extends itself")
        read.append(path)
        try:
            part = tomllib.loads(path.read_text("utf-8"))
            following = msgspec.convert(part.pop("extends", None), str | None)
            for network in get_args(Network):
                msgspec.convert(part.get(network, {}), dict[str, Any])
        except (tomllib.TOMLDecodeError, UnicodeDecodeError, msgspec.ValidationError) as error:
            raise TrainingError(f"configuration {path}: {error}") from None
        parts.insert(0, part)
    return parts


def _merged(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """`base` with the values of `over`, table by table."""
    result = dict(base)
    for key, value in over.items():
        below = result.get(key)
        result[key] = _merged(below, value) if isinstance(below, dict) and isinstance(value, dict) else value
    return result
