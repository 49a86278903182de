"""Real builds with TensorRT for RTX, which needs no GPU for them. The engines are not run."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import onnx
import pytest
from typer.testing import CliRunner

from shadowdiffusion.export.bundle import BundleOptions, build_bundle
from shadowdiffusion.export.commands.cli import app
from shadowdiffusion.export.engines import build as engines_module
from shadowdiffusion.export.engines.build import build_engines
from shadowdiffusion.export.engines.key import EngineOptions
from shadowdiffusion.export.engines.layers import read_layers, summary
from shadowdiffusion.export.errors import ExportError
from shadowdiffusion.export.passes import half_weights
from shadowdiffusion.runtime.bundle.device import Gpu
from shadowdiffusion.runtime.bundle.engines import stored_engines
from shadowdiffusion.runtime.bundle.folder import DEFAULT_BUNDLE, Bundle
from shadowdiffusion.runtime.bundle.opening import load_bundle
from shadowdiffusion.runtime.selection import fit
from tests.deadlines import LONGEST
from tests.runtime.tiny import write_bundle

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("tensorrt_rtx") is None,
    reason="TensorRT for RTX is not installed: pip install '.[tensorrt-rtx]'",
)

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def path(bundle: Bundle, tmp_path: Path) -> Path:
    return Path(shutil.copytree(bundle.path, tmp_path / "b"))


def quiet(line: str) -> None:
    """Hears what would be printed."""


def command(path: Path, *options: str) -> list[str]:
    return [sys.executable, "-m", "export", "build-engine", str(path), "--backend", "tensorrt-rtx", *options]


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_engines_for_four_generations(path: Path, precision: str) -> None:
    sizes = ["--profile", "32x32:64x96:128x128", "--batch", "1:2:4", "--precision", precision, "--json"]
    arguments = ["build-engine", str(path), "--backend", "tensorrt-rtx", "--sm", "80", "86", "89", "120", *sizes]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    record = json.loads(result.stdout)
    assert record["built"]
    assert record["key"]["sm"] == [80, 86, 89, 120]
    tensors = record["networks"]["denoiser.onnx"]["tensors"]
    assert tensors["input"]["min"] == [1, 7, 32, 32]
    assert tensors["input"]["opt"] == [2, 7, 64, 96]
    assert tensors["input"]["dtype"] == ("FLOAT" if precision == "fp32" else "HALF")
    assert tensors["row"]["min"] == tensors["row"]["max"]
    assert tensors["noise"]["kind"] == "output"
    assert all(tensor["dtype"] == "FLOAT" for name, tensor in tensors.items() if name != "input")
    assert record["notes"][-1]["name"] == "packed-input"
    assert record["status"] == "not run on a GPU yet"
    features = record["networks"]["mask_head.onnx"]["tensors"]["features"]  # on patches of 2x2 pixels
    assert [features["min"], features["opt"]] == [[1, 16, 16, 16], [2, 16, 32, 48]]
    computed = read_layers(Path(record["path"]))
    assert computed.keys() == record["networks"].keys()
    products = [layer for layer in computed["denoiser.onnx"] if layer.operator == "Conv"]
    assert {layer.precision for layer in products} == {precision}
    assert products[0].shape[0] == 2  # the best size of the profile
    assert computed["mask_head.onnx"][0].shape == [2, 16, 32, 48]
    bundle = load_bundle(path)
    for network in record["networks"].values():
        file = bundle.path / "engines" / record["engine"] / network["file"]
        assert file.stat().st_size == record["files"][network["file"]]["size"]
    again = CliRunner().invoke(app, arguments)
    assert json.loads(again.stdout)["built"] is False


def test_the_denoiser_keeps_its_three_inputs_if_asked_to(path: Path) -> None:
    options = EngineOptions("tensorrt-rtx", profile="64x64", sm=(89,), passes={"packed-input": False})
    record = build_engines(path, options, quiet).engine.record
    assert record.networks["denoiser.onnx"].tensors.keys() >= {"image", "mask", "x_t", "row"}
    assert "packed-input" not in [note.name for note in record.notes]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("precision", "kind"), [("fp32", "FLOAT"), ("fp16", "HALF"), ("bf16", "BF16"), ("int8", "HALF")]
)
def test_the_shipped_networks_with_one_packed_input(tmp_path: Path, precision: Any, kind: str) -> None:
    shipped = Path(shutil.copytree(DEFAULT_BUNDLE, tmp_path / "b"))
    options = EngineOptions("tensorrt-rtx", precision, sm=(80, 86, 89, 120))
    record = build_engines(shipped, options, quiet).engine.record
    shapes = {"min": [1, 7, 128, 128], "opt": [1, 7, 384, 384], "max": [4, 7, 384, 384]}
    tensors = record.networks["denoiser.onnx"].tensors
    assert tensors["input"] == {"kind": "input", "dtype": kind, **shapes}
    assert tensors.keys() == {"input", "row", "noise", "features"}


def test_a_bundle_with_half_weights(path: Path) -> None:
    """Weights stored as float16 with a Cast are float32 again in an fp32 engine, and float16 in an fp16 one."""
    half = Path(shutil.copytree(path, path.parent / "half"))
    for name in ("prior.onnx", "denoiser.onnx"):
        model = onnx.load_model(path / name)
        onnx.save_model(half_weights.apply(model), half / name)
    rehash(half)
    for precision in ("fp32", "fp16"):
        options = EngineOptions("tensorrt-rtx", precision, "64x64", sm=(89,))
        assert build_engines(half, options, quiet).built


def rehash(path: Path) -> None:
    import msgspec

    from shadowdiffusion.runtime.bundle.folder import hash_files, parse_manifest, write_manifest

    manifest = parse_manifest((path / "manifest.json").read_bytes())
    write_manifest(path, msgspec.structs.replace(manifest, files=hash_files(path)))


def test_a_network_that_cannot_be_built_leaves_its_log(tmp_path: Path) -> None:
    path = write_bundle(tmp_path / "b")
    model = onnx.load_model(path / "denoiser.onnx")
    unknown = onnx.helper.make_node("Mystery", ["noise"], ["nothing"], domain="nobody")
    model.graph.node.append(unknown)
    model.opset_import.append(onnx.helper.make_opsetid("nobody", 1))
    onnx.save_model(model, path / "denoiser.onnx")
    rehash(path)
    with pytest.raises(ExportError, match=r"denoiser\.onnx: TensorRT for RTX .*; the log is") as caught:
        build_engines(path, EngineOptions("tensorrt-rtx", profile="64x64", sm=(89,)), quiet)
    log = Path(str(caught.value).rpartition("the log is ")[2])
    assert "Mystery" in log.read_text()
    assert [file.name for file in (path / "engines").iterdir()] == [log.name]


def test_a_generation_it_does_not_know_is_refused(path: Path) -> None:
    with pytest.raises(ExportError, match=r"cannot build for SM 90: it can for .*89"):
        build_engines(path, EngineOptions("tensorrt-rtx", sm=(90,)), quiet)


def test_what_takes_a_gpu_is_refused_in_one_line(path: Path) -> None:
    """The builder itself fails at this with an inner error, also when several SMs are named."""
    with pytest.raises(ExportError, match=r"needs a GPU to make engines whose weights can be replaced"):
        build_engines(path, EngineOptions("tensorrt-rtx", sm=(89,), strip_weights=True), quiet)
    assert not (path / "engines").exists()


def test_a_precision_that_a_generation_lacks_is_refused(path: Path) -> None:
    with pytest.raises(ExportError, match="fp8 needs SM 89 or later, not 80: choose another --precision"):
        build_engines(path, EngineOptions("tensorrt-rtx", "fp8", sm=(80, 89)), quiet)


@pytest.mark.slow
def test_the_limit_on_scratch_memory_is_passed_on(small: Path) -> None:
    options = EngineOptions("tensorrt-rtx", profile="256x256", sm=(89,), workspace=1)
    with pytest.raises(ExportError, match=r"OutOfMemory.*the log is"):
        build_engines(small, options, quiet)


def test_the_code_for_full_tensorrt_is_the_same_code(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """TensorRT for RTX under the other name: the one API, with the timing cache that it still accepts."""
    import tensorrt_rtx

    monkeypatch.setitem(sys.modules, "tensorrt", tensorrt_rtx)
    monkeypatch.setattr(fit, "find_gpu", lambda: Gpu("A GPU", 89, "1.0"))
    monkeypatch.setattr(engines_module, "misfits", lambda *_: ["there is no such GPU"])
    with pytest.warns(DeprecationWarning, match="Timing cache"):
        outcome = build_engines(path, EngineOptions("tensorrt", "fp16", "64x64", workspace=512), quiet)
    assert outcome.engine.record.key.device == "A GPU"
    assert outcome.engine.record.workspace_mib == 512
    assert list((path / "engines").glob(".timing-tensorrt-*.cache"))
    load_bundle(path)


def test_two_builders_at_once_build_once(path: Path) -> None:
    processes = [
        subprocess.Popen(
            command(path, "--sm", "89", "--json", "--profile", "64x64"),
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    outputs = [process.communicate(timeout=300) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outputs
    results = [json.loads(output[0]) for output in outputs]
    assert sorted(result["built"] for result in results) == [False, True]
    assert results[0]["networks"] == results[1]["networks"]
    assert any("waiting for another process" in output[1] for output in outputs)
    assert len(stored_engines(load_bundle(path))) == 1


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "delay"), [("SIGINT", 0.0), ("SIGINT", 0.7), ("SIGTERM", 0.3), ("SIGKILL", 0.3)])
def test_a_build_that_is_stopped_leaves_no_engine(path: Path, kind: str, delay: float) -> None:
    before = sorted(str(file.relative_to(path)) for file in path.rglob("*"))
    process = subprocess.Popen(command(path, "--sm", "89"), cwd=ROOT, stderr=subprocess.PIPE, text=True)
    assert process.stderr
    while "building the engine" not in (line := process.stderr.readline()):
        assert line, "the build never began"
    time.sleep(delay)
    process.send_signal(getattr(signal, kind))
    said = process.communicate(timeout=LONGEST)[1]
    assert process.returncode == {"SIGINT": 130, "SIGTERM": 143, "SIGKILL": -9}[kind], said
    assert "Traceback" not in said
    assert not stored_engines(load_bundle(path))
    if kind == "SIGKILL":
        (left,) = (path / "engines").iterdir()
        assert left.name.endswith(".tmp")
        build_engines(path, EngineOptions("tensorrt-rtx", profile="64x64", sm=(89,)), quiet)
        assert not list((path / "engines").glob(".*"))
    else:
        assert sorted(str(file.relative_to(path)) for file in path.rglob("*")) == before


def test_a_full_disk_is_one_line(path: Path) -> None:
    """The limit on file sizes stands in for the disk: a real write fails in the middle."""
    run = subprocess.run(
        ["bash", "-c", 'ulimit -f 256 && exec "$@"', "bash", *command(path, "--sm", "89", "--profile", "64x64")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
    )
    errors = [line for line in run.stderr.splitlines() if not line.startswith("[")]
    assert (run.returncode, len(errors)) == (2, 1), run.stderr
    assert "cannot write to" in errors[0]
    assert not (path / "engines").exists()


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp32", "fp16", "bf16", "int8", "fp8"])
def test_networks_of_the_usual_size(small: Path, precision: Any) -> None:
    sm = (89, 120) if precision == "fp8" else (80, 86, 89, 120)
    options = EngineOptions("tensorrt-rtx", precision, "128x128:256x256:512x512", sm=sm)
    engine = build_engines(small, options, quiet).engine
    record = engine.record
    assert record.networks.keys() == {"prior.onnx", "denoiser.onnx", "mask_head.onnx"}
    assert all(record.files[f"{name}.engine"].size > 10e6 for name in ("prior", "denoiser"))
    assert record.files["mask_head.engine"].size < 2e6
    groups = {group.precision: group.macs for group in summary(read_layers(engine.path)["denoiser.onnx"]) if group.macs}
    assert max(groups, key=lambda name: groups[name]) == precision
    assert (record.gate is None) == (precision == "fp32")


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from shadowdiffusion.training.checkpoint import Model
    from shadowdiffusion.training.degradation import DegradationPrior
    from shadowdiffusion.training.denoiser import SMALL, Denoiser
    from shadowdiffusion.training.sampler import SamplerOptions
    from tests.export.conftest import randomise

    model = Model(Denoiser(SMALL), DegradationPrior())
    networks: tuple[Any, Any] = (model.denoiser, model.prior)
    for seed, network in enumerate(networks):
        randomise(network, seed)
    path = tmp_path_factory.mktemp("small") / "b"
    build_bundle(model, path, BundleOptions(SamplerOptions(steps=1), "small"))
    return path
