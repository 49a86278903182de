from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shadowdiffusion.runtime.backends import onnxruntime_networks
from shadowdiffusion.runtime.backends.onnxruntime_networks import OnnxRuntimeNetworks
from shadowdiffusion.runtime.bundle.opening import load_bundle
from shadowdiffusion.runtime.cores import cores, usable_cores
from shadowdiffusion.runtime.selection.loading import load
from tests.runtime.tiny import picture

MANY = 64


@pytest.fixture
def proc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine of 64 cores, without control groups yet."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(MANY)), raising=False)
    (tmp_path / "proc/self").mkdir(parents=True)
    return tmp_path / "proc"


def test_the_machine_alone(proc: Path, tmp_path: Path) -> None:
    assert usable_cores(proc, tmp_path / "none") == cores() == MANY


def test_here() -> None:
    assert 1 <= usable_cores() <= cores()


def test_without_an_affinity_all_cores_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    assert cores() == os.cpu_count()


@pytest.mark.parametrize(
    ("limit", "expected"),
    [("200000 100000", 2), ("150000 100000", 2), ("5000 100000", 1), ("max 100000", 8), ("9900000 100000", 8)],
)
def test_the_smallest_share_of_all_groups_around_counts(proc: Path, tmp_path: Path, limit: str, expected: int) -> None:
    (proc / "self/cgroup").write_text("0::/app/worker\n")
    (tmp_path / "cgroup/app/worker").mkdir(parents=True)
    (tmp_path / "cgroup/app/worker/cpu.max").write_text(f"{limit}\n")
    (tmp_path / "cgroup/app/cpu.max").write_text("800000 100000\n")
    assert usable_cores(proc, tmp_path / "cgroup") == expected


@pytest.mark.parametrize(("quota", "expected"), [("300000", 3), ("-1", MANY), ("", MANY), ("all", MANY)])
def test_groups_of_the_first_version(proc: Path, tmp_path: Path, quota: str, expected: int) -> None:
    (proc / "self/cgroup").write_text("4:memory:/box\n2:cpu,cpuacct:/box\n0::/\n")
    (tmp_path / "cgroup/cpu/box").mkdir(parents=True)
    (tmp_path / "cgroup/cpu/box/cpu.cfs_period_us").write_text("100000\n")
    (tmp_path / "cgroup/cpu/box/cpu.cfs_quota_us").write_text(quota)
    assert usable_cores(proc, tmp_path / "cgroup") == expected


@pytest.mark.parametrize(
    ("asked", "usable", "expected"), [(None, 4, 0), (None, 3, 3), (1, 4, 1), (4, 4, 4), (10_000, 4, 4), (10_000, 2, 2)]
)
def test_networks_get_no_more_threads_than_there_are_cores(
    bundle: Path, monkeypatch: pytest.MonkeyPatch, asked: int | None, usable: int, expected: int
) -> None:
    """0 leaves the number to ONNX Runtime."""
    given = list[int]()
    open_session = onnxruntime_networks.open_session

    def noting(graph: Any, provider: Any, settings: Any, *more: Any) -> Any:
        given.append(settings.threads)
        return open_session(graph, provider, settings, *more)

    monkeypatch.setattr(onnxruntime_networks, "open_session", noting)
    monkeypatch.setattr(onnxruntime_networks, "cores", lambda: 4)
    monkeypatch.setattr(onnxruntime_networks, "usable_cores", lambda: usable)
    networks = OnnxRuntimeNetworks(load_bundle(bundle), "cpu", asked)
    networks.prior(np.full((1, 3, 8, 8), 0.5, np.float32), np.ones((1, 1, 8, 8), np.float32))
    assert given == [expected]


def test_too_many_threads_change_nothing(bundle: Path) -> None:
    photo = picture(20, 30)
    one, many = (load(bundle, "portable", "cpu", threads)(photo) for threads in (1, 10_000))
    assert np.abs(one.image.astype(int) - many.image).max() <= 1
