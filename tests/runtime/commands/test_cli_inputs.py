"""Which photos the command line takes, and which it leaves."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.deadlines import LONGEST
from tests.runtime.commands.command_line import Call, names
from tests.runtime.commands.processes import ROOT
from tests.runtime.tiny import picture, save


def test_results_of_earlier_runs_are_counted_in_one_line(call: Call, bundle: Path, tmp_path: Path) -> None:
    source = tmp_path / "in"
    (source / "sub").mkdir(parents=True)
    for seed, name in enumerate(("a.png", "sub/b.png")):
        save(source / name, picture(9, 12, seed=seed))
    assert call("restore", source, "-o", source / "first", "--bundle", bundle).code == 0
    again = call("restore", source, "-o", tmp_path / "second", "--bundle", bundle)
    assert (again.code, again.out.count(" -> ")) == (0, 2)
    assert again.err == "note: 2 photos are results of earlier runs: passed over\n"
    assert names(tmp_path / "second") == ["a.png", "sub"]
    third = call("restore", source, "-o", tmp_path / "third", "--bundle", bundle, "--json")
    statuses = [json.loads(line)["status"] for line in third.out.splitlines()]
    assert sorted(statuses) == ["restored", "restored", "result", "result"]


def test_patterns_in_folders_with_brackets(call: Call, bundle: Path, tmp_path: Path) -> None:
    folder = tmp_path / "trip [1]"
    folder.mkdir()
    save(folder / "a.png", picture(9, 12))
    assert call("restore", folder / "*.png", "-o", tmp_path / "out [2]", "--bundle", bundle).code == 0
    assert names(tmp_path / "out [2]") == ["a.png"]


WITHOUT_LOCKS = """
import runpy, sys
sys.modules["fcntl"] = None
module = sys.argv.pop(1)
runpy.run_module(module, run_name="__main__", alter_sys=True)
"""


@pytest.mark.parametrize(
    ("module", "words"),
    [
        ("runtime", ["restore", "a.png", "-o", "out.png"]),
        ("export", ["pack", "bundle", "-o", "b.zip"]),
    ],
)
def test_a_system_without_file_locks_is_refused_in_one_line(
    tmp_path: Path, bundle: Path, module: str, words: list[str]
) -> None:
    save(tmp_path / "a.png", picture(9, 12))
    (tmp_path / "bundle").symlink_to(bundle)
    run = subprocess.run(
        [sys.executable, "-c", WITHOUT_LOCKS, module, *words],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT), "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=LONGEST,
        check=False,
    )
    assert run.returncode == 2, run.stderr
    assert run.stderr.count("\n") == 1
    assert run.stderr.startswith("error: this system has no advisory file locks (fcntl), as Windows has none: use ")
    assert names(tmp_path) == ["a.png", "bundle"]
