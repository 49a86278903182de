"""The kernels of `kernels/` in Triton's interpreter, called as the CUDA driver would: with a packed parameter list.

A bundle gets stand-ins for compiled kernels, which name their variant. How parameters lie in memory is worked out here
from the variant, independently of the launcher.
"""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import torch

from shadowdiffusion.kernels.ahead_of_time import SCRATCH, all_variants
from shadowdiffusion.runtime.bundle.folder import hash_files, write_manifest
from shadowdiffusion.runtime.bundle.gpu_kernels import Kernel, KernelArgument, KernelBuild
from shadowdiffusion.runtime.bundle.opening import load_bundle
from tests.runtime.fake_gpu import CUBIN

if TYPE_CHECKING:
    from tests.runtime.fake_gpu import Driver

VARIANTS = {variant.name: variant for variant in all_variants()}
SIZES = {"i32": 4, "i64": 8, "fp32": 4}
TYPES = {
    "*fp32": torch.float32,
    "*fp16": torch.float16,
    "*bf16": torch.bfloat16,
    "*i32": torch.int32,
    "*i64": torch.int64,
    "*u8": torch.uint8,
}


def add_kernels(
    path: Path,
    sms: tuple[int, ...] = (90,),
    without: str = "none",
    code: Callable[[int, str], str] = lambda sm, name: name,
) -> None:
    """Put stand-ins for the compiled kernels into a bundle's folder and manifest, without those that are named so.

    code: whose machine code the file of a variant for an SM really holds.
    """
    manifest, kernels = load_bundle(path).manifest, []
    for variant in VARIANTS.values():
        if without in variant.name:
            continue
        builds = []
        for sm in sms:
            file = Path("kernels") / f"sm_{sm}" / f"{variant.name}.cubin"
            (path / file).parent.mkdir(parents=True, exist_ok=True)
            (path / file).write_bytes(CUBIN + code(sm, variant.name).encode())
            builds.append(KernelBuild(sm, file.as_posix(), 32, 0, 2048))
        names = [name for name in variant.kernel.arg_names if name not in variant.constants]
        arguments = [KernelArgument(name, variant.types[name], 16 if name in variant.aligned else 1) for name in names]
        arguments += [KernelArgument(*scratch) for scratch in SCRATCH]
        source, entry = "0" * 64, variant.kernel.__name__
        found = (variant.constants, list(variant.grid), variant.warps, source, "3.6.0", builds)
        kernels.append(Kernel(variant.name, entry, arguments, *found))
    write_manifest(path, msgspec.structs.replace(manifest, kernels=kernels, files=hash_files(path)))


def launch(
    name: str, grid: tuple[int, ...], block: tuple[int, ...], packed: bytes, driver: Driver
) -> Callable[[], None]:
    """What launching a variant with these parameters will do."""
    variant = VARIANTS[name]
    assert block == (32 * variant.warps, 1, 1)
    values, offset = {}, 0
    for argument, kind in arguments_of(name).items():
        size = SIZES.get(kind, 8)
        offset = -(-offset // size) * size  # to the natural alignment
        (values[argument],) = struct.unpack_from({"i32": "i", "i64": "q", "fp32": "f"}.get(kind, "Q"), packed, offset)
        offset += size
    assert offset == len(packed), "the parameter list has another size"
    for scratch, *_ in SCRATCH:
        assert values.pop(scratch) == 0
    for argument in variant.aligned:
        assert values[argument] % 16 == 0, f"{name} was compiled for another {argument}"

    def run() -> None:
        given = {key: _argument(value, variant.types[key], driver) for key, value in values.items()}
        variant.kernel[grid](**given, **variant.constants)

    return run


def arguments_of(name: str) -> dict[str, str]:
    """Name and type of each parameter of a compiled variant, in order."""
    variant = VARIANTS[name]
    own = {key: variant.types[key] for key in variant.kernel.arg_names if key not in variant.constants}
    return own | {key: kind for key, kind, _ in SCRATCH}


def _argument(value: Any, kind: str, driver: Driver) -> Any:
    """A number, or a tensor over the device memory from an address on."""
    if not kind.startswith("*"):
        return value
    for memory in driver.memory.values():
        if memory.address <= value < memory.address + memory.size:
            element = torch.empty(0, dtype=TYPES[kind]).element_size()
            count = (memory.address + memory.size - value) // element
            raw = (ctypes.c_uint8 * (count * element)).from_address(value)
            return torch.frombuffer(raw, dtype=TYPES[kind], count=count)
    raise AssertionError(f"{value:#x} is not device memory")
