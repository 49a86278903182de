"""Where engines are stored, who waits for whom, and what failures leave. The backend is small, the store is real."""

from __future__ import annotations

import ctypes
import dataclasses
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import msgspec
import pytest
from onnx import numpy_helper

from shadowdiffusion.export.engines import build as engines_module
from shadowdiffusion.export.engines.build import Outcome, build_engines
from shadowdiffusion.export.engines.job import Job, Parts
from shadowdiffusion.export.engines.key import EngineOptions
from shadowdiffusion.export.engines.prune import prune
from shadowdiffusion.export.errors import ExportError
from shadowdiffusion.export.inspection import inspect
from shadowdiffusion.export.pack import pack
from shadowdiffusion.runtime.bundle.device import find_cpu
from shadowdiffusion.runtime.bundle.engines import RECORD, NetworkRecord, encode_record, engine_stores, stored_engines
from shadowdiffusion.runtime.bundle.opening import load_bundle
from shadowdiffusion.runtime.selection.golden_check import Verdict, known_verdict, remember
from shadowdiffusion.runtime.selection.selection import choose
from tests.deadlines import LONGEST
from tests.runtime.engine_folders import add_engine
from tests.runtime.tiny import write_bundle

ROOT = Path(__file__).resolve().parents[3]
OPTIONS = EngineOptions("onnxruntime", profile="64x64", provider="cpu")

# run in other processes: a backend that says "compiling", then waits for a line before it writes its files
PROGRAM = """
import sys
from pathlib import Path
from shadowdiffusion.export.engines import build
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
        return Parts({name: NetworkRecord(name, 0.0, {}) for name in job.graphs}, status="copied")


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


def without_root_powers() -> None:
    """Runs in a child: file modes count even for root (PR_CAPBSET_DROP of CAP_DAC_OVERRIDE). Others need nothing."""
    ctypes.CDLL(None).prctl(24, 1)


def build_elsewhere(path: Path, shell: str = "", **environment: str) -> tuple[int, list[str]]:
    """Build in a process for which file modes count, after a command of the shell: exit code and what was said."""
    command = ["bash", "-c", f'{shell} exec "$@"', "bash", sys.executable, "-c", PROGRAM, str(path)]
    run = subprocess.run(
        command,
        cwd=ROOT,
        input="\n",
        capture_output=True,
        text=True,
        preexec_fn=without_root_powers,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1", **environment},
        timeout=LONGEST,
    )
    return run.returncode, [*run.stdout.splitlines(), *run.stderr.splitlines()]


@pytest.fixture
def read_only(path: Path) -> Iterator[Path]:
    for entry in (*path.rglob("*"), path):
        entry.chmod(0o555 if entry.is_dir() else 0o444)
    yield path
    path.chmod(0o755)


def test_a_bundle_that_cannot_be_written_gets_its_engines_in_the_cache(read_only: Path, cache: Path) -> None:
    before = content(read_only)
    code, said = build_elsewhere(read_only)
    assert (code, said[-1]) == (0, "built"), said
    assert content(read_only) == before
    (engine,) = stored_engines(load_bundle(read_only)).values()
    assert engine.path.is_relative_to(cache)
    assert said[0] == f"{read_only} cannot be written: its engines are stored in {engine.path.parent}"
    assert build_elsewhere(read_only)[1][-1] == "stored"


def test_no_place_at_all_is_one_error(read_only: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    code, said = build_elsewhere(read_only, XDG_CACHE_HOME=str(tmp_path / "file"))
    assert code == 1
    for words in ("no place for engines: ", "cannot be written, nor can the cache ", "XDG_CACHE_HOME"):
        assert words in said[-1]


def test_a_stored_engine_needs_no_place(path: Path, tmp_path: Path) -> None:
    build(path)
    (tmp_path / "file").touch()
    for folder in (path / "engines", path):
        folder.chmod(0o555)
    assert build_elsewhere(path, XDG_CACHE_HOME=str(tmp_path / "file"))[1][-1] == "stored"
    path.chmod(0o755)


@pytest.mark.parametrize("packed", [False, True])
def test_a_disk_that_fills_up_leaves_nothing(path: Path, tmp_path: Path, cache: Path, packed: bool) -> None:
    """A limit on the size of files stands in for the disk: a real write fails in the middle."""
    bundle = path
    if packed:
        bundle = tmp_path / "b.zip"
        pack(path, bundle)
        engine_stores(load_bundle(bundle))[1].mkdir(parents=True)
    before = content(path, cache)
    code, said = build_elsewhere(bundle, "ulimit -f 1;")
    assert code == 1
    assert "cannot write to" in said[-1]
    assert content(path, cache) == before
    assert build(bundle).built


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


def verdict(outcome: Outcome, psnr: float) -> None:
    """As the golden check leaves it."""
    key = outcome.engine.record.key
    remember(outcome.engine, Verdict(outcome.engine.name, key.device or "", "2026-01-01", 50.0, psnr, None))


def test_a_quarantined_engine_is_built_again_and_free(path: Path) -> None:
    first = build(path)
    verdict(first, 99.0)
    assert not build(path).built
    verdict(first, 12.34)
    state = inspect(first.engine.path, False).state  # type: ignore[union-attr]
    assert state == "it is quarantined: it reproduces the golden example to 12.3 dB only, 50 dB are needed"
    said: list[str] = []
    second = build(path, said)
    assert second.built
    assert "quarantined: it reproduces the golden example to 12.3 dB only, 50 dB are needed" in said[0]
    found = known_verdict(second.engine, second.engine.record.key.device or "")
    assert found
    assert found.failure is None
    assert not build(path).built


def test_an_engine_is_checked_where_it_can_run(path: Path) -> None:
    said: list[str] = []
    record = build(path, said).engine.record
    assert "running the golden example through the engine" in said
    assert record.status.endswith(f" dB on {find_cpu()}")
    assert choose(load_bundle(path), "auto", threads=1, say=said.append).title.startswith("engine ")
    assert not [line for line in said if "checking" in line]  # the build has


def test_an_engine_that_is_wrong_is_not_stored(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Wrong(Copier):
        def compile(self, job: Job) -> Parts:
            (tensor,) = (tensor for tensor in job.graphs["denoiser.onnx"].graph.initializer if tensor.name == "w")
            tensor.CopyFrom(numpy_helper.from_array(-numpy_helper.to_array(tensor), "w"))
            return super().compile(job)

    monkeypatch.setattr(engines_module, "load_backend", lambda name: Wrong())
    with pytest.raises(ExportError, match=r"not stored: it failed on the golden example: denoiser.noise 1 .* dB only"):
        build(path)
    assert not (path / "engines").exists()


def test_an_engine_for_something_else_is_not_run(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Copier, "version", "0.1")
    assert build(path).engine.record.status == "copied"


def test_an_engine_that_a_lower_gate_let_through_is_built_again(path: Path) -> None:
    options = dataclasses.replace(OPTIONS, precision="fp16", gate=20.0)
    engine = build_engines(path, options, list[str]().append).engine
    assert engine.record.gate
    barely = msgspec.structs.replace(engine.record.gate, psnr=30.0)
    (engine.path / RECORD).write_bytes(encode_record(msgspec.structs.replace(engine.record, gate=barely)))
    assert not build_engines(path, options, list[str]().append).built
    said = list[str]()
    assert build_engines(path, dataclasses.replace(options, gate=50.0), said.append).built
    assert "against float32 it reaches image 30.0 dB (50 needed)" in said[0]


def test_prune_looks_in_both_stores_and_at_the_device(path: Path) -> None:
    inside = build(path).engine.path.parent
    cached = shutil.copytree(inside, engine_stores(load_bundle(path))[1])
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
    assert not list(cached.iterdir())
