from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import msgspec
import numpy as np
import pytest

from shadowdiffusion.runtime.bundle.folder import Difference, Note, Verification, write_manifest
from shadowdiffusion.runtime.bundle.opening import load_bundle
from shadowdiffusion.runtime.loop import tiled_loop as native
from tests.deadlines import LONGEST
from tests.runtime.commands.command_line import Call, names, refused
from tests.runtime.tiny import load_pixels, picture, save

ROOT = Path(__file__).resolve().parents[3]


def test_restoring_one_photo(call: Call, bundle: Path, tmp_path: Path) -> None:
    for suffix in (".jpg", ".png", ".webp", ".tif"):
        photo = save(tmp_path / f"a{suffix}", picture(33, 65))
        run = call("restore", photo, "--bundle", bundle, "--threads", 1, "--device", "cpu")
        assert (run.code, run.err) == (0, "")
        assert run.out.count("\n") == 2
        assert run.out.endswith("\nrestored by onnxruntime on the CPU, fp32\n")
        assert f"a{suffix} -> {tmp_path}/a.restored{suffix} (" in run.out
        assert load_pixels(tmp_path / f"a.restored{suffix}").shape == (33, 65, 3)
    assert len(list(tmp_path.iterdir())) == 2 * 4 + 1  # and the notes


def test_alpha_is_untouched_and_depth_kept(call: Call, bundle: Path, tmp_path: Path) -> None:
    rgba = picture(20, 30, np.uint16, 4)
    save(tmp_path / "a.png", rgba)
    assert call("restore", tmp_path / "a.png", "--bundle", bundle, "-q").code == 0
    result = load_pixels(tmp_path / "a.restored.png")
    assert result.dtype == np.uint16
    assert np.array_equal(result[..., 3], rgba[..., 3])
    assert not np.array_equal(result, rgba)


def test_what_is_written_where(call: Call, bundle: Path, tmp_path: Path) -> None:
    photo = save(tmp_path / "a.png", picture(20, 30))
    mask = save(tmp_path / "m.png", picture(20, 30, channels=1))
    common = ["restore", photo, "--bundle", bundle, "--steps", 5, "-q"]
    new = tmp_path / "new"
    extras = ["--save-mask", new / "m.png", "--save-illumination", new, "--compare"]
    assert call(*common, "-o", new / "x.tif", *extras).code == 0
    assert names(new) == ["a.illumination.png", "m.png", "x.compare.jpg", "x.tif"]
    assert load_pixels(new / "m.png").shape == (20, 30)
    assert load_pixels(new / "x.compare.jpg").shape == (20, 68, 3)
    light = load_pixels(new / "a.illumination.png")
    assert light.shape == (20, 30, 3)
    assert light.dtype == np.uint16
    assert call(*common, "-o", tmp_path / "dir", "--mask", mask, "--format", "webp", "--quality", 50).code == 0
    assert names(tmp_path / "dir") == ["a.webp"]


def test_settings_reach_the_result(call: Call, bundle: Path, tmp_path: Path) -> None:
    pixels = picture(60, 90)
    photo = save(tmp_path / "a.png", pixels)

    def result(*words: object) -> bytes:
        assert call("restore", photo, "--bundle", bundle, "-o", tmp_path / "x.png", "--overwrite", *words).code == 0
        return (tmp_path / "x.png").read_bytes()

    plain = result()
    assert result("--seed", 0, "--strength", 1, "--task", "shadow", "--force") == plain
    choices = [("--seed", 1), ("--steps", 5), ("--strength", 0.5), ("--working-size", 40), ("--native",)]
    others = [result(*words) for words in choices]
    assert len({plain, *others}) == 6
    result("--strength", 0)
    assert np.array_equal(load_pixels(tmp_path / "x.png"), pixels)


def test_native_past_the_memory_is_told_once_and_recorded(
    call: Call, bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(native, "available_memory", lambda: 300 * 400 * 700)
    monkeypatch.setattr(native, "own_memory", lambda: 0)
    monkeypatch.setattr(native, "network_bytes", lambda model: 1000.0)
    (tmp_path / "in").mkdir()
    for name in ("a.png", "b.png"):
        save(tmp_path / "in" / name, picture(300, 400))
    save(tmp_path / "in/small.png", picture(30, 40))
    words = ["restore", tmp_path / "in", "--bundle", bundle, "-o", tmp_path / "out", "--native", "--json"]
    run = call(*words)
    assert run.code == 0
    assert run.err.count("\n") == 1
    told = r"warning: native size 400x304 is run on \dx\d overlapping tiles of \d+x\d+ pixels, .*: 400x304 needs"
    assert re.match(told, run.err)
    records = {Path(record["input"]).name: record for record in map(json.loads, run.out.splitlines())}
    assert records["a.png"]["tile"] == records["b.png"]["tile"]
    assert max(records["a.png"]["tile"]) < 400
    assert records["small.png"]["tile"] is None
    assert {record["settings"]["working_size"] for record in records.values()} == {"native"}
    notes = (tmp_path / "out/.shadowdiffusion.jsonl").read_text().splitlines()
    assert {json.loads(line)["settings"]["working_size"] for line in notes} == {"native"}
    assert call(*words).out.count('"skipped"') == 3


def test_native_that_cannot_be_had_fails_that_photo_in_one_line(
    call: Call, bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(native, "available_memory", lambda: 1000)
    photo = save(tmp_path / "a.png", picture(300, 400))
    run = call("restore", photo, "--bundle", bundle, "-o", tmp_path / "out", "--native")
    refused(run, "a.png", "400x304 pixels do not fit into memory", "leave out native", code=1)
    assert names(tmp_path / "out") == []


def test_a_folder_is_mirrored_and_done_once(call: Call, bundle: Path, tmp_path: Path) -> None:
    for name in ("a.png", "sub/b.png", "sub/deep/c.png"):
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        save(tmp_path / "in" / name, picture(9, 9))
    words = ["restore", tmp_path / "in", "--bundle", bundle, "-o", tmp_path / "in/out"]
    first, second = call(*words), call(*words)
    assert (first.code, second.code) == (0, 0)
    results = [f"{tmp_path}/in/out/{name}" for name in ("a.png", "sub/b.png", "sub/deep/c.png")]
    assert sorted(line.split(" -> ")[1].split(" (")[0] for line in first.out.splitlines()[:-1]) == results
    assert [line.split(" -> ")[1] for line in sorted(second.out.splitlines())] == [
        f"{path} (done before)" for path in results
    ]
    os.unlink(results[1])
    third = call(*words, "--json")
    statuses = {record["output"]: record["status"] for record in map(json.loads, third.out.splitlines())}
    assert [statuses[path] for path in results] == ["skipped", "restored", "skipped"]


def test_records(call: Call, bundle: Path, tmp_path: Path) -> None:
    photo = save(tmp_path / "plain.png", picture(9, 12)).rename(tmp_path / "caf\udce9\n.png")
    (tmp_path / "bad.jpg").write_bytes(b"")
    words = ["restore", photo, tmp_path / "bad.jpg", tmp_path / "x*.png", "--bundle", bundle, "--json", "--compare"]
    run = call(*words, "-o", tmp_path / "out")
    assert run.code == 1
    assert all(line.startswith("error: ") for line in run.err.splitlines())
    records = {Path(record["input"]).name: record for record in map(json.loads, run.out.splitlines())}
    assert set(records) == {photo.name, "bad.jpg", "x*.png"}
    good = records[photo.name]
    assert (good["status"], good["width"], good["height"], good["error"]) == ("restored", 12, 9, None)
    assert good["settings"] == {"steps": 2, "seed": 0, "strength": 1.0, "working_size": 48}
    assert set(good["timings"]) == {"read", "prepare", "prior", "diffusion", "full size", "write"}
    assert good["output"] == f"{tmp_path}/out/{photo.name}"
    assert set(good["extras"]) == {"compare"}
    assert records["bad.jpg"]["status"] == "failed"
    assert "is empty" in records["bad.jpg"]["error"]
    assert records["x*.png"]["error"] == "matches no photos or videos"


def test_existing_results_and_inputs_are_safe(call: Call, bundle: Path, tmp_path: Path) -> None:
    photo = save(tmp_path / "a.png", picture(9, 9))
    before = photo.read_bytes()
    common = ["restore", photo, "--bundle", bundle, "-q"]
    refused(call(*common, "-o", photo), "is the photo itself", "--overwrite", code=1)
    assert photo.read_bytes() == before
    assert call(*common).code == 0
    refused(call(*common, "--seed", 1), "exists already, made with seed 0", "--overwrite", code=1)
    assert call(*common, "--seed", 1, "--overwrite").code == 0
    mask = save(tmp_path / "m.png", picture(9, 9, channels=1))
    refused(call(*common, "--mask", mask, "-o", mask, "--overwrite"), "is the mask", code=1)
    assert photo.read_bytes() == before
    assert call(*common, "-o", photo, "--overwrite").code == 0
    assert photo.read_bytes() != before


def test_bad_photos_are_one_line_and_leave_nothing(call: Call, bundle: Path, tmp_path: Path) -> None:
    good = save(tmp_path / "good.png", picture(9, 9))
    (tmp_path / "empty.jpg").write_bytes(b"")
    (tmp_path / "text.png").write_text("hello")
    (tmp_path / "notes.txt").write_bytes(b"\0\0\0\x18ftypmp42")
    whole = save(tmp_path / "whole.jpg", picture(90, 90)).read_bytes()
    (tmp_path / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    black = save(tmp_path / "black.png", np.zeros((9, 9), np.uint8))
    wrong = save(tmp_path / "wrong.png", np.full((9, 5), 255, np.uint8))
    (tmp_path / "folder").mkdir()
    before = sorted(os.listdir(tmp_path))
    cases: list[tuple[list[object], str]] = [
        ([tmp_path / "absent.jpg"], "does not exist"),
        ([tmp_path / "empty.jpg"], "is empty"),
        ([tmp_path / "text.png"], "is not a PNG"),
        ([tmp_path / "notes.txt"], "ends in none of .jpg"),
        ([tmp_path / "notes.txt", "--format", "png"], "is not a PNG"),
        ([tmp_path / "cut.jpg"], "cut short"),
        ([tmp_path / "folder"], "holds no photos"),
        ([tmp_path / "a*b.jpg"], "matches no photos"),
        ([good, "--mask", black], "all black"),
        ([good, "--mask", wrong], "5x9 pixels, the photo 9x9"),
        ([good, "--clean", wrong], "5x9 pixels, the photo 9x9"),
        ([good, "--mask", good], "cannot be its own mask"),
        ([good, "--mask", tmp_path / "folder"], "no mask for"),
    ]
    for words, expected in cases:
        refused(call("restore", *words, "--bundle", bundle), expected, code=1)
        assert sorted(os.listdir(tmp_path)) == before
        assert names(tmp_path / "folder") == []


def test_bad_usage_is_one_line_and_leaves_nothing(call: Call, bundle: Path, tmp_path: Path) -> None:
    good, other = save(tmp_path / "good.png", picture(9, 9)), save(tmp_path / "other.png", picture(9, 9))
    before = sorted(os.listdir(tmp_path))
    cases: list[tuple[list[object], str]] = [
        ([good, "--mask", tmp_path / "none.png"], "none.png does not exist"),
        ([good, other, "--clean", good], "one file for 2 photos: give a folder of estimates"),
        ([good, "--clean", tmp_path / "none.png"], "clean estimate {} does not exist".format(tmp_path / "none.png")),
        ([good, "--steps", 3], "choose one of 2, 5"),
        ([good, "--seed", -1], "--seed"),
        ([good, "--seed", 1 << 64], "seed 18446744073709551616"),
        ([good, "--working-size", 0], "--working-size"),
        ([good, "--working-size", 40, "--native"], "leave out --working-size 40"),
        ([good, "--strength", 1.5], "--strength"),
        ([good, "--strength", "nan"], "strength nan is out of range"),
        ([good, "--quality", 101], "--quality"),
        ([good, "--format", "png", "--quality", 90], "lossless"),
        ([good, "--format", "gif"], "--format"),
        ([good, "--threads", 0], "--threads"),
        ([good, "--jobs", 0], "--jobs"),
        ([good, "--task", "exposure"], "is for shadow, not for --task exposure"),
        ([good, "--backend", "tensorrt", "--device", "cpu"], "GPU only"),
        ([good, "-o", tmp_path / "x.png", other], "one file for 2 photos"),
        ([good, "-o", tmp_path / "x.jpg", "--format", "png"], "its name says jpeg"),
        ([good, "--nonsense"], "--nonsense"),
        ([good, "--steps", "many"], "--steps"),
        ([], "PHOTO"),
    ]
    for words, expected in cases:
        refused(call("restore", *words, "--bundle", bundle), expected)
        assert sorted(os.listdir(tmp_path)) == before
    refused(call("restore", good, "--bundle", tmp_path), "manifest.json")
    refused(call("restore", good, "--task", "low-light", "--bundle", bundle), "is for shadow, not for --task low-light")
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
        save(masks / name, (np.arange(10) > 5) * np.full((12, 1), 255, np.uint8))
    run = call("restore", folder, "--bundle", bundle, "-o", tmp_path / "out", "--mask", masks)
    assert run.code == 1
    assert names(tmp_path / "out") == ["a.png", "b.JPG"]
    assert run.out.count("\n") == 3
    errors = run.err.splitlines()
    assert len(errors) == 3
    assert all(str(folder) in error for error in errors[:2])
    assert any("no mask for" in error and "c.webp" in error for error in errors[:2])
    assert any("d.png is empty" in error for error in errors[:2])
    assert errors[2] == "error: 2 of 4 photos failed"


def test_odd_names_work_and_messages_stay_one_line(call: Call, bundle: Path, tmp_path: Path) -> None:
    plain = save(tmp_path / "plain.png", picture(9, 9))
    odd = ["new\nline.png", "caf\udce9.png", 'it\'s "so".png', "-dash.png", "a b\t\x1b[31m.png", "[*]?.png"]
    (tmp_path / "in").mkdir()
    for name in odd:
        os.link(plain, tmp_path / "in" / name)
    run = call("restore", tmp_path / "in", "--bundle", bundle, "-o", tmp_path / "out")
    assert (run.code, run.err) == (0, "")
    assert run.out.count("\n") == len(odd) + 1
    assert sorted(os.listdir(tmp_path / "out")) == sorted([".shadowdiffusion.jsonl", *odd])
    for shown in ("new\\nline.png", "caf\\xe9.png", "a b\\t\\x1b[31m.png"):
        assert shown in run.out
    run = call("restore", "--bundle", bundle, "--", *(f"{tmp_path}/in/{name}" for name in odd), "-no\nsuch\udcff.png")
    assert run.code == 1
    assert run.out.count("\n") == len(odd) + 1
    assert run.err == "error: -no\\nsuch\\xff.png does not exist\nerror: 1 of 7 photos failed\n"


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


def test_help_of_restore_has_sections_and_examples_that_can_be_run(call: Call) -> None:
    text = call("restore", "--help").out
    sections = [line[:-1] for line in text.splitlines() if line and line[0] != " " and line.endswith(":")]
    assert sections == ["Photos", "Results", "Restoration", "Model and machine", "Run", "Options", "Examples"]
    for example in text[text.index("Examples:") :].splitlines()[1:]:
        words = shlex.split(example.split("   ")[0].split(" <")[0].split(" >")[0])
        assert words[:2] == ["shadowdiffusion", "restore"]
        flags = [word for word in words if word.startswith("--")]
        assert all(f"{flag} " in text for flag in flags)


MISSING = """
import sys
sys.modules["onnxruntime"] = None
from shadowdiffusion.runtime.commands.cli import main
main()
"""


def test_a_missing_onnxruntime_is_one_clear_line(bundle: Path, tmp_path: Path) -> None:
    photo = save(tmp_path / "a.png", picture(9, 9))
    words = [sys.executable, "-c", MISSING, "restore", str(photo), "--bundle", str(bundle)]
    run = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=LONGEST)
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
        if name.removeprefix("shadowdiffusion.").split(".")[0] in {BLOCKED!r}:
            raise ImportError(name + " is not part of the runtime")
sys.meta_path.insert(0, Block())
from shadowdiffusion.runtime.commands.cli import main
main()
"""


def test_the_runtime_restores_with_everything_else_out_of_reach(bundle: Path, tmp_path: Path) -> None:
    photo = save(tmp_path / "a.jpg", picture(33, 65))
    words = [sys.executable, "-c", ISOLATED, "restore", str(photo), "--bundle", str(bundle)]
    run = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=LONGEST)
    assert (run.returncode, run.stderr) == (0, "")
    assert (tmp_path / "a.restored.jpg").exists()


def test_the_module_answers_help() -> None:
    words = [sys.executable, "-m", "runtime", "--help"]
    run = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=LONGEST)
    assert (run.returncode, run.stderr) == (0, "")
    assert "restore" in run.stdout


@pytest.mark.parametrize(
    ("name", "module", "words"),
    [
        ("export", "export", ["--help"]),
        ("export", "export", ["inspect", "shadow", "--json"]),
        ("export", "export", ["inspect", "missing"]),
        ("export", "export", ["inspect"]),
        ("train", "training", ["evaluate", "--help"]),
        ("bench", "benchmarks", ["kernels", "--help"]),
    ],
)
def test_one_command_has_everything(name: str, module: str, words: list[str]) -> None:
    runs = [
        subprocess.run(
            [sys.executable, "-m", *start, *words], cwd=ROOT, capture_output=True, text=True, timeout=LONGEST
        )
        for start in (["runtime", name], [module])
    ]
    for run in runs:
        assert run.returncode == (2 if words[-1] in ("missing", "inspect") else 0)
    one, other = (
        " ".join((run.stdout + run.stderr).replace(f"python -m {module}", f"shadowdiffusion {name}").split())
        for run in runs
    )
    assert one == other
