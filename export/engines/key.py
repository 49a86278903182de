"""What is to be built, as the key that every stored engine is compared with, and how to say it in words."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import msgspec

from export.engines.gpu import Gpu
from export.errors import ExportError
from runtime.bundle import DENOISER, PRIOR, EngineKey, Manifest

BackendName = Literal["tensorrt", "tensorrt-rtx"]
Precision = Literal["fp32", "fp16"]
TITLES = {"tensorrt": "TensorRT", "tensorrt-rtx": "TensorRT for RTX"}
SMALLEST_SIDE = 128
"""Pixels: the short side that the default profile begins with, a 4:1 panorama at a working size of 512."""


@dataclass(frozen=True)
class EngineOptions:
    """A request as the command line has it.

    profile: "HxW" or "HxW:HxW:HxW" (min:opt:max, pixels), None for every photo at the bundle's working size.
    batch: "N" or "N:N:N". sm: compute capabilities (89 for 8.9) to build for without a GPU, () for the GPU of
    this machine. workspace: scratch memory of the builder, MiB. force: build even if there is a stored one.
    """

    backend: BackendName
    precision: Precision = "fp32"
    profile: str | None = None
    batch: str = "1:1:4"
    sm: tuple[int, ...] = ()
    optimization_level: int = 3
    workspace: int | None = None
    force: bool = False


def engine_key(options: EngineOptions, manifest: Manifest, version: str, gpu: Gpu | None) -> EngineKey:
    """The key of the engine that `options` ask for; `gpu` counts unless SMs are named.

    Raises ExportError for a profile or batch that cannot be.
    """
    if options.sm:
        gpu = None
    return EngineKey(
        gpu=gpu.name if gpu else None,
        sm=[gpu.sm] if gpu else sorted(set(options.sm)),
        driver=gpu.driver if gpu else None,
        backend=options.backend,
        backend_version=version,
        onnx={name: manifest.files[name].sha256 for name in (PRIOR, DENOISER) if name in manifest.files},
        precision=options.precision,
        profile=_profile(options.profile, manifest),
        batch=_batch(options.batch),
        optimization_level=options.optimization_level,
    )


def image_sizes(key: EngineKey) -> list[tuple[int, int]]:
    """(height, width) in pixels: smallest, best and largest."""
    return [(int(h), int(w)) for h, w in (size.split("x") for size in key.profile.split(":"))]


def batch_sizes(key: EngineKey) -> list[int]:
    """Images at once: smallest, best and largest."""
    return [int(size) for size in key.batch.split(":")]


def folder_name(key: EngineKey) -> str:
    """A name people can read, ended by 10 digits of the key's SHA-256, which make it the key's own."""
    device = key.gpu or ("-".join(f"sm{sm}" for sm in key.sm) or "portable")
    device = re.sub("[^a-z0-9]+", "-", device.lower()).strip("-")
    sizes = key.profile.split(":")
    profile = sizes[0] if len(set(sizes)) == 1 else f"{sizes[0]}-{sizes[-1]}"
    digest = hashlib.sha256(msgspec.json.encode(key, order="deterministic")).hexdigest()[:10]
    return f"{device}_{key.backend}-{key.backend_version}_{key.precision}_{profile}_{digest}"


def describe(key: EngineKey) -> str:
    """The key in one phrase: "SM 89, TensorRT for RTX 1.7.1, fp16, 256x256"."""
    sms = f"SM {' and '.join(map(str, key.sm))}" if key.sm else "any GPU"
    device = f"{key.gpu} ({sms}, driver {key.driver})" if key.gpu else sms
    sizes = key.profile.split(":")
    profile = sizes[0] if len(set(sizes)) == 1 else key.profile
    return f"{device}, {TITLES[key.backend]} {key.backend_version}, {key.precision}, {profile}"


def differences(stored: EngineKey, wanted: EngineKey) -> list[str]:
    """One phrase for every field in which two keys differ: "precision is fp32, not fp16"."""
    found = []
    for field in EngineKey.__struct_fields__:
        old, new = getattr(stored, field), getattr(wanted, field)
        if old == new:
            continue
        if field == "onnx":
            changed = sorted(name for name in old.keys() | new.keys() if old.get(name) != new.get(name))
            found.append(f"{' and '.join(changed)} changed since")
        else:
            found.append(f"{field.replace('_', ' ')} is {_value(old)}, not {_value(new)}")
    return found


def nearest(engines: dict[str, EngineKey], wanted: EngineKey) -> tuple[str, list[str]] | None:
    """The stored engine that differs from `wanted` in the fewest fields, and in which; None if none is stored."""
    candidates = {name: differences(key, wanted) for name, key in engines.items()}
    return min(candidates.items(), key=lambda item: (len(item[1]), item[0]), default=None)


def _value(value: object) -> str:
    if isinstance(value, list):
        return " and ".join(map(str, value)) or "any"
    return "unknown" if value is None else str(value)


def _profile(text: str | None, manifest: Manifest) -> str:
    multiple, side = manifest.model.multiple, manifest.model.working_size
    if text is None:
        largest = -(-side // multiple) * multiple
        smallest = min(largest, -(-SMALLEST_SIDE // multiple) * multiple)
        text = f"{smallest}x{smallest}:{largest}x{largest}:{largest}x{largest}"
    parts = text.lower().split(":")
    if len(parts) not in (1, 3) or not all(re.fullmatch(r"[1-9][0-9]{0,4}x[1-9][0-9]{0,4}", part) for part in parts):
        example = "128x128:256x256:512x512"
        raise ExportError(f"profile {text!r} is not HEIGHTxWIDTH or three of them (min:opt:max), such as {example}")
    sizes = [tuple(map(int, part.split("x"))) for part in (parts * 3)[:3]]
    for height, width in sizes:
        if height % multiple or width % multiple:
            near = "x".join(str(max(1, round(side / multiple)) * multiple) for side in (height, width))
            raise ExportError(
                f"profile size {height}x{width} does not fit networks that need multiples of {multiple}: use {near}"
            )
    for axis in range(2):
        _check_order("profile", text, [size[axis] for size in sizes])
    return ":".join(f"{height}x{width}" for height, width in sizes)


def _batch(text: str) -> str:
    parts = text.split(":")
    if len(parts) not in (1, 3) or not all(re.fullmatch("[1-9][0-9]{0,3}", part) for part in parts):
        raise ExportError(f"batch {text!r} is not a number or three of them (min:opt:max), such as 1:1:4")
    parts = (parts * 3)[:3]
    _check_order("batch", text, [int(part) for part in parts])
    return ":".join(parts)


def _check_order(what: str, text: str, values: Sequence[int]) -> None:
    if list(values) != sorted(values):
        raise ExportError(f"{what} {text!r} must rise from min over opt to max")
