"""Where engines are stored, who waits for whom, and what failures leave. The backend is small, the store is real."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from export.engines import build as engines_module
from export.engines.build import Outcome, build_engines
from export.engines.job import Job, Parts
from export.engines.key import EngineOptions
from export.engines.prune import prune
from export.errors import ExportError
from export.pack import pack
from runtime.bundle import load_bundle
from runtime.device import find_cpu
from runtime.engines import engine_stores, stored_engines
from runtime.golden_check import Verdict, known_verdict
from tests.runtime.engine_folders import add_engine
from tests.runtime.tiny import write_bundle

ROOT = Path(__file__).resolve().parents[3]
OPTIONS = EngineOptions("onnxruntime", profile="64x64", provider="cpu")

# run in other processes: a backend that says "compiling", then waits for a line before it writes its files
PROGRAM = """
import sys
from pathlib import Path
from export.engines import build
from tests.export.engines import test_store
class Waiting(test_store.Copier):
    def compile(self, job):
        parts = super().compile(job)
        print("compiling", flush=True)
        sys.stdin.readline()
        return parts
build.load_backend = lambda name: Waiting()
report = lambda line: print(line, flush=True)
print("built" if build.build_engines(Path(sys.argv[1]), test_store.OPTIONS, report).built else "stored", flush=True)
"""


class Copier:
    """Its engines are the graphs."""

    name = "onnxruntime"
    version = version("onnxruntime")
    title = "Copier 1.0"

    def check(self, key: Any, options: Any, report: Any) -> None:
        """It can build everything."""

    def compile(self, job: Job) -> Parts:
        for name, graph in job.graphs.items():
            (job.folder / name).write_bytes(graph.SerializeToString())
        return Parts({}, status="copied")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(engines_module, "load_backend", lambda name: Copier())
    return tmp_path / "cache"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return write_bundle(tmp_path / "b", golden=True)


def build(path: Path, said: list[str] | None = None) -> Outcome:
    return build_engines(path, OPTIONS, (said if said is not None else []).append)


def content(*folders: Path) -> dict[str, bytes]:
    files = [file for folder in folders for file in sorted(folder.rglob("*"))]
    return {str(file): file.read_bytes() if file.is_file() else b"" for file in files}


@pytest.fixture
def read_only(path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A bundle that the operating system says cannot be written; root could write to any folder without this."""
    real = os.access
    monkeypatch.setattr(os, "access", lambda file, mode: not Path(file).is_relative_to(path) and real(file, mode))
    return path


def test_a_bundle_that_cannot_be_written_gets_its_engines_in_the_cache(read_only: Path, cache: Path) -> None:
    before, said = content(read_only), list[str]()
    outcome = build(read_only, said)
    assert content(read_only) == before
    assert outcome.engine.path.is_relative_to(cache)
    assert said[0] == f"{read_only} cannot be written: its engines are stored in {outcome.engine.path.parent}"
    assert stored_engines(load_bundle(read_only)) == {outcome.engine.name: outcome.engine}
    assert not build(read_only).built


def test_a_packed_bundle_gets_its_engines_in_the_cache(path: Path, tmp_path: Path) -> None:
    pack(path, tmp_path / "b.zip")
    said: list[str] = []
    outcome = build(tmp_path / "b.zip", said)
    assert " is packed: its engines are stored in " in said[0]
    assert outcome.engine.path.parent == engine_stores(load_bundle(tmp_path / "b.zip"))[1]
    assert not build(tmp_path / "b.zip").built
    assert not build(path).built  # the same networks


def test_a_packed_engine_is_used(path: Path, tmp_path: Path) -> None:
    outcome = build(path)
    pack(path, tmp_path / "b.zip")
    shutil.rmtree(path)
    again = build(tmp_path / "b.zip")
    assert not again.built
    assert again.engine.record == outcome.engine.record


def test_no_place_at_all_is_one_error(read_only: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(ExportError, match=r"no place for engines: .*cannot be written, nor can the cache .*XDG_CACHE"):
        build(read_only)


def test_a_stored_engine_needs_no_place(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    build(path)
    monkeypatch.setattr(os, "access", lambda file, mode: False)
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert not build(path).built


def start(path: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", PROGRAM, str(path)]
    return subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def until(process: subprocess.Popen[str], words: str) -> list[str]:
    """Lines of a process up to the first with these words."""
    assert process.stdout
    lines: list[str] = []
    while words not in (lines[-1] if lines else ""):
        line = process.stdout.readline()
        assert line, lines
        lines.append(line)
    return lines


@pytest.mark.parametrize("packed", [False, True])
def test_the_second_of_two_builders_waits_and_uses_what_the_first_built(
    path: Path, tmp_path: Path, packed: bool
) -> None:
    bundle = path
    if packed:
        bundle = tmp_path / "b.zip"
        pack(path, bundle)
    first = start(bundle)
    until(first, "compiling")
    second = start(bundle)
    until(second, "waiting for another process")
    assert first.stdin
    first.stdin.write("\n")
    first.stdin.flush()
    assert until(first, "built")
    assert "using the stored engine" in until(second, "stored engine")[-1]
    assert "stored" in until(second, "stored")[-1]
    assert (first.communicate()[0], second.communicate()[0]) == ("", "")
    assert len(stored_engines(load_bundle(bundle))) == 1


def test_a_killed_build_leaves_nothing_that_counts(path: Path) -> None:
    process = start(path)
    until(process, "compiling")
    process.send_signal(signal.SIGKILL)
    process.communicate()
    (left,) = (path / "engines").iterdir()
    assert left.name.startswith(".")
    assert stored_engines(load_bundle(path)) == {}
    assert build(path).built
    assert not left.exists()


@pytest.mark.parametrize("step", ["write_bytes", "rename"])
@pytest.mark.parametrize("packed", [False, True])
def test_a_full_disk_is_one_error_and_leaves_nothing(
    path: Path, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, step: str, packed: bool
) -> None:
    bundle = path
    if packed:
        bundle = tmp_path / "b.zip"
        pack(path, bundle)
        load_bundle(bundle)
        engine_stores(load_bundle(bundle))[1].mkdir(parents=True)
    before = content(path, cache)

    def fail(*_: Any) -> Any:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path if step == "write_bytes" else os, step, fail)
        with pytest.raises(ExportError, match=r"cannot write to .*: No space left on device"):
            build(bundle)
    assert content(path, cache) == before
    assert build(bundle).built


def verdict(outcome: Outcome, psnr: float) -> None:
    """As the golden check leaves it."""
    from runtime import golden_check

    key = outcome.engine.record.key
    found = Verdict(outcome.engine.name, key.device or "", "2026-01-01", 50.0, psnr, None)
    golden_check._remember(outcome.engine, found)


def test_a_quarantined_engine_is_built_again_and_free(path: Path) -> None:
    first = build(path)
    verdict(first, 99.0)
    assert not build(path).built
    verdict(first, 12.34)
    said: list[str] = []
    second = build(path, said)
    assert second.built
    assert "quarantined: it reproduces the golden example to 12.3 dB only, 50 dB are needed" in said[0]
    assert known_verdict(second.engine, second.engine.record.key.device or "") is None
    assert not build(path).built


def test_prune_looks_in_both_stores_and_at_the_device(path: Path, read_only: Path, cache: Path) -> None:
    inside = shutil.copytree(build(read_only).engine.path.parent, path / "engines")
    same = {"backend": "onnxruntime", "backend_version": Copier.version, "provider": "cpu"}
    other = add_engine(path, **same, device="Another CPU, avx")
    (reason,) = prune(path, False, list[str]().append).values()
    assert reason == f"device is Another CPU, avx, not {find_cpu()}"
    assert not (inside / other).exists()
    assert prune(path, False, list[str]().append) == {}
    outcome = build(path)
    verdict(outcome, 1.0)
    reasons = prune(path, True, list[str]().append)
    assert list(reasons) == [outcome.engine.name]
    assert "quarantined" in reasons[outcome.engine.name]
    assert prune(path, False, list[str]().append) == reasons
    assert not list(inside.iterdir())
    assert not list(outcome.engine.path.parent.iterdir())
