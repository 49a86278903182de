"""Every kernel compiles for every GPU generation, within its budget, reproducibly."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from kernels.ahead_of_time import SUPPORTED, all_variants, build, nvidia_tool
from kernels.errors import KernelError

ROOT = Path(__file__).resolve().parents[2]
VARIANTS = {variant.name: variant for variant in all_variants()}
FEW = ["noise", "prior_step_fp16_nhwc", "prior_coefficients_fp32", "mask_update_fp16", "confident_depth"]


def compile_to(directory: Path, *arguments: str) -> list[dict[str, Any]]:
    """Build in a process of its own: this one interprets kernels, and a process can do only one of the two."""
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    command = [sys.executable, "-m", "kernels.ahead_of_time", str(directory), *arguments]
    run = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=1200)
    assert run.returncode == 0, run.stderr[-3000:]
    records: list[dict[str, Any]] = json.loads(run.stdout)
    return records


def check(records: Sequence[dict[str, Any]]) -> None:
    """Budgets, spills, 128-bit accesses, and records that describe their kernels."""
    for record in records:
        variant = VARIANTS[record["name"]]
        assert record["warps"] == variant.warps
        assert re.fullmatch("[0-9a-f]{64}", record["source"])
        known = {name for name, *_ in record["arguments"]} | {"images", "ceil"}
        assert set(re.findall("[a-z_]+", " ".join(record["grid"]))) <= known, variant.name
        for cubin in record["builds"]:
            assert cubin["spilled"] == 0, cubin
            assert cubin["registers"] <= variant.registers, cubin
            assert variant.wide <= set(cubin["wide"]), cubin


def disassembled(file: Path) -> str:
    return subprocess.run([nvidia_tool("nvdisasm"), "-c", file], capture_output=True, text=True, check=True).stdout


def files(records: Sequence[dict[str, Any]]) -> list[str]:
    return sorted(cubin["file"] for record in records for cubin in record["builds"])


def names(directory: Path) -> list[str]:
    return sorted(path.relative_to(directory).as_posix() for path in directory.rglob("*.cubin"))


def test_a_few_kernels_compile_twice_to_the_same_bytes_for_the_oldest_and_newest_gpu(tmp_path: Path) -> None:
    first = compile_to(tmp_path / "one", "--sm", "80", "120", "--only", *FEW)
    second = compile_to(tmp_path / "two", "--sm", "120", "80", "--only", *FEW)
    check(first)
    assert first == second
    assert names(tmp_path / "one") == files(first)
    assert len(files(first)) == 2 * len(FEW)
    for file in files(first):
        code = (tmp_path / "one" / file).read_bytes()
        assert code == (tmp_path / "two" / file).read_bytes(), file
        assert b".py" not in code, "a source path was left in"
        assert b"/tmp" not in code, "a path was left in"


@pytest.mark.slow
@pytest.mark.parametrize("capability", SUPPORTED)
def test_all_kernels_compile_twice_to_the_same_bytes(capability: int, tmp_path: Path) -> None:
    first, second = (compile_to(tmp_path / name, "--sm", str(capability)) for name in ("one", "two"))
    assert first == second
    for file in files(first):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes(), file


@pytest.mark.parametrize("capability", SUPPORTED)
def test_every_kernel_compiles_within_its_budget(capability: int, tmp_path: Path) -> None:
    records = compile_to(tmp_path, "--sm", str(capability))
    check(records)
    assert [record["name"] for record in records] == list(VARIANTS)
    assert all([cubin["sm"] for cubin in record["builds"]] == [capability] for record in records)
    assert names(tmp_path) == files(records)


@pytest.mark.parametrize("capability", ["80", "120"])
def test_what_a_record_says_of_accesses_is_in_the_machine_code(capability: str, tmp_path: Path) -> None:
    narrow = ["to_pixels_fp32_u8x3_any", "guided_apply_fp32_any", "window_mean"]
    for record in compile_to(tmp_path, "--sm", capability, "--only", *FEW, *narrow):
        (cubin,) = record["builds"]
        code = disassembled(tmp_path / cubin["file"])
        assert f".text.{record['entry']}" in code
        halves = re.search(r"STG\.E\S*\.(U8|U16)", code)
        assert ("loads" in cubin["wide"]) == bool(re.search(r"LDG\.E\S*\.128", code)), cubin
        assert ("stores" in cubin["wide"]) == bool(re.search(r"STG\.E\S*\.128", code) and not halves), cubin


def test_variants_describe_every_argument() -> None:
    assert len(VARIANTS) == len(all_variants()), "names must be unique"
    for variant in VARIANTS.values():
        arguments = variant.kernel.arg_names
        assert set(variant.types) | set(variant.constants) == set(arguments), variant.name
        assert not set(variant.types) & set(variant.constants), variant.name
        assert variant.aligned <= set(variant.types), variant.name


def test_a_wrong_build_says_what_is_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    with pytest.raises(KernelError, match="unset it"):
        build(tmp_path)
    monkeypatch.delenv("TRITON_INTERPRET")
    with pytest.raises(KernelError, match="compute capability 70 is not supported: use 80, 86"):
        build(tmp_path, [70])
    with pytest.raises(KernelError, match="no kernel variant nothing"):
        build(tmp_path, [80], ["nothing"])
