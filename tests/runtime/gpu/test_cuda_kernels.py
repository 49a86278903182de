"""Kernels are launched as their records say, and the records say what the compiled kernels take."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator, Sequence
from contextlib import suppress
from math import ceil
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shadowdiffusion.kernels.ahead_of_time import all_variants
from shadowdiffusion.runtime.bundle.folder import Bundle
from shadowdiffusion.runtime.bundle.gpu_kernels import Kernel, KernelArgument, KernelBuild
from shadowdiffusion.runtime.bundle.opening import load_bundle
from shadowdiffusion.runtime.errors import BundleError, RestoreError
from shadowdiffusion.runtime.gpu.cuda import Cuda
from shadowdiffusion.runtime.gpu.cuda_kernels import CudaKernels, layout
from shadowdiffusion.runtime.gpu.grid_rule import programs
from tests.compiled_kernels import CAPABILITIES, Records, compiled
from tests.runtime.fake_gpu import Driver
from tests.runtime.fake_kernels import add_kernels, arguments_of
from tests.runtime.tiny import write_bundle

VARIANTS = {variant.name: variant for variant in all_variants()}


def described(records: Records) -> list[Kernel]:
    """Records of compiled kernels as a manifest has them."""
    kernels = []
    for record in records:
        arguments = [KernelArgument(*argument) for argument in record["arguments"]]
        fields = KernelBuild.__struct_fields__
        builds = [KernelBuild(**{name: build[name] for name in fields}) for build in record["builds"]]
        kernels.append(Kernel(**(record | {"arguments": arguments, "builds": builds})))
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


@pytest.mark.parametrize("sm", CAPABILITIES)
def test_parameters_lie_where_compiled_kernels_expect_them(sm: int) -> None:
    folder, records = compiled(sm)
    kernels = described(records)
    assert len(kernels) == len(VARIANTS)
    check_parameters(kernels, folder)
    assert all(build.shared <= 227 * 1024 for kernel in kernels for build in kernel.builds)


def test_types_that_are_unknown_are_refused() -> None:
    with pytest.raises(BundleError, match=r"takes types unknown here \(\*fp32, fp64\): upgrade"):
        layout([KernelArgument("x", "*fp32", 1), KernelArgument("scale", "fp64", 1)])


def test_every_grid_rule_of_every_kernel_can_be_followed() -> None:
    """Against Python itself."""
    values = dict.fromkeys((name for variant in VARIANTS.values() for name in variant.types), 96) | {"images": 5}
    values |= {"plane": 12345}
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
def cuda(driver: Driver) -> Iterator[Cuda]:
    """The driver made in Python, its context that of this thread."""
    cuda = Cuda(driver.load)
    with cuda.current():
        yield cuda


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
    kernels.launch("confident_mask", len(matte), plane=plane, **addresses)
    mask = np.zeros_like(matte)
    cuda.download(mask, addresses["mask"])
    cuda.synchronize()
    return mask


@interpreted
def test_a_kernel_is_loaded_once_and_launched_as_often_as_asked(bundle: Bundle, driver: Driver, cuda: Cuda) -> None:
    kernels, matte = CudaKernels(bundle, cuda), np.random.default_rng(0).random((2, 1, 32, 48), np.float32)
    for _ in range(2):
        np.testing.assert_array_equal(found_masks(cuda, kernels, matte), matte >= 0.5)
    assert driver.done["confident_mask"] == 2
    assert driver.calls.count("cuModuleLoadData") == 1


def addresses_of(name: str) -> dict[str, int]:
    """256 for every argument of a variant."""
    return dict.fromkeys((argument for argument in arguments_of(name) if not argument.endswith("scratch")), 256)


@pytest.mark.parametrize(("changes", "words"), [({"plane": 35}, "plane = 35"), ({"matte": 8}, "matte = 8")])
def test_what_a_kernel_was_not_compiled_for_is_refused(
    bundle: Bundle, driver: Driver, cuda: Cuda, changes: dict[str, int], words: str
) -> None:
    kernels = CudaKernels(bundle, cuda)
    with pytest.raises(RestoreError, match=f"kernel confident_mask takes multiples of 16, not {words}"):
        kernels.launch("confident_mask", 1, **addresses_of("confident_mask") | changes)
    with pytest.raises(RestoreError, match="kernels lack confident_mask_fp4: shadowdiffusion export kernels"):
        kernels.launch("confident_mask_fp4", 1, **addresses_of("confident_mask"))
    assert "cuLaunchKernel" not in driver.calls


def of_cuda(kernel: Kernel, release: int, driver: int) -> Kernel:
    """The kernel as an assembler of that CUDA release would have made it."""
    builds = [msgspec.structs.replace(build, cuda=release, driver=driver) for build in kernel.builds]
    return msgspec.structs.replace(kernel, builds=builds)


@pytest.mark.parametrize(
    ("made", "has", "refused"), [(12, 12000, False), (12, 13000, False), (13, 13000, False), (13, 12080, True)]
)
def test_a_driver_that_is_too_old_is_told_which_one_it_takes(
    bundle: Bundle, made: int, has: int, refused: bool
) -> None:
    """A driver loads machine code of its own major CUDA release, whatever the minor one, and of earlier releases."""
    bundle.manifest.kernels[-1] = of_cuda(bundle.manifest.kernels[-1], made, {12: 525, 13: 580}[made])
    cuda = Cuda(Driver(release=has).load)
    assert cuda.release == (has // 1000, has % 1000 // 10)
    if not refused:
        CudaKernels(bundle, cuda)
        return
    words = r"need an NVIDIA driver from 580 on \(CUDA 13\), and this one is of CUDA 12\.8: upgrade the driver"
    with pytest.raises(RestoreError, match=words):
        CudaKernels(bundle, cuda)


def test_arguments_of_another_version_are_refused(bundle: Bundle, cuda: Cuda) -> None:
    kernels, names = CudaKernels(bundle, cuda), [*addresses_of("confident_depth")]
    for wrong in (names[1:], [*names, "dither"]):
        with pytest.raises(BundleError, match=r"kernel confident_depth takes sums, .*: build the bundle's kernels ag"):
            kernels.launch("confident_depth", 1, **dict.fromkeys(wrong, 256))


def test_a_lot_of_shared_memory_is_asked_for(
    bundle: Bundle, driver: Driver, cuda: Cuda, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[int, int]] = []
    monkeypatch.setattr(
        driver, "_cuFuncSetAttribute", lambda _, key, value: asked.append((key, value.value)), raising=False
    )
    monkeypatch.setattr(driver, "_cuLaunchKernel", lambda *arguments: asked.append((0, arguments[7].value)))
    kernel = next(kernel for kernel in bundle.manifest.kernels if kernel.name == "confident_depth")
    for shared in (48 * 1024, 100_000):
        builds = [KernelBuild(90, kernel.builds[0].file, 32, 0, shared)]
        bundle.manifest.kernels[:] = [msgspec.structs.replace(kernel, builds=builds)]
        CudaKernels(bundle, cuda).launch("confident_depth", 1, **addresses_of("confident_depth"))
    assert asked == [(0, 48 * 1024), (8, 100_000), (0, 100_000)]


def test_a_file_that_the_driver_refuses_is_named(bundle: Bundle, driver: Driver, cuda: Cuda) -> None:
    driver.refused["cuModuleLoadData"] = 200
    with pytest.raises(RestoreError, match="cuModuleLoadData failed with error 200"):
        CudaKernels(bundle, cuda).launch("confident_depth", 1, **addresses_of("confident_depth"))


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
