"""Which engines are for this machine, and in which fields the others differ."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from shadowdiffusion.runtime.bundle.device import Gpu, find_cpu
from shadowdiffusion.runtime.bundle.engines import BackendName
from shadowdiffusion.runtime.bundle.folder import Bundle
from shadowdiffusion.runtime.bundle.opening import load_bundle
from shadowdiffusion.runtime.selection.fit import Machine, misfits
from tests.runtime.engine_folders import make_key

VERSIONS: dict[BackendName, str | None] = {"tensorrt": "10.16.1", "tensorrt-rtx": "1.7.1", "onnxruntime": "1.32.0"}
HERE = Machine(Gpu("NVIDIA H100 80GB", 90, "580.65"), "AMD EPYC 7B13, avx2", VERSIONS)
BARE = Machine(None, "AMD EPYC 7B13, avx2", {"tensorrt": None, "tensorrt-rtx": None, "onnxruntime": None})

H100 = {"device": "NVIDIA H100 80GB", "sm": [90], "driver": "580.65", "backend": "tensorrt"}
TENSORRT = {**H100, "backend_version": "10.16.1"}
RTX = {"backend_version": "1.7.1"}
CPU = {"device": "AMD EPYC 7B13, avx2", "sm": [], "provider": "cpu", "backend": "onnxruntime"}
ORT = {**CPU, "backend_version": "1.32.0"}

CASES: list[tuple[dict[str, Any], list[str]]] = [
    (TENSORRT, []),
    (
        {**TENSORRT, "device": "NVIDIA L4", "sm": [89]},
        ["device is NVIDIA L4, not NVIDIA H100 80GB", "sm is 89, not 90"],
    ),
    ({**TENSORRT, "driver": "570.1"}, ["driver is 570.1, not 580.65"]),
    ({**TENSORRT, "backend_version": "10.15"}, ["backend version is 10.15, not 10.16.1"]),
    ({**TENSORRT, "backend_version": "10.15", "flags": ["version-compatible"]}, []),
    (
        {**TENSORRT, "backend_version": "10.20", "flags": ["version-compatible"]},
        ["backend version is 10.20, not 10.16.1"],
    ),
    (
        {**TENSORRT, "backend_version": "11.0", "flags": ["version-compatible"]},
        ["backend version is 11.0, not 10.16.1"],
    ),
    ({**TENSORRT, "device": "NVIDIA A100", "sm": [80], "driver": "1", "flags": ["hardware-compatible"]}, []),
    ({**RTX, "sm": [89]}, ["sm is 89, not 90"]),
    ({**RTX, "sm": [89, 90]}, []),
    ({**RTX, "sm": []}, []),
    ({**RTX, "sm": [90], "device": "NVIDIA H100 80GB"}, []),  # whatever the driver: it compiles when it is loaded
    ({**RTX, "sm": [90], "device": "NVIDIA H200"}, ["device is NVIDIA H200, not NVIDIA H100 80GB"]),
    (ORT, []),
    ({**ORT, "device": "AMD EPYC 7B13, avx512"}, ["device is AMD EPYC 7B13, avx512, not AMD EPYC 7B13, avx2"]),
    ({**ORT, "onnx": {}}, ["denoiser.onnx and prior.onnx changed since"]),
]


@pytest.fixture(scope="module")
def opened(bundle: Path) -> Bundle:
    return load_bundle(bundle)


@pytest.mark.parametrize(("changes", "expected"), CASES)
def test_every_difference_is_named(opened: Bundle, changes: dict[str, Any], expected: list[str]) -> None:
    assert misfits(make_key(opened.path, **changes), opened, HERE) == expected


@pytest.mark.parametrize("changes", [TENSORRT, {**TENSORRT, "driver": "1"}, {**RTX, "sm": [75]}])
def test_what_is_not_here_is_not_compared(opened: Bundle, changes: dict[str, Any]) -> None:
    assert misfits(make_key(opened.path, **changes), opened, BARE) == []
    assert BARE.device(make_key(opened.path, **changes)) is None


def test_versions_of_what_is_installed_are_looked_up() -> None:
    import onnxruntime

    machine = Machine(None, "")
    assert machine.version("onnxruntime") == onnxruntime.__version__


def test_the_cpu_has_a_name_and_its_best_extension(tmp_path: Path) -> None:
    info = tmp_path / "cpuinfo"
    info.write_text("processor\t: 0\nmodel name\t: AMD EPYC 7B13\nflags\t\t: fpu sse avx avx2 fma\n\n")
    assert find_cpu(info) == "AMD EPYC 7B13, avx2"
    info.write_text("model name\t: Xeon\nflags\t: avx2 avx512f avx512_vnni\n")
    assert find_cpu(info) == "Xeon, avx512-vnni"
    info.write_text("processor\t: 0\nFeatures\t: fp asimd\n")
    assert find_cpu(info).endswith(", neon")
    assert find_cpu(tmp_path / "absent")
