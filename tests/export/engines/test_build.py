"""Storing engines: why one is built, when a stored one is used, and what failures leave. The builder is a stand-in."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import onnx
import pytest
from typer.testing import CliRunner

from shadowdiffusion.export.commands.cli import app
from shadowdiffusion.export.engines import build as engines_module
from shadowdiffusion.export.engines import builder_output
from shadowdiffusion.export.engines import tensorrt as tensorrt_builder
from shadowdiffusion.export.engines.build import Outcome, build_engines
from shadowdiffusion.export.engines.builder_output import Phases
from shadowdiffusion.export.engines.job import BuildFailure
from shadowdiffusion.export.engines.key import EngineOptions
from shadowdiffusion.export.engines.lock import writing
from shadowdiffusion.export.engines.tensorrt import Built, TensorRT, load_tensorrt
from shadowdiffusion.export.errors import ExportError
from shadowdiffusion.runtime.bundle.device import Gpu
from shadowdiffusion.runtime.bundle.engines import read_engine, stored_engines
from shadowdiffusion.runtime.bundle.folder import hash_file, parse_manifest, write_manifest
from shadowdiffusion.runtime.bundle.opening import load_bundle
from shadowdiffusion.runtime.errors import BundleError
from shadowdiffusion.runtime.selection import fit
from shadowdiffusion.runtime.selection.golden_check import CheckError
from tests.deadlines import LONGEST
from tests.runtime.tiny import write_bundle

ROOT = Path(__file__).resolve().parents[3]
OPTIONS = EngineOptions("tensorrt-rtx", sm=(89,), profile="64x64")


class Builder:
    """Stands in for TensorRT; `before` runs at the start of every build, with the name of no network."""

    def __init__(self) -> None:
        self.calls: list[int] = []
        self.version = "1.7.1.116"
        self.before: Any = lambda: None

    def build(self, backend: Any, graph: Any, key: Any, workspace: Any, cache: bytes, progress: Any) -> Built:
        self.calls.append(graph.ByteSize())
        self.before()
        progress(0.5, "optimising")
        tensors = {"image": {"kind": "input", "dtype": "FLOAT", "min": [1], "opt": [1], "max": [4]}}
        return Built(memoryview(b"engine" * 100), tensors, None if backend.name == "tensorrt-rtx" else b"timings")

    def load(self, name: Any) -> TensorRT:
        members = {"NONE": 0, "SM75": 75, "SM89": 89, "SM120": 120} if name == "tensorrt-rtx" else {}
        capability = SimpleNamespace(__members__=members)
        return TensorRT(name, SimpleNamespace(__version__=self.version, ComputeCapability=capability))


def cannot_run(*_: Any) -> Any:
    """Stands in for the golden check: the GPUs of these tests are made up."""
    raise CheckError("there is no such GPU")


@pytest.fixture
def builder(monkeypatch: pytest.MonkeyPatch) -> Builder:
    stand_in = Builder()
    monkeypatch.setattr(tensorrt_builder, "build", stand_in.build)
    monkeypatch.setattr(engines_module, "load_backend", stand_in.load)
    monkeypatch.setattr(fit, "find_gpu", lambda: None)
    monkeypatch.setattr(engines_module, "check_engine", cannot_run)
    return stand_in


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return write_bundle(tmp_path / "b", golden=True)


def build(path: Path, said: list[str] | None = None, **changes: Any) -> Outcome:
    options = {name: getattr(OPTIONS, name) for name in OPTIONS.__dataclass_fields__} | changes
    return build_engines(path, EngineOptions(**options), (said if said is not None else []).append)


def content(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_engines_are_built_registered_and_described(builder: Builder, path: Path) -> None:
    said: list[str] = []
    outcome = build(path, said)
    folder = path / "engines" / outcome.engine.name
    assert said[0] == "no engine for SM 89, TensorRT for RTX 1.7.1.116, fp32, 64x64"
    files = {"prior.engine", "denoiser.engine", "layers.json"}
    assert {file.name for file in folder.iterdir()} == files | {"record.json"}
    assert len(builder.calls) == 2
    assert stored_engines(load_bundle(path)) == {outcome.engine.name: outcome.engine}
    assert read_engine(folder) == outcome.engine
    record = outcome.engine.record
    assert record.status == "not run on a GPU yet"
    assert record.files.keys() == files
    assert {network.file for network in record.networks.values()} == files - {"layers.json"}
    assert all(record.files[network.file].size == 600 for network in record.networks.values())
    assert [file.name for file in (path / "engines").iterdir()] == [outcome.engine.name]


def test_an_engine_that_fits_is_used(builder: Builder, path: Path) -> None:
    said: list[str] = []
    first = build(path)
    second = build(path, said)
    assert (first.built, second.built, len(builder.calls)) == (True, False, 2)
    assert second.engine == first.engine
    assert said == [f"using the stored engine {first.engine.name} (SM 89, TensorRT for RTX 1.7.1.116, fp32, 64x64)"]


def test_force_builds_again(builder: Builder, path: Path) -> None:
    build(path)
    said: list[str] = []
    assert build(path, said, force=True).built
    assert said[0].endswith("again")
    assert len(stored_engines(load_bundle(path))) == 1


def test_a_near_miss_is_explained_and_both_are_kept(builder: Builder, path: Path) -> None:
    first = build(path)
    builder.version = "1.8.0"
    said: list[str] = []
    build(path, said, optimization_level=5)
    reason = "backend version is 1.7.1.116, not 1.8.0; optimization level is 3, not 5"
    assert said[0].endswith(f"the nearest, {first.engine.name}, does not fit: {reason}")
    assert len(stored_engines(load_bundle(path))) == 2
    assert not build(path, optimization_level=5).built


def test_a_provisional_engine_is_measured_again_by_the_next_build(
    builder: Builder, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, disturbed = TensorRT.compile, [True]
    monkeypatch.setattr(TensorRT, "compile", lambda self, job: replace(real(self, job), provisional=disturbed[0]))
    said: list[str] = []
    assert build(path, said).engine.record.provisional
    assert "other programs disturbed the times: the engine is provisional, the next build measures again" in said
    disturbed[0], again = False, list[str]()
    outcome = build(path, again)
    assert (outcome.built, outcome.engine.record.provisional) == (True, False)
    assert again[0].endswith("cannot be used: it is provisional, as other programs disturbed its times")
    assert not build(path).built


def test_the_gpu_of_the_machine_is_the_default(builder: Builder, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fit, "find_gpu", lambda: Gpu("NVIDIA L4", 89, "580.65.06"))
    key = build(path, sm=()).engine.record.key
    assert (key.device, key.sm, key.driver) == ("NVIDIA L4", [89], None)
    monkeypatch.setattr(fit, "find_gpu", lambda: Gpu("NVIDIA H100", 90, "580.65.06"))
    with pytest.raises(ExportError, match="cannot build for SM 90: it can for 75, 89, 120"):
        build(path, sm=())


def test_stripped_engines_share_the_weights_of_the_bundle(
    builder: Builder, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only a graph whose weights are not in the bundle is kept."""
    monkeypatch.setattr(tensorrt_builder, "find_gpu", lambda: Gpu("NVIDIA L4", 89, "580.65.06"))
    single = build(path, strip_weights=True).engine
    assert single.record.key.flags == ["strip-weights"]
    assert not list(single.path.glob("*.onnx"))
    half = build(path, strip_weights=True, precision="fp16", gate=0.0).engine
    assert {file.name for file in half.path.glob("*.onnx")} == {"denoiser.onnx"}  # the prior has no product to round
    weights = onnx.load_model(half.path / "denoiser.onnx").graph.initializer
    assert "w.half" in {tensor.name for tensor in weights}


def test_the_builder_gets_the_flags_of_the_key() -> None:
    key: Any = SimpleNamespace(flags=["hardware-compatible", "strip-weights", "version-compatible"])
    flags = tensorrt_builder._flags
    assert flags("tensorrt", key) == ["STRIP_PLAN", "REFIT_IDENTICAL", "VERSION_COMPATIBLE"]
    assert flags("tensorrt-rtx", SimpleNamespace(flags=["strip-weights"])) == ["STRIP_PLAN", "REFIT"]  # type: ignore[arg-type]
    assert flags("tensorrt", SimpleNamespace(flags=[])) == []  # type: ignore[arg-type]


def test_hardware_compatible_engines_begin_with_ampere(
    builder: Builder, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fit, "find_gpu", lambda: Gpu("Tesla T4", 75, "580.65.06"))
    with pytest.raises(ExportError, match="SM 80 or later: this is 75"):
        build(path, backend="tensorrt", sm=(), hardware_compatible=True)


def test_without_gpu_and_sm_the_engine_is_portable(builder: Builder, path: Path) -> None:
    said: list[str] = []
    assert build(path, said, sm=()).engine.record.key.sm == []
    assert "portable" in said[0]


def test_full_tensorrt_needs_its_gpu_and_keeps_its_timings(
    builder: Builder, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ExportError, match="leave out --sm"):
        build(path, backend="tensorrt")
    with pytest.raises(ExportError, match="none is found"):
        build(path, backend="tensorrt", sm=())
    monkeypatch.setattr(fit, "find_gpu", lambda: Gpu("NVIDIA H100", 90, "580.65.06"))
    build(path, backend="tensorrt", sm=())
    assert (path / "engines" / ".timing-tensorrt-1.7.1.116.cache").read_bytes() == b"timings"
    load_bundle(path)


@pytest.mark.parametrize("file", ["denoiser.engine", "record.json"])
@pytest.mark.parametrize("harm", ["cut", "flip", "delete"])
def test_a_damaged_engine_is_said_to_be_and_built_again(builder: Builder, path: Path, file: str, harm: str) -> None:
    target = path / "engines" / build(path).engine.name / file
    data = bytearray(target.read_bytes())
    if harm == "delete":
        target.unlink()
    else:
        data[len(data) // 2] ^= 4
        target.write_bytes(data if harm == "flip" else data[:-1])
    load_bundle(path)  # the portable form does not suffer
    said: list[str] = []
    assert build(path, said).built
    assert "cannot be used: " in said[0]
    assert file in said[0]
    assert not build(path).built


def test_a_changed_network_needs_new_engines(builder: Builder, path: Path) -> None:
    build(path)
    model = onnx.load_model(path / "prior.onnx")
    model.doc_string = "another file, the same function"
    onnx.save_model(model, path / "prior.onnx")
    manifest = parse_manifest((path / "manifest.json").read_bytes())
    files = manifest.files | {"prior.onnx": hash_file(path / "prior.onnx")}
    write_manifest(path, msgspec.structs.replace(manifest, files=files))
    said: list[str] = []
    assert build(path, said).built
    assert said[0].endswith("does not fit: prior.onnx changed since")


@pytest.mark.parametrize(
    "failure", [KeyboardInterrupt(), SystemExit(143), MemoryError(), OSError(errno.ENOSPC, "No space left on device")]
)
@pytest.mark.parametrize("network", [1, 2])
def test_an_interrupted_build_leaves_nothing(
    builder: Builder, path: Path, failure: BaseException, network: int
) -> None:
    before = content(path)

    def fail() -> None:
        if len(builder.calls) == network:
            raise failure

    builder.before = fail
    with pytest.raises(ExportError if isinstance(failure, OSError) else type(failure), match=r"No space|^$|143"):
        build(path)
    assert content(path) == before
    assert not (path / "engines").exists()


@pytest.mark.parametrize("call", ["mkdir", "rename"])
@pytest.mark.parametrize("replacing", [False, True])
def test_a_disk_that_fails_late_changes_nothing(
    builder: Builder, path: Path, monkeypatch: pytest.MonkeyPatch, call: str, replacing: bool
) -> None:
    if replacing:
        build(path)
    before, real = content(path), getattr(os, call)

    def fail(source: Any, *rest: Any, **named: Any) -> Any:
        if str(source).endswith(".tmp"):
            monkeypatch.setattr(os, call, real)  # fails once: undoing may use it again
            raise OSError(errno.EROFS, "Read-only file system")
        return real(source, *rest, **named)

    monkeypatch.setattr(os, call, fail)
    with pytest.raises(ExportError, match=r"cannot write to .*Read-only file system"):
        build(path, force=True)
    assert content(path) == before
    load_bundle(path)


def test_what_a_killed_build_left_goes_with_the_next(builder: Builder, path: Path) -> None:
    left = path / "engines" / ".sm75_whatever.tmp"
    left.mkdir(parents=True)
    (left / "prior.engine").write_bytes(b"half")
    load_bundle(path)
    build(path)
    assert not left.exists()


def test_the_log_of_a_failed_build_is_kept_and_named(builder: Builder, path: Path) -> None:
    def fail() -> None:
        raise BuildFailure("TensorRT could not build the engine: no tactic", ["INFO: began", "ERROR: no tactic"])

    builder.before = fail
    with pytest.raises(ExportError, match=r"prior\.onnx: .*no tactic; the log is .*\.log") as caught:
        build(path)
    (log,) = (path / "engines").iterdir()
    assert str(log) in str(caught.value)
    assert log.read_text() == "INFO: began\nERROR: no tactic\n"
    load_bundle(path)
    builder.before = lambda: None
    build(path)
    assert not log.exists()


def test_builders_of_one_bundle_take_turns(builder: Builder, path: Path) -> None:
    """Another process holds the lock, and lets go once this one says that it waits."""
    code = "import sys; from pathlib import Path; from shadowdiffusion.export.engines.lock import writing\n"
    code += "with writing(Path(sys.argv[1])): print('held', flush=True); sys.stdin.read()"
    holder = subprocess.Popen(
        [sys.executable, "-c", code, str(path)], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    stdin = holder.stdin
    assert stdin
    assert holder.stdout
    assert holder.stdout.readline() == b"held\n"
    said: list[str] = []

    def report(line: str) -> None:
        said.append(line)
        if "waiting" in line:
            stdin.close()

    build_engines(path, OPTIONS, report)
    assert holder.wait(timeout=LONGEST) == 0
    assert said[0].startswith("waiting for another process that is writing to")


def test_what_is_no_folder_of_a_bundle_is_refused(builder: Builder, path: Path, tmp_path: Path) -> None:
    (tmp_path / "b.zip").touch()
    with pytest.raises(BundleError, match="not a bundle"):
        build(tmp_path / "b.zip")
    with pytest.raises(BundleError, match="not a bundle"):
        build(tmp_path)
    (path / "denoiser.onnx").write_bytes(b"")
    with pytest.raises(BundleError, match="damaged"):
        build(path)


def test_a_missing_backend_is_one_line_that_says_what_to_install(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("tensorrt", "tensorrt_rtx"):
        monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    for name in ("tensorrt", "tensorrt-rtx"):
        result = CliRunner().invoke(app, ["build-engine", str(path), "--backend", name])
        assert result.exit_code == 2
        assert result.stderr.count("\n") == 1
        assert result.stderr.startswith("error: TensorRT")
        assert result.stderr.rstrip().endswith(f"[{name}]'")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object() if name == "tensorrt_rtx" else None)
    with pytest.raises(
        ExportError, match=r"pip install .*\[tensorrt\]', or use --backend tensorrt-rtx, which is installed"
    ):
        load_tensorrt("tensorrt")


def test_half_an_installation_counts_as_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt", SimpleNamespace())
    with pytest.raises(ExportError, match=r"pip install .*\[tensorrt\]"):
        load_tensorrt("tensorrt")


def test_progress_never_falls_and_counts_nested_phases() -> None:
    seen: list[tuple[float, str]] = []
    phases = Phases(lambda fraction, phase: seen.append((round(fraction, 3), phase)))
    phases.start("build", None, 2)
    phases.start("graph", "build", 4)
    phases.step("graph", 1)
    phases.finish("graph")
    phases.step("build", 0)
    phases.start("graph", "build", 2)  # a name may come again
    phases.step("graph", 0)
    phases.step("never started", 3)
    phases.start("orphan", "nobody", 0)
    assert seen[:2] == [(0.0, "build"), (0.0, "graph")]
    assert [fraction for fraction, _ in seen] == sorted(fraction for fraction, _ in seen)
    assert seen[-1][0] == 0.75


def test_wrong_sm_is_one_line(path: Path) -> None:
    result = CliRunner().invoke(app, ["build-engine", str(path), "--backend", "tensorrt-rtx", "--sm", "8.9"])
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert "'8.9'" in result.stderr


def test_the_lock_is_free_after_an_error(path: Path) -> None:
    with pytest.raises(ZeroDivisionError), writing(path):
        raise ZeroDivisionError
    said: list[str] = []
    with writing(path, said.append):
        pass
    assert not said


def test_the_log_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(builder_output, "LOG_LINES", 3)
    logger = builder_output.make_logger(SimpleNamespace(ILogger=object))
    for number in range(20):
        logger.log(SimpleNamespace(name="INFO"), f"line {number}")
    assert 3 <= len(logger.lines) <= 6
    assert logger.lines[-1] == "INFO: line 19"
