"""The header: what is there is said, what is not there is None."""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Any

import msgspec
import pytest

from shadowdiffusion.benchmarks.measurement import energy, machine
from shadowdiffusion.benchmarks.measurement.machine import Gpu, Header, header, slug, sources
from shadowdiffusion.benchmarks.measurement.nvml import GpuState, gpu_state, total_energy


class FakeNvml:
    """Answers like NVML; power cannot be read."""

    NOT_SUPPORTED = 3

    def __init__(self) -> None:
        self.open = 0
        self.millijoules = 5_000

    def nvmlInit_v2(self) -> int:
        self.open += 1
        return 0

    def nvmlShutdown(self) -> int:
        self.open -= 1
        return 0

    def nvmlSystemGetDriverVersion(self, text: Any, length: ctypes.c_uint) -> int:
        assert length.value == len(text)
        text.value = b"580.1"
        return 0

    def nvmlDeviceGetHandleByUUID(self, uuid: bytes, handle: Any) -> int:
        handle._obj.value = 7
        return 0 if uuid == b"GPU-1" else 6

    def nvmlDeviceGetClockInfo(self, handle: ctypes.c_void_p, clock: ctypes.c_int, value: Any) -> int:
        value._obj.value = {1: 1410, 2: 2619}[clock.value]
        return 0 if handle.value == 7 else 2

    def nvmlDeviceGetMaxClockInfo(self, handle: object, clock: object, value: Any) -> int:
        value._obj.value = 1980
        return 0

    def nvmlDeviceGetTemperature(self, handle: object, sensor: object, value: Any) -> int:
        value._obj.value = 41
        return 0

    def nvmlDeviceGetPowerUsage(self, handle: object, value: Any) -> int:
        return self.NOT_SUPPORTED

    def nvmlDeviceGetEnforcedPowerLimit(self, handle: object, value: Any) -> int:
        value._obj.value = 700_000
        return 0

    def nvmlDeviceGetTotalEnergyConsumption(self, handle: object, value: Any) -> int:
        value._obj.value = self.millijoules
        return 0 if self.millijoules else self.NOT_SUPPORTED


def test_what_the_driver_says_and_what_it_does_not() -> None:
    library = FakeNvml()
    assert gpu_state("GPU-1", library) == GpuState("580.1", 1410, 1980, 2619, 41, None, 700.0)
    assert library.open == 0


def test_energy_where_it_is_counted() -> None:
    library = FakeNvml()
    assert total_energy("GPU-1", library) == 5.0
    assert total_energy("GPU-2", library) is None
    library.millijoules = 0
    assert total_energy("GPU-1", library) is None
    assert library.open == 0


def test_joules_per_call(monkeypatch: pytest.MonkeyPatch) -> None:
    library, calls = FakeNvml(), list[int]()
    monkeypatch.setattr(energy, "total_energy", lambda uuid: total_energy(uuid, library))

    def call() -> None:
        library.millijoules += 250
        calls.append(1)

    assert energy.joules(call, "GPU-1", seconds=0) == 0.25
    assert len(calls) == 1
    assert energy.joules(call, "GPU-2", seconds=0) is None
    assert len(calls) == 1


def test_an_unknown_gpu_leaves_the_driver() -> None:
    library = FakeNvml()
    assert gpu_state("GPU-2", library) == GpuState("580.1")
    assert library.open == 0


def test_no_library_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise OSError(name)

    monkeypatch.setattr(ctypes, "CDLL", missing)
    assert gpu_state("GPU-1") == GpuState()


def test_the_header_of_this_machine() -> None:
    found = header(["kernels", "--size", "8", "a b"], smoke=True)
    assert found.command == "python -m benchmarks kernels --size 8 'a b'"
    assert found.started.endswith("+00:00")
    assert found.machine.cpu
    assert found.machine.cores >= 1
    assert found.machine.gpu is None
    assert {"python", "numpy", "torch"} <= set(found.machine.versions)
    assert "tensorrt-cu13" not in found.machine.versions or found.machine.versions["tensorrt-cu13"]
    assert msgspec.json.decode(msgspec.json.encode(found), type=Header) == found


def test_outside_a_repository_there_is_no_commit(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(machine, "ROOT", tmp_path)
    found = header([])
    assert (found.commit, found.dirty) == (None, None)


def test_sources_change_with_names_and_contents_of_python_files_only(tmp_path: Path) -> None:
    (tmp_path / "kernels").mkdir()
    file = tmp_path / "kernels" / "a.py"
    file.write_text("x = 1\n")
    first = sources(tmp_path)
    (tmp_path / "kernels" / "notes.md").write_text("no code")
    (tmp_path / "elsewhere.py").write_text("not measured")
    assert sources(tmp_path) == first
    file.write_text("x = 2\n")
    second = sources(tmp_path)
    file.rename(file.with_name("b.py"))
    assert len({first, second, sources(tmp_path)}) == 3


def test_folders_of_devices() -> None:
    found = header([])
    gpu = Gpu("NVIDIA H100 80GB HBM3", 90, 81559, 50.0, 132, "13.0", GpuState())
    on_gpu = msgspec.structs.replace(found, machine=msgspec.structs.replace(found.machine, gpu=gpu))
    assert slug(on_gpu) == "nvidia-h100-80gb-hbm3"
    assert slug(msgspec.structs.replace(on_gpu, smoke=True)) == "smoke"
    on_cpu = msgspec.structs.replace(found, machine=msgspec.structs.replace(found.machine, cpu="Xeon(R) @ 2.5GHz"))
    assert slug(on_cpu) == "xeon-r-2-5ghz"
