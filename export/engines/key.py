"""What is to be built, as the key that every stored engine is compared with, and how to say it in words."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from shadowdiffusion.export.errors import ExportError
from shadowdiffusion.runtime.bundle.device import Gpu, find_cpu
from shadowdiffusion.runtime.bundle.engines import (
    TITLES,
    BackendName,
    EngineKey,
    Precision,
    Provider,
    differences,
    key_digest,
    network_digests,
)
from shadowdiffusion.runtime.bundle.folder import Bundle, Manifest

SMALLEST_SIDE = 128
"""Pixels: the short side that the default profile begins with, a 4:1 panorama at a working size of 512."""


@dataclass(frozen=True)
class EngineOptions:
    """A request as the command line has it.

    profile: "HxW" or "HxW:HxW:HxW" (min:opt:max, pixels), None for every photo at the bundle's working size.
    batch: "N" or "N:N:N". sm: compute capabilities (89 for 8.9) to build for without a GPU, () for the GPU of
    this machine. workspace: scratch memory of the builder, MiB. force: build even if there is a stored one.
    gate: PSNR in dB that the precision must reach, None for the usual one. photos: to calibrate and to measure with,
    () for the example. passes: graph passes switched on or off by name. threads, provider: of onnxruntime, None for
    the best that is found.
    """

    backend: BackendName
    precision: Precision = "fp32"
    profile: str | None = None
    batch: str = "1:1:4"
    sm: tuple[int, ...] = ()
    optimization_level: int = 3
    workspace: int | None = None
    force: bool = False
    strip_weights: bool = False
    version_compatible: bool = False
    hardware_compatible: bool = False
    gate: float | None = None
    photos: tuple[Path, ...] = ()
    passes: Mapping[str, bool] = field(default_factory=dict)
    threads: int | None = None
    provider: Provider | None = None

    @property
    def flags(self) -> list[str]:
        """What of the options makes another engine beyond sizes and precision: `EngineKey.flags`."""
        names = ("strip_weights", "version_compatible", "hardware_compatible")
        passes = (f"{'with' if on else 'without'}:{name}" for name, on in self.passes.items())
        threads = [f"threads:{self.threads}"] if self.threads else []
        return sorted([*(name.replace("_", "-") for name in names if getattr(self, name)), *passes, *threads])


def engine_key(options: EngineOptions, bundle: Bundle, version: str, gpu: Gpu | None) -> EngineKey:
    """The key of the engine that `options` ask for; `gpu`, that of this machine, counts unless SMs are named.

    Raises ExportError for a profile or batch that cannot be.
    """
    provider: Provider | None = "cpu" if options.backend == "cpu-kernels" else None
    if options.backend == "onnxruntime":
        provider = options.provider or ("cuda" if gpu and _has_cuda() else "cpu")
    if options.sm or provider == "cpu":
        gpu = None
    return EngineKey(
        device=find_cpu() if options.backend == "onnxruntime" and provider == "cpu" else gpu.name if gpu else None,
        sm=[gpu.sm] if gpu else sorted(set(options.sm)),
        # TensorRT times kernels with the driver; TensorRT for RTX and ONNX Runtime choose them when they load an engine
        driver=gpu.driver if gpu and options.backend == "tensorrt" else None,
        backend=options.backend,
        backend_version=version,
        provider=provider,
        onnx=network_digests(bundle),
        precision=options.precision,
        profile=_profile(options.profile, bundle.manifest),
        batch=_batch(options.batch),
        optimization_level=options.optimization_level,
        flags=options.flags,
    )


def folder_name(key: EngineKey) -> str:
    """A name people can read, ended by 10 digits of the key's SHA-256, which make it the key's own."""
    device = key.device or ("-".join(f"sm{sm}" for sm in key.sm) or "portable")
    device = re.sub("[^a-z0-9]+", "-", device.lower()).strip("-")
    backend = f"{key.backend}-{key.backend_version}"
    return f"{device}_{backend}_{key.precision}_{_sizes(key, '-')}_{key_digest(key)}"


def describe(key: EngineKey) -> str:
    """The key in one phrase: "SM 89, TensorRT for RTX 1.7.1, fp16, 256x256"."""
    anything = "any CPU" if key.provider == "cpu" else "any GPU"
    sms = f"SM {' and '.join(map(str, key.sm))}" if key.sm else anything
    device = sms if key.device is None else key.device
    if key.device is not None and key.sm:
        device += f" ({sms}, driver {key.driver})" if key.driver else f" ({sms})"
    flags = "".join(f", {flag}" for flag in key.flags)
    return f"{device}, {TITLES[key.backend]} {key.backend_version}, {key.precision}, {_sizes(key, ':')}{flags}"


def _sizes(key: EngineKey, separator: str) -> str:
    sizes = key.profile.split(":")
    if len(set(sizes)) == 1:
        return sizes[0]
    return separator.join(sizes if separator == ":" else (sizes[0], sizes[-1]))


def nearest(engines: dict[str, EngineKey], wanted: EngineKey) -> tuple[str, list[str]] | None:
    """The stored engine that differs from `wanted` in the fewest fields, and in which; None if none is stored."""
    candidates = {name: differences(key, wanted) for name, key in engines.items()}
    return min(candidates.items(), key=lambda item: (len(item[1]), item[0]), default=None)


def _has_cuda() -> bool:
    import onnxruntime

    return "CUDAExecutionProvider" in onnxruntime.get_available_providers()


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
