"""Kernels are launched as their records say, and the records say what the compiled kernels take."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernels.ahead_of_time import all_variants
from runtime.bundle.folder import Bundle
from runtime.bundle.gpu_kernels import Kernel, KernelArgument, KernelBuild
from runtime.bundle.opening import load_bundle
from runtime.errors import BundleError, RestoreError
from runtime.gpu.cuda import Cuda
from runtime.gpu.cuda_kernels import CudaKernels, layout
from runtime.gpu.grid_rule import programs
from tests.runtime.fake_gpu import Driver
from tests.runtime.fake_kernels import add_kernels, arguments_of
from tests.runtime.tiny import write_bundle

ROOT = Path(__file__).resolve().parents[3]
VARIANTS = {variant.name: variant for variant in all_variants()}
FEW = ["start_state_fp32_signed", "prior_step_fp32_to_fp16_nchw_noise", "prior_coefficients_fp32_h", "merge_statistics"]


def compiled(directory: Path, *arguments: str) -> list[Kernel]:
    """Records of kernels compiled in a process of its own, since this one may interpret them."""
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    command = [sys.executable, "-m", "kernels.ahead_of_time", str(directory), *arguments]
    run = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=1200)
    assert run.returncode == 0, run.stderr[-3000:]
    kernels = []
    for record in json.loads(run.stdout):
        record["arguments"] = [KernelArgument(*argument) for argument in record["arguments"]]
        fields = KernelBuild.__struct_fields__
        record["builds"] = [KernelBuild(*(build[name] for name in fields)) for build in record["builds"]]
        kernels.append(Kernel(**record))
    return kernels


def parameters(file: Path, entry: str) -> list[tuple[int, int]]:
    """(offset, size) in bytes of each parameter, from the table in a compiled kernel.

    Entries of the section .nv.info.ENTRY: format, attribute, size or value, and, for format 4, so many bytes.
    Attribute 0x17 is a parameter: its number and offset in 16 bits each after 4 bytes, its size from bit 18 on.
    """
    raw = file.read_bytes()
    (headers,) = struct.unpack_from("<Q", raw, 0x28)
    size, count, names = struct.unpack_from("<3H", raw, 0x3A)
    sections = [struct.unpack_from("<IIQQQQ", raw, headers + size * index) for index in range(count)]
    found: dict[int, tuple[int, int]] = {}
    for name, _, _, _, start, length in sections:
        first = sections[names][4] + name
        if raw[first : raw.index(b"\0", first)].decode() != f".nv.info.{entry}":
            continue
        at = start
        while at < start + length:
            form, attribute, value = struct.unpack_from("<BBH", raw, at)
            at += 4
            if form == 4 and attribute == 0x17:
                _, number, offset, flags = struct.unpack_from("<IHHI", raw, at)
                found[number] = offset, flags >> 18
            at += value if form == 4 else 0
    return [found[number] for number in sorted(found)]


def check_parameters(kernels: Sequence[Kernel], directory: Path) -> None:
    for kernel in kernels:
        codes = layout(kernel.arguments).format.removeprefix("@")
        ends = [struct.calcsize("@" + codes[: index + 1]) for index in range(len(codes))]
        sizes = [struct.calcsize(code) for code in codes]
        packed = [(end - size, size) for end, size in zip(ends, sizes, strict=True)]
        for build in kernel.builds:
            assert parameters(directory / build.file, kernel.entry) == packed, build.file
        assert {argument.name: argument.type for argument in kernel.arguments} == arguments_of(kernel.name)


def test_parameters_lie_where_compiled_kernels_expect_them(tmp_path: Path) -> None:
    kernels = compiled(tmp_path, "--sm", "80", "120", "--only", *FEW)
    assert len(kernels) == len(FEW)
    check_parameters(kernels, tmp_path)


@pytest.mark.slow
def test_parameters_of_every_kernel_lie_where_it_expects_them(tmp_path: Path) -> None:
    kernels = compiled(tmp_path, "--sm", "90")
    assert len(kernels) == len(VARIANTS)
    check_parameters(kernels, tmp_path)
    assert all(build.shared <= 227 * 1024 for kernel in kernels for build in kernel.builds)


def test_types_that_are_unknown_are_refused() -> None:
    with pytest.raises(BundleError, match=r"takes types unknown here \(\*fp32, fp64\): upgrade"):
        layout([KernelArgument("x", "*fp32", 1), KernelArgument("scale", "fp64", 1)])


def test_every_grid_rule_of_every_kernel_can_be_followed() -> None:
    """Against Python itself."""
    values = dict.fromkeys((name for variant in VARIANTS.values() for name in variant.types), 96) | {"images": 5}
    values |= {"group_channels": 4, "length": 32, "plane": 12345}
    for variant in VARIANTS.values():
        for rule in variant.grid:
            assert programs(rule, values) == eval(rule, {"ceil": ceil}, dict(values)), rule


RULES = st.recursive(
    st.one_of(st.integers(1, 5000).map(str), st.sampled_from(["plane", "images", "width"])),
    lambda inner: st.one_of(
        inner.map(lambda rule: f"ceil({rule})"),
        st.lists(inner, min_size=2, max_size=3).map(" * ".join),
        st.tuples(inner, st.integers(1, 99)).map(lambda parts: f"ceil({parts[0]} / {parts[1]})"),
    ),
    max_leaves=5,
)


@given(rule=RULES, plane=st.integers(1, 4096), images=st.integers(1, 9))
def test_rules_are_computed_exactly(rule: str, plane: int, images: int) -> None:
    from fractions import Fraction

    values = {"plane": plane, "images": images, "width": 7}
    expected = eval(rule, {"ceil": ceil}, {name: Fraction(value) for name, value in values.items()})
    if expected.denominator == 1 and expected < 2**31 if isinstance(expected, Fraction) else expected < 2**31:
        assert programs(rule, values) == expected
    else:
        with pytest.raises(BundleError):
            programs(rule, values)


@pytest.mark.parametrize(
    "rule",
    [
        *("", " ", "height", "plane plane", "ceil plane", "ceil(plane", "(plane)", "plane)", "plane //", "* plane"),
        *("plane / 7", "plane / 0", "plane - 1", "plane.real", "__import__('os')", "0", "1e3", "plane ** 2", "é"),
        *("plane * plane * plane * plane", "ceil()", "ceil(" * 5000 + "1" + ")" * 5000, "9" * 5000),
    ],
)
def test_other_rules_are_refused(rule: str) -> None:
    with pytest.raises(BundleError, match="cannot be followed: build the bundle's kernels again"):
        programs(rule, {"plane": 5000})


@given(rule=st.text(max_size=30) | st.text("ceil()*/ planesim0123456789", max_size=40))
def test_no_rule_does_anything_else(rule: str) -> None:
    with suppress(BundleError):
        assert programs(rule, {"plane": 640, "images": 3}) >= 1


@pytest.fixture
def driver() -> Driver:
    return Driver()


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    path = write_bundle(tmp_path / "b")
    add_kernels(path)
    return load_bundle(path)


interpreted = pytest.mark.skipif(
    os.environ.get("TRITON_INTERPRET", "0") in ("", "0"), reason="kernels are compiled here: set TRITON_INTERPRET=1"
)


def found_masks(cuda: Cuda, kernels: CudaKernels, matte: Any) -> Any:
    """What `confident_mask` with a threshold of 0.5 makes of float32 [N, 1, H, W]."""
    plane = matte[0].size
    place = {"matte": cuda.allocate(matte.nbytes), "mask": cuda.allocate(matte.nbytes), "threshold": cuda.allocate(4)}
    threshold = np.array([0.5], np.float32)
    cuda.upload(place["matte"].address, matte)
    cuda.upload(place["threshold"].address, threshold)
    addresses = {name: buffer.address for name, buffer in place.items()}
    kernels.launch("confident_mask_fp32", len(matte), plane=plane, matte_image=plane, **addresses)
    mask = np.zeros_like(matte)
    cuda.download(mask, addresses["mask"])
    cuda.synchronize()
    return mask


@interpreted
@pytest.mark.parametrize(
    ("shape", "variant"), [((2, 1, 32, 48), "confident_mask_fp32"), ((3, 1, 5, 7), "confident_mask_fp32_any")]
)
def test_the_variant_that_takes_the_size_is_launched(
    bundle: Bundle, driver: Driver, shape: tuple[int, ...], variant: str
) -> None:
    cuda = Cuda(driver.load)
    kernels, matte = CudaKernels(bundle, cuda), np.random.default_rng(0).random(shape, np.float32)
    for _ in range(2):
        np.testing.assert_array_equal(found_masks(cuda, kernels, matte), matte >= 0.5)
    assert driver.done[variant] == 2
    assert driver.calls.count("cuModuleLoadData") == 1


def test_sizes_that_no_variant_takes_are_refused(bundle: Bundle, driver: Driver) -> None:
    cuda = Cuda(driver.load)
    kernels = CudaKernels(bundle, cuda)
    names = [argument for argument in arguments_of("confident_mask_fp16") if not argument.endswith("scratch")]
    odd = dict.fromkeys(names, 256) | {"plane": 35}
    with pytest.raises(RestoreError, match="kernel confident_mask_fp16 does not take images of this size"):
        kernels.launch("confident_mask_fp16", 1, **odd)
    with pytest.raises(RestoreError, match=r"kernel confident_mask_fp32 does not take images of this size"):
        kernels.launch("confident_mask_fp32", 1, **(odd | {"matte": 8}))
    with pytest.raises(RestoreError, match="kernels lack confident_mask_fp4: python -m export kernels"):
        kernels.launch("confident_mask_fp4", 1, **odd)
    assert "cuLaunchKernel" not in driver.calls


def test_arguments_of_another_version_are_refused(bundle: Bundle, driver: Driver) -> None:
    kernels = CudaKernels(bundle, Cuda(driver.load))
    names = [argument for argument in arguments_of("noise") if not argument.endswith("scratch")]
    for wrong in (names[1:], [*names, "dither"]):
        with pytest.raises(BundleError, match=r"kernel noise takes out, .*: build the bundle's kernels again"):
            kernels.launch("noise", 1, **dict.fromkeys(wrong, 256))


def test_a_lot_of_shared_memory_is_asked_for(bundle: Bundle, driver: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[int, int]] = []
    monkeypatch.setattr(
        driver, "_cuFuncSetAttribute", lambda _, key, value: asked.append((key, value.value)), raising=False
    )
    monkeypatch.setattr(driver, "_cuLaunchKernel", lambda *arguments: asked.append((0, arguments[7].value)))
    kernel = next(kernel for kernel in bundle.manifest.kernels if kernel.name == "noise")
    for shared in (48 * 1024, 100_000):
        large = Kernel(**{**asdict_of(kernel), "builds": [KernelBuild(90, kernel.builds[0].file, 32, 0, shared)]})
        bundle.manifest.kernels[:] = [large]
        names = [argument for argument in arguments_of("noise") if not argument.endswith("scratch")]
        CudaKernels(bundle, Cuda(driver.load)).launch("noise", 1, **dict.fromkeys(names, 256))
    assert asked == [(0, 48 * 1024), (8, 100_000), (0, 100_000)]


def asdict_of(kernel: Kernel) -> dict[str, Any]:
    return {name: getattr(kernel, name) for name in kernel.__struct_fields__}


def test_a_file_that_the_driver_refuses_is_named(bundle: Bundle, driver: Driver) -> None:
    driver.refused["cuModuleLoadData"] = 200
    names = [argument for argument in arguments_of("noise") if not argument.endswith("scratch")]
    with pytest.raises(RestoreError, match="cuModuleLoadData failed with error 200"):
        CudaKernels(bundle, Cuda(driver.load)).launch("noise", 1, **dict.fromkeys(names, 256))


@pytest.mark.parametrize(
    ("built", "sm", "chosen"),
    [
        ((80,), 80, 80),
        ((80,), 87, 80),
        ((80, 86), 89, 86),
        ((80, 86, 89), 86, 86),
        ((86, 89), 80, None),
        ((80, 86, 89), 90, None),
        ((90,), 90, 90),
        ((90,), 100, None),
        ((100,), 103, None),
        ((120,), 121, None),
        ((75,), 80, None),
    ],
)
def test_machine_code_runs_on_its_own_family_only(built: tuple[int, ...], sm: int, chosen: int | None) -> None:
    builds = [KernelBuild(each, "file", 32, 0, 0) for each in built]
    kernel = Kernel("k", "k", [], {}, ["1", "1", "1"], 4, "0" * 64, "3.6.0", builds)
    found = kernel.build_for(sm)
    assert (found and found.sm) == chosen
