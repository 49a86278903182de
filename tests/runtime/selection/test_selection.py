"""Which networks are used: engines that fit and prove right on the golden example, else the portable ones."""

from __future__ import annotations

import re
import shutil
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from typer.testing import CliRunner

from shadowdiffusion import runtime
from shadowdiffusion.runtime.bundle.device import find_cpu
from shadowdiffusion.runtime.bundle.engines import Gate, engine_stores, read_engine
from shadowdiffusion.runtime.bundle.folder import Bundle
from shadowdiffusion.runtime.bundle.opening import load_bundle
from shadowdiffusion.runtime.commands.cli import app
from shadowdiffusion.runtime.errors import RestoreError
from shadowdiffusion.runtime.loop.host_loop import HostLoop
from shadowdiffusion.runtime.loop.loop import Loop
from shadowdiffusion.runtime.selection import golden_check
from shadowdiffusion.runtime.selection.engine_networks import open_engine
from shadowdiffusion.runtime.selection.golden_check import forget_verdict, golden_psnr, known_verdict
from shadowdiffusion.runtime.selection.profile import WithinProfile, covers_photos
from shadowdiffusion.runtime.selection.selection import choose
from tests.runtime.engine_folders import make_key, write_engine
from tests.runtime.tiny import picture, save


def add(opened: Bundle, scale: float = 1.0, fields: dict[str, Any] | None = None, **changes: Any) -> Path:
    """An engine of ONNX Runtime for this CPU; the weights of its denoiser are multiplied by `scale`."""
    ours = {"backend": "onnxruntime", "backend_version": version("onnxruntime"), "provider": "cpu", "sm": []}
    key = make_key(opened.path, **{**ours, "device": find_cpu(), "precision": "fp32", **changes})
    denoiser = onnx.load_model(opened.path / "denoiser.onnx")
    weight = next(tensor for tensor in denoiser.graph.initializer if tensor.name == "w")
    weight.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(weight) * np.float32(scale), "w"))
    prior = (opened.path / "prior.onnx").read_bytes()
    files = {"prior.onnx": prior, "denoiser.onnx": denoiser.SerializeToString()}
    return write_engine(engine_stores(opened)[0], key, files, **(fields or {}))


def chosen(opened: Bundle, backend: Any = "auto") -> tuple[str, list[str]]:
    """Title of what is chosen, and what is said."""
    said: list[str] = []
    return choose(opened, backend, threads=1, say=said.append).title, said


PORTABLE = "ONNX Runtime on the CPU"
MS = {"prior.onnx": 1.0, "denoiser.onnx": 1.0}


def test_without_engines_nothing_is_said_and_nothing_is_written(opened: Bundle, cache: Path) -> None:
    assert chosen(opened) == (PORTABLE, [])
    assert not cache.exists()


def test_an_engine_that_fits_is_checked_once_and_used(opened: Bundle) -> None:
    name = add(opened).name
    assert chosen(opened) == (f"engine {name}", [f"checking engine {name}, which is new to this machine"])
    assert chosen(opened) == (f"engine {name}", [])
    assert chosen(opened, "onnxruntime") == (f"engine {name}", [])
    assert choose(opened, "auto", "cpu", 1, print).title == f"engine {name}"
    assert chosen(opened, "portable") == (PORTABLE, [])


def test_the_engine_is_what_restores(opened: Bundle) -> None:
    """A gate of 10 dB lets an engine through that is a little off, which shows in the result."""
    add(opened, 1.07, {"gate": Gate(30.0, 10.0, ["a"])}, precision="int8")
    photo = picture(40, 48)
    engine = runtime.load(opened.path, "onnxruntime", "auto", 1, list[str]().append)(photo).image
    portable = runtime.load(opened.path, "portable", "cpu", 1)(photo).image
    assert (engine != portable).any()


@pytest.mark.parametrize(
    ("scale", "precision", "words"),
    [
        (1.07, "int8", r"it reproduces the golden example to \d+\.\d dB only, 50 dB are needed"),
        (1.1, "int8", r"denoiser\.noise 1 is that of the portable networks to 20\.0 dB only, 22 dB are needed"),
        (1.1, "fp32", r"denoiser\.noise 1 is that of the portable networks to 20\.0 dB only, 50 dB are needed"),
        (np.nan, "fp32", "not finite"),
    ],
)
def test_an_engine_that_is_wrong_is_quarantined_and_the_next_is_used(
    opened: Bundle, scale: float, precision: str, words: str
) -> None:
    wrong = add(opened, scale, {"latency_ms": MS}, precision=precision)
    right = add(opened, 1.0, {"latency_ms": {name: 2 * each for name, each in MS.items()}}, optimization_level=5)
    title, said = chosen(opened)
    assert title == f"engine {right.name}"
    assert len(said) == 3
    assert said[1].startswith(f"engine {wrong.name} is quarantined, the next in line is used: ")
    assert re.search(words, said[1])
    assert chosen(opened) == (title, said[1:2])  # remembered, and said each time
    shutil.rmtree(right)
    assert chosen(opened)[0] == PORTABLE
    title, (line,) = chosen(opened, "onnxruntime")
    assert title == PORTABLE
    assert "quarantined" in line
    forget_verdict(read_engine(wrong))
    assert len(chosen(opened)[1]) == 2


def test_a_gate_lowers_what_is_needed_and_never_raises_it(opened: Bundle) -> None:
    add(opened, 1.0, {"gate": Gate(400.0, 300.0, [])}, precision="fp16")
    assert chosen(opened)[0] != PORTABLE


OTHERS: dict[str, tuple[dict[str, Any], str]] = {
    "cpu": ({"device": "Another CPU, avx"}, f"device is Another CPU, avx, not {find_cpu()}"),
    "version": ({"backend_version": "1.0"}, f"backend version is 1.0, not {version('onnxruntime')}"),
    "network": ({"onnx": {"prior.onnx": "0" * 64, "denoiser.onnx": "0" * 64}}, "changed since"),
    "gpu": ({"device": "NVIDIA L4", "driver": "1", "provider": "cuda", "sm": [89]}, "no GPU is found"),
    "rtx": ({"backend": "tensorrt-rtx", "provider": None, "device": None}, "no GPU is found"),
}


@pytest.mark.parametrize(("changes", "words"), OTHERS.values(), ids=OTHERS.keys())
def test_an_engine_for_something_else_is_passed_over(opened: Bundle, changes: dict[str, Any], words: str) -> None:
    name = add(opened, **changes).name
    title, (line,) = chosen(opened)
    assert title == PORTABLE
    assert line.startswith(f"engine {name} is passed over: ")
    assert words in line
    if changes.get("backend") is None:
        assert chosen(opened, "onnxruntime") == (PORTABLE, [line])
        return
    with pytest.raises(RestoreError, match=f"no engine of .* can be used: engine {name}"):
        choose(opened, changes["backend"], threads=1)
    with pytest.raises(RestoreError, match="TensorRT for RTX runs on a GPU only"):
        choose(opened, changes["backend"], "cpu")
    assert choose(opened, "auto", "cpu", 1, print).title == PORTABLE


def test_engines_with_the_same_reason_share_a_line(opened: Bundle) -> None:
    gpu: dict[str, Any] = {"backend": "tensorrt-rtx", "provider": None, "device": None}
    names = sorted(add(opened, sm=[sm], **gpu).name for sm in (80, 89))
    assert chosen(opened) == (PORTABLE, [f"engines {names[0]} and {names[1]} are passed over: no GPU is found"])


HARMS: dict[str, tuple[str, Any, str]] = {
    "cut": ("denoiser.engine", lambda data: data[:-1], "denoiser.engine is damaged"),
    "flipped": ("denoiser.engine", lambda data: data[:50] + bytes([data[50] ^ 1]) + data[51:], "is damaged"),
    "empty record": ("record.json", lambda data: b"", "not the record of an engine"),
    "cut record": ("record.json", lambda data: data[:-5], "not the record of an engine"),
    "newer record": ("record.json", lambda d: d.replace(b'_version": 1', b'_version": 2'), "upgrade"),
    "older record": ("record.json", lambda d: d.replace(b'_version": 1', b'_version": 0'), "build the engine again"),
    "other key": ("record.json", lambda d: d.replace(b'"1:1:4"', b'"1:1:8"'), "not that of the folder's name"),
    "path": ("record.json", lambda d: d.replace(b'"prior.engine"', b'"../prior.engine"'), "not the record"),
}


@pytest.mark.parametrize(("file", "harm", "words"), HARMS.values(), ids=HARMS.keys())
def test_a_damaged_engine_is_never_opened(opened: Bundle, file: str, harm: Any, words: str) -> None:
    folder = add(opened)
    data = (folder / file).read_bytes()
    (folder / file).write_bytes(harm(data))
    assert (folder / file).read_bytes() != data
    title, (line,) = chosen(opened)
    assert title == PORTABLE
    assert words in line


def test_a_missing_file_and_an_empty_folder_are_passed_over(opened: Bundle) -> None:
    (add(opened) / "prior.engine").unlink()
    (opened.path / "engines" / "empty").mkdir()
    title, said = chosen(opened)
    assert title == PORTABLE
    assert len(said) == 2


def test_no_cache_means_a_check_each_time(opened: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    name = add(opened).name
    for _ in range(2):
        assert chosen(opened) == (f"engine {name}", [f"checking engine {name}, which is new to this machine"])


def test_a_verdict_is_for_one_engine_on_one_device_by_one_check(
    opened: Bundle, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = read_engine(add(opened))
    chosen(opened)
    with monkeypatch.context() as stricter:
        stricter.setitem(golden_check.NEEDED, "int8", golden_check.NEEDED["fp16"])
        assert known_verdict(engine, find_cpu()) is None
    assert known_verdict(engine, "Another CPU") is None
    assert known_verdict(engine, find_cpu()) is not None
    (file,) = (cache / "checks").iterdir()
    file.write_bytes(b"{")
    assert known_verdict(engine, find_cpu()) is None


def test_a_crash_is_a_failure_and_takes_nothing_along(
    opened: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A module that Python imports first makes the other process abort when it opens a session."""
    name = add(opened).name
    code = "import onnxruntime, os\nonnxruntime.InferenceSession = lambda *_, **__: os.abort()\n"
    (tmp_path / "sitecustomize.py").write_text(code)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    title, said = chosen(opened)
    assert title == PORTABLE
    assert f"engine {name} is quarantined" in said[1]
    assert "it crashed (SIGABRT)" in said[1]


@pytest.mark.parametrize(("code", "words"), [("os.kill(os.getpid(), 9)", "SIGKILL"), ("os._exit(0)", "")])
def test_a_check_that_someone_stops_says_nothing_about_the_engine(
    opened: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str, words: str
) -> None:
    name = add(opened).name
    (tmp_path / "sitecustomize.py").write_text(f"import os\n{code}\n")
    with monkeypatch.context() as patch:
        patch.setenv("PYTHONPATH", str(tmp_path))
        title, said = chosen(opened)
        assert title == PORTABLE
        assert words in said[1]
    assert chosen(opened)[0] == (f"engine {name}" if words else PORTABLE)


def test_a_program_with_python_inside_starts_no_second_one(opened: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    add(opened)
    monkeypatch.setattr(sys, "executable", "/opt/editor/bin/editor")
    title, said = chosen(opened)
    assert title == PORTABLE
    assert "it can only be checked from Python itself, this is /opt/editor/bin/editor" in said[1]


def test_a_bundle_without_a_golden_example_uses_no_engine(bundle: Path, tmp_path: Path) -> None:
    from tests.runtime.tiny import write_bundle

    bare = load_bundle(write_bundle(tmp_path / "bare"))
    add(bare)
    title, said = chosen(bare)
    assert title == PORTABLE
    assert "no golden example" in said[1]


def test_an_example_outside_the_profile_is_made_to_fit(opened: Bundle) -> None:
    """The golden example has 16x24 pixels."""
    exact = add(opened, profile="8x8:16x24:32x32")
    fitted = add(opened, profile="40x32:64x64:64x64")
    assert golden_psnr(opened, read_engine(exact), 1) > 100
    assert golden_psnr(opened, read_engine(fitted), 1) > 100
    wrong = add(opened, 1.07, profile="40x32:40x32:40x32", precision="int8")
    assert golden_psnr(opened, read_engine(wrong), 1) < 50


def test_sizes_outside_the_profile_go_to_the_portable_networks(opened: Bundle) -> None:
    """The engine is a little off, so that its results can be told from those of the portable networks."""
    engine = read_engine(add(opened, 1.5, profile="16x16:32x32:32x48"))
    portable = choose(opened, "portable", "cpu", 1)
    made: list[Loop] = []
    said: list[str] = []

    def others() -> Loop:
        made.append(portable)
        return portable

    loop = HostLoop(opened, open_engine(opened, engine, 1))
    both = WithinProfile(loop, opened, engine.record.key, others, said.append)
    inside, outside = (np.random.default_rng(0).random((1, 3, *size), np.float32) for size in ((32, 48), (48, 32)))
    for image, same in ((inside, False), (outside, True), (outside, True)):
        mask = image[:, :1]
        result, expected = (loop.restore(image, mask, opened.table(), [0]).image for loop in (both, portable))
        assert (result == expected).all() == same
    assert len(made) == 1
    assert said == [
        f"32x48 pixels are outside the profile 16x16:32x32:32x48 (height x width) of engine {engine.name}: "
        f"using {PORTABLE}"
    ]


@pytest.mark.parametrize(
    ("profile", "batch", "expected"),
    [
        ("32x32:48x48:48x48", "1:1:4", True),
        ("32x48:32x48:32x48", "1:1:4", False),
        ("40x40:48x48:64x64", "1:1:1", False),
        ("8x8:8x8:40x64", "1:1:1", False),
        ("32x32:48x48:48x48", "2:2:2", False),
    ],
)
def test_a_profile_covers_the_usual_photos_in_both_directions(
    opened: Bundle, profile: str, batch: str, expected: bool
) -> None:
    """48 pixels and multiples of 8: 48x32 and 32x48."""
    assert covers_photos(make_key(opened.path, profile=profile, batch=batch), 48, 8) == expected


def test_an_unknown_backend_and_a_missing_one_are_refused(opened: Bundle) -> None:
    with pytest.raises(RestoreError, match="backend 'gpu' is unknown: choose one of auto, portable"):
        choose(opened, "gpu")  # type: ignore[arg-type]
    with pytest.raises(RestoreError, match="device 'tpu' is unknown: choose one of auto, cpu, cuda"):
        choose(opened, "auto", "tpu")  # type: ignore[arg-type]
    with pytest.raises(RestoreError, match=r"the bundle has none: .* export build-engine --backend tensorrt"):
        choose(opened, "tensorrt")


def test_the_command_line_says_which_engines_it_passes_over(opened: Bundle, tmp_path: Path) -> None:
    name = add(opened, 1.5).name
    photo = str(save(tmp_path / "photo.png", picture(24, 32)))
    result = CliRunner().invoke(app, ["restore", photo, "--bundle", str(opened.path), "--threads", "1"])
    assert result.exit_code == 0, result.output
    assert f"note: engine {name} is quarantined" in result.stderr
    again = ["restore", photo, "--bundle", str(opened.path), "--backend", "portable", "--overwrite", "--threads", "1"]
    assert CliRunner().invoke(app, again).stderr == ""


def test_the_verdict_file_says_what_was_found(opened: Bundle, cache: Path) -> None:
    add(opened, 1.07, precision="int8")
    chosen(opened)
    (file,) = (cache / "checks").iterdir()
    verdict = msgspec.json.decode(file.read_bytes(), type=golden_check.Verdict)
    assert verdict.psnr is not None
    assert (verdict.device, verdict.least) == (find_cpu(), 50.0)
    assert verdict.psnr < 50
