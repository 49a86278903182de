from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from shadowdiffusion.runtime.loop.memory import available_memory, own_memory

GIB = 2**30


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/meminfo").write_text(f"MemTotal:  99 kB\nMemAvailable:   {8 * GIB // 1024} kB\nHugePages:  0\n")
    (tmp_path / "proc/self/cgroup").write_text("0::/\n")
    return tmp_path / "proc"


def test_the_machine_alone(proc: Path, tmp_path: Path) -> None:
    assert available_memory(proc, tmp_path / "none") == 8 * GIB


def test_without_linux_nothing_is_known(tmp_path: Path) -> None:
    assert available_memory(tmp_path, tmp_path) is None


def test_here(tmp_path: Path) -> None:
    found = available_memory()
    assert found is None or 2**20 < found < 2**50


def group(folder: Path, limit: str, used: int, cached: int = 0) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "memory.max").write_text(f"{limit}\n")
    (folder / "memory.current").write_text(f"{used}\n")
    (folder / "memory.stat").write_text(f"anon {used - cached}\ninactive_file {cached}\n")


@pytest.mark.parametrize("path", ["/", "/app/worker", "/not/seen/from/here"])
def test_the_smallest_limit_of_all_groups_around_counts(proc: Path, tmp_path: Path, path: str) -> None:
    (proc / "self/cgroup").write_text(f"0::{path}\n")
    group(tmp_path / "cgroup", str(6 * GIB), GIB)
    group(tmp_path / "cgroup/app", str(3 * GIB), 2 * GIB, cached=GIB)
    group(tmp_path / "cgroup/app/worker", "max", GIB)
    assert available_memory(proc, tmp_path / "cgroup") == (2 * GIB if "app" in path else 5 * GIB)


def test_a_group_that_is_full_leaves_nothing(proc: Path, tmp_path: Path) -> None:
    group(tmp_path / "cgroup", str(GIB), GIB + 4096)
    assert available_memory(proc, tmp_path / "cgroup") == 0


def test_groups_of_the_first_version(proc: Path, tmp_path: Path) -> None:
    (proc / "self/cgroup").write_text("9:cpu,cpuacct:/box\n4:memory:/box\n0::/\n")
    folder = tmp_path / "cgroup/memory/box"
    folder.mkdir(parents=True)
    for parent, limit in ((folder, 2 * GIB), (folder.parent, 9223372036854771712)):
        (parent / "memory.limit_in_bytes").write_text(str(limit))
        (parent / "memory.usage_in_bytes").write_text(str(GIB))
        (parent / "memory.stat").write_text(f"inactive_file 7\ntotal_inactive_file {GIB // 2}\n")
    assert available_memory(proc, tmp_path / "cgroup") == 3 * GIB // 2


def test_what_this_process_has(tmp_path: Path) -> None:
    before = own_memory()
    assert before > 2**20
    block = np.ones(2**27, np.uint8)  # too much for the memory of anything freed before
    assert own_memory() - before > 2**26
    assert block.all()
    assert own_memory(tmp_path) == 0
