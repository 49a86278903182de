from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import msgspec
import numpy as np
import pytest

from runtime.bundle import Difference, Note, Verification, write_manifest
from runtime.cli import main
from runtime.opening import load_bundle
from tests.runtime.tiny import load_pixels, picture, save

ROOT = Path(__file__).resolve().parents[2]


class Run:
    """One call of the command line in this process: its exit code and what it printed."""

    def __init__(self, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *words: object) -> None:
        monkeypatch.setattr(sys, "argv", ["shadowdiffusion", *map(str, words)])
        with pytest.raises(SystemExit) as caught:
            main()
        self.code = caught.value.code or 0
        self.out, self.err = capfd.readouterr()


Call = Callable[..., Run]


@pytest.fixture
def call(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Call:
    return partial(Run, capfd, monkeypatch)


def refused(run: Run, *words: str) -> None:
    """One line on stderr with these words, exit code 2."""
    assert run.code == 2
    assert run.out == ""
    assert run.err.count("\n") == 1
    assert run.err.startswith("error: ")
    for word in words:
        assert word in run.err


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tif"])
def test_restoring_one_photo(call: Call, bundle: Path, tmp_path: Path, suffix: str) -> None:
    photo = save(tmp_path / f"a{suffix}", picture(33, 65))
    run = call("restore", photo, "--bundle", bundle, "--threads", 1)
    assert run.code == 0
    assert run.err == ""
    assert run.out.count("\n") == 1
    assert f"a.restored{suffix}" in run.out
    assert load_pixels(tmp_path / f"a.restored{suffix}").shape == (33, 65, 3)
    assert names(tmp_path) == sorted([f"a{suffix}", f"a.restored{suffix}"])


def test_alpha_is_untouched_and_depth_kept(call: Call, bundle: Path, tmp_path: Path) -> None:
    rgba = picture(20, 30, np.uint16, 4)
    save(tmp_path / "a.png", rgba)
    assert call("restore", tmp_path / "a.png", "--bundle", bundle, "-q").code == 0
    result = load_pixels(tmp_path / "a.restored.png")
    assert result.dtype == np.uint16
    assert np.array_equal(result[..., 3], rgba[..., 3])
    assert not np.array_equal(result, rgba)


def test_outputs_masks_and_seeds(call: Call, bundle: Path, tmp_path: Path) -> None:
    photo = save(tmp_path / "a.png", picture(20, 30))
    mask = save(tmp_path / "m.png", picture(20, 30, channels=1))
    common = ["restore", photo, "--bundle", bundle, "--steps", 5, "-q"]
    assert call(*common, "-o", tmp_path / "new" / "x.tif", "--save-mask", tmp_path / "new" / "m.png").code == 0
    assert names(tmp_path / "new") == ["m.png", "x.tif"]
    assert load_pixels(tmp_path / "new" / "m.png").shape == (20, 30)
    assert call(*common, "-o", tmp_path / "dir", "--mask", mask, "--save-mask", tmp_path / "dir").code == 0
    assert names(tmp_path / "dir") == ["a.mask.png", "a.restored.png"]
    for seed, name in ((0, "s0.png"), (0, "s0b.png"), (1, "s1.png")):
        assert call(*common, "--seed", seed, "-o", tmp_path / name).code == 0
    assert (tmp_path / "s0.png").read_bytes() == (tmp_path / "s0b.png").read_bytes()
    assert (tmp_path / "s0.png").read_bytes() != (tmp_path / "s1.png").read_bytes()


def test_existing_results_and_inputs_are_safe(call: Call, bundle: Path, tmp_path: Path) -> None:
    photo = save(tmp_path / "a.png", picture(9, 9))
    before = photo.read_bytes()
    common = ["restore", photo, "--bundle", bundle, "-q"]
    refused(call(*common, "-o", photo, "--overwrite"), "is an input")
    assert call(*common).code == 0
    refused(call(*common), "exists already", "--overwrite")
    assert call(*common, "--overwrite").code == 0
    mask = save(tmp_path / "m.png", picture(9, 9, channels=1))
    refused(call(*common, "--mask", mask, "-o", mask, "--overwrite"), "is an input")
    assert photo.read_bytes() == before


def test_bad_input_is_one_line_and_leaves_nothing(call: Call, bundle: Path, tmp_path: Path) -> None:
    good = save(tmp_path / "good.png", picture(9, 9))
    (tmp_path / "empty.jpg").write_bytes(b"")
    (tmp_path / "text.png").write_text("hello")
    whole = save(tmp_path / "whole.jpg", picture(90, 90)).read_bytes()
    (tmp_path / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    black = save(tmp_path / "black.png", np.zeros((9, 9), np.uint8))
    wrong = save(tmp_path / "wrong.png", np.full((9, 8), 255, np.uint8))
    (tmp_path / "folder").mkdir()
    before = names(tmp_path)
    cases: list[tuple[list[object], str]] = [
        ([tmp_path / "absent.jpg"], "does not exist"),
        ([tmp_path / "empty.jpg"], "is empty"),
        ([tmp_path / "text.png"], "is not a PNG"),
        ([tmp_path / "cut.jpg"], "cut short"),
        ([tmp_path / "folder"], "holds no photos"),
        ([good, "--mask", black], "all black"),
        ([good, "--mask", wrong], "8x9 pixels, the photo 9x9"),
        ([good, "--mask", tmp_path / "none.png"], "none.png does not exist"),
        ([good, "--mask", tmp_path / "folder"], "no mask for good.png"),
        ([good, "--steps", 3], "choose one of 2, 5"),
        ([good, "--seed", -1], "seed -1"),
        ([good, "--working-size", 0], "working size 0"),
        ([good, "--threads", 0], "0 threads"),
        ([good, "-o", tmp_path / "x.png", good], "one file for several photos"),
        ([good, good], "two results"),
        ([good, "--nonsense"], "--nonsense"),
        ([good, "--steps", "many"], "--steps"),
        ([], "PHOTO"),
    ]
    for words, expected in cases:
        refused(call("restore", *words, "--bundle", bundle), expected)
        assert names(tmp_path) == before
        assert names(tmp_path / "folder") == []
    refused(call("restore", good, "--bundle", tmp_path), "manifest.json")
    refused(call())


def test_a_batch_goes_on_after_a_bad_photo(call: Call, bundle: Path, tmp_path: Path) -> None:
    folder, masks = tmp_path / "in", tmp_path / "masks"
    folder.mkdir()
    masks.mkdir()
    for name in ("a.png", "b.JPG", "c.webp", "d.png"):
        save(folder / name.lower(), picture(12, 10)).rename(folder / name)
    (folder / "d.png").write_bytes(b"")
    (folder / "notes.txt").write_text("not a photo")
    for name in ("a.png", "b.png", "d.png"):
        save(masks / name, np.full((12, 10), 200, np.uint8))
    run = call("restore", folder, "--bundle", bundle, "-o", tmp_path / "out", "--mask", masks)
    assert run.code == 1
    assert names(tmp_path / "out") == ["a.restored.png", "b.restored.JPG"]
    assert run.out.count("\n") == 2
    errors = run.err.splitlines()
    assert len(errors) == 3
    assert "no mask for c.webp" in errors[0]
    assert all(str(folder) in error for error in errors[:2])
    assert "d.png is empty" in errors[1]
    assert "2 of 4 photos failed" in errors[2]


def test_earlier_results_in_a_folder_are_not_restored_again(call: Call, bundle: Path, tmp_path: Path) -> None:
    save(tmp_path / "a.png", picture(9, 9))
    words = ["restore", tmp_path, "--bundle", bundle, "--save-mask", tmp_path, "--overwrite"]
    for _ in range(2):
        assert call(*words).code == 0
        assert names(tmp_path) == ["a.mask.png", "a.png", "a.restored.png"]


def test_info(call: Call, bundle: Path, tmp_path: Path) -> None:
    run = call("info", bundle, "--check")
    assert run.code == 0
    assert "tiny" in run.out
    assert "2 (of 2, 5)" in run.out
    assert "golden check passed" in run.out
    run = call("info", bundle, "--json", "--check")
    assert json.loads(run.out)["name"] == "tiny"
    copy = Path(shutil.copytree(bundle, tmp_path / "b"))
    (copy / "denoiser.onnx").write_bytes(b"0" * (copy / "denoiser.onnx").stat().st_size)
    refused(call("info", copy), "denoiser.onnx", "damaged")


def test_info_says_what_was_measured(call: Call, bundle: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(bundle, tmp_path / "b"))
    manifest = load_bundle(copy).manifest
    differences = {"loop": Difference(1e-6, 1e-7, 140.25), "step 1": Difference(1e-3, 1e-3, 99.5)}
    measured = Verification("PyTorch", "2026-01-02T00:00:00+00:00", ["a.jpg"], differences, passed=True)
    failed = msgspec.structs.replace(measured, against="portable ONNX", passed=False)
    notes = [Note("half-weights", "approximate", "rounded", 71.25)]
    changes = {"verification": {"onnx": measured, "fast": failed}, "notes": notes}
    write_manifest(copy, msgspec.structs.replace(manifest, **changes))
    lines = call("info", copy).out.splitlines()
    assert "accuracy     onnx against PyTorch passed on 2026-01-02T00:00:00+00:00: loop 140.2 dB" in lines
    assert "accuracy     fast against portable ONNX FAILED on 2026-01-02T00:00:00+00:00: loop 140.2 dB" in lines
    assert "approximate  half-weights: rounded (costs: 71.2 dB)" in lines
    found = json.loads(call("info", copy, "--json").out)["verification"]["onnx"]
    assert found["differences"]["step 1"] == {"max_abs": 1e-3, "relative_l2": 1e-3, "psnr": 99.5}


def test_help_and_version(call: Call) -> None:
    for words in (["--help"], ["restore", "--help"], ["info", "--help"]):
        run = call(*words)
        assert run.code == 0
        assert "Usage: shadowdiffusion" in run.out
    assert call("--version").out.startswith("shadowdiffusion")


MISSING = """
import sys
sys.modules["onnxruntime"] = None
from runtime.cli import main
main()
"""


def test_a_missing_onnxruntime_is_one_clear_line(bundle: Path, tmp_path: Path) -> None:
    photo = save(tmp_path / "a.png", picture(9, 9))
    words = [sys.executable, "-c", MISSING, "restore", str(photo), "--bundle", str(bundle)]
    run = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert run.returncode == 2
    assert run.stderr.count("\n") == 1
    assert "pip install onnxruntime" in run.stderr


BLOCKED = (
    "torch",
    "triton",
    "onnx",
    "onnxscript",
    "safetensors",
    "training",
    "export",
    "kernels",
    "benchmarks",
)
ISOLATED = f"""
import sys
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {BLOCKED!r}:
            raise ImportError(name + " is not part of the runtime")
sys.meta_path.insert(0, Block())
from runtime.cli import main
main()
"""


def test_the_runtime_restores_with_everything_else_out_of_reach(bundle: Path, tmp_path: Path) -> None:
    photo = save(tmp_path / "a.jpg", picture(33, 65))
    words = [sys.executable, "-c", ISOLATED, "restore", str(photo), "--bundle", str(bundle)]
    run = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert (run.returncode, run.stderr) == (0, "")
    assert (tmp_path / "a.restored.jpg").exists()


def test_the_module_answers_help() -> None:
    words = [sys.executable, "-m", "runtime", "--help"]
    run = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (run.returncode, run.stderr) == (0, "")
    assert "restore" in run.stdout
