"""Every kernel compiles for every GPU generation, within its budget, reproducibly."""

from __future__ import annotations

import re
import struct
import subprocess
from pathlib import Path

import pytest

from shadowdiffusion.kernels.ahead_of_time import DRIVERS, PTX_VERSIONS, SUPPORTED, all_variants, build, nvidia_tool
from shadowdiffusion.kernels.errors import KernelError
from shadowdiffusion.runtime.bundle.folder import Sampling
from shadowdiffusion.runtime.gpu.program import needed_kernels
from tests.compiled_kernels import CAPABILITIES, compile_to, compiled
from tests.runtime.tiny import make_sampling

VARIANTS = {variant.name: variant for variant in all_variants()}
FEW = ["prior_step_packed_fp16", "prior_coefficients", "mask_update_closed_form", "confident_depth"]


def names(directory: Path) -> list[str]:
    return sorted(path.relative_to(directory).as_posix() for path in directory.rglob("*.cubin"))


@pytest.mark.parametrize("capability", CAPABILITIES)
def test_every_kernel_compiles_within_its_budget(capability: int) -> None:
    """Registers, spills, 128-bit accesses, and records that describe their kernels."""
    folder, records = compiled(capability)
    assert [record["name"] for record in records] == list(VARIANTS)
    assert names(folder) == sorted(cubin["file"] for record in records for cubin in record["builds"])
    for record in records:
        variant, (cubin,) = VARIANTS[record["name"]], record["builds"]
        assert record["warps"] == variant.warps
        assert re.fullmatch("[0-9a-f]{64}", record["source"])
        known = {name for name, *_ in record["arguments"]} | {"images", "ceil"}
        assert set(re.findall("[a-z_]+", " ".join(record["grid"]))) <= known, variant.name
        assert cubin["sm"] == capability
        assert cubin["spilled"] == 0, cubin
        assert cubin["registers"] <= variant.registers, cubin
        assert variant.wide <= set(cubin["wide"]), cubin


@pytest.mark.parametrize("capability", CAPABILITIES)
def test_machine_code_is_of_cuda_12_whose_drivers_are_older(capability: int) -> None:
    """The assembler's release, times ten, is the version in the ELF header of what it made, up to ABI 7."""
    folder, records = compiled(capability)
    for record in records:
        (cubin,) = record["builds"]
        assert (cubin["cuda"], cubin["driver"]) == (12, 525) == (12, DRIVERS[12])
        raw = (folder / cubin["file"]).read_bytes()
        (release,) = struct.unpack_from("<I", raw, 20)
        assert raw[8] > 7 or release // 10 == cubin["cuda"]
        assert raw[8] == 7 or capability >= 100


@pytest.mark.parametrize("capability", CAPABILITIES)
def test_what_a_record_says_of_accesses_is_in_the_machine_code(capability: int) -> None:
    folder, records = compiled(capability)
    for record in records:
        if record["name"] not in FEW:
            continue
        (cubin,) = record["builds"]
        command = [nvidia_tool("nvdisasm"), "-c", folder / cubin["file"]]
        code = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        assert f".text.{record['entry']}" in code
        halves = re.search(r"STG\.E\S*\.(U8|U16)", code)
        assert ("loads" in cubin["wide"]) == bool(re.search(r"LDG\.E\S*\.128", code)), cubin
        assert ("stores" in cubin["wide"]) == bool(re.search(r"STG\.E\S*\.128", code) and not halves), cubin


@pytest.mark.xdist_group("compiled")
def test_kernels_compile_twice_to_the_same_bytes(tmp_path: Path) -> None:
    folder, records = compiled(90)
    again = compile_to(tmp_path, "--sm", "90", "--only", *FEW)
    assert again == [record for record in records if record["name"] in FEW]
    for file in names(tmp_path):
        code = (tmp_path / file).read_bytes()
        assert code == (folder / file).read_bytes(), file
        assert b".py" not in code, "a source path was left in"
        assert b"/tmp" not in code, "a path was left in"


def test_variants_describe_every_argument() -> None:
    assert len(VARIANTS) == len(all_variants()), "names must be unique"
    for variant in VARIANTS.values():
        arguments = variant.kernel.arg_names
        assert set(variant.types) | set(variant.constants) == set(arguments), variant.name
        assert not set(variant.types) & set(variant.constants), variant.name
        assert variant.aligned <= set(variant.types), variant.name


SCHEDULES = [
    make_sampling(),
    make_sampling(mask_policy="closed-form"),
    make_sampling(data_consistency=False),
    make_sampling(start=40),
]


@pytest.mark.parametrize("sampling", SCHEDULES)
def test_a_bundle_needs_few_of_them(sampling: Sampling) -> None:
    needed = needed_kernels(sampling)
    assert needed < VARIANTS.keys()
    assert len(needed) <= 18


def test_there_is_no_kernel_that_no_bundle_needs() -> None:
    mixed = [make_sampling(start=start, data_consistency=tied) for start in (None, 40) for tied in (False, True)]
    assert set[str]().union(*map(needed_kernels, [*SCHEDULES, *mixed])) == VARIANTS.keys()


def test_every_generation_has_its_version_of_ptx() -> None:
    assert set(SUPPORTED) <= PTX_VERSIONS.keys()


def test_a_wrong_build_says_what_is_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    with pytest.raises(KernelError, match="unset it"):
        build(tmp_path)
    monkeypatch.delenv("TRITON_INTERPRET")
    with pytest.raises(KernelError, match="compute capability 70 is not supported: use 80, 86"):
        build(tmp_path, [70])
    with pytest.raises(KernelError, match="no kernel variant nothing"):
        build(tmp_path, [80], ["nothing"])
