"""`shadowdiffusion-native` does what `shadowdiffusion restore` does, on real photos, and fails as well."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pyvips

from runtime.batch.notes import NOTES
from runtime.bundle.opening import load_bundle
from runtime.loop.native_loop import LOOP_BYTES, SHARE, network_bytes
from runtime.photo import Photo, encode_photo, read_photo, write_photo
from runtime.photo.metadata import EXIF, ICC
from tests.runtime.photo.profiles import ADOBE_RGB
from tests.runtime.photo.test_photo_metadata import exif, tagged_jpeg
from tests.runtime.tiny import picture, save

pytestmark = pytest.mark.xdist_group("native")

ROOT = Path(__file__).resolve().parents[3]
EXAMPLE = ROOT / "docs" / "example"
PHOTOS = sorted((ROOT / "tests" / "data" / "photos" / "val").glob("*.jpg"))
LEAST = 60.0
"""dB between the results of both, before a lossy format rounds them in its own way."""
SMALL = ("--working-size", "64", "--threads", "1")
KILLER = """
#define _GNU_SOURCE
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>
#define KILL static int calls; if (++calls == 3) kill(getpid(), SIGKILL)
#ifdef LINK
int link(const char *from, const char *to) { KILL; return linkat(AT_FDCWD, from, AT_FDCWD, to, 0); }
#else
int fsync(int file) { KILL; return fdatasync(file); }
#endif
"""

Run = Callable[..., "subprocess.CompletedProcess[bytes]"]


@pytest.fixture
def native(tool: Path) -> Run:
    """Runs the tool at a small working size; no traceback of any kind belongs on stderr."""

    def run(*words: object, **options: Any) -> subprocess.CompletedProcess[bytes]:
        command = [str(tool), *map(str, words), *SMALL]
        usual: dict[str, Any] = {"cwd": ROOT, "capture_output": True, "check": False, "timeout": 120}
        done: subprocess.CompletedProcess[bytes] = subprocess.run(command, **usual | options)
        assert b"terminate called" not in done.stderr
        return done

    return run


def python(*words: object) -> None:
    command = [sys.executable, "-m", "runtime", "restore", *map(str, words), *SMALL, "-q"]
    subprocess.run(command, cwd=ROOT, check=True, timeout=120)


def photos(folder: Path, count: int) -> Path:
    folder.mkdir()
    for index in range(count):
        save(folder / f"{index:03}.png", picture(9, 9, seed=index))
    return folder


def results(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if not path.name.startswith(".")]


def psnr(one: Path, two: Path) -> float:
    a, b = read_photo(one), read_photo(two)
    assert a.pixels.shape == b.pixels.shape
    assert a.pixels.dtype == b.pixels.dtype
    whole = np.iinfo(a.pixels.dtype).max
    error = float(np.mean((a.pixels / whole - b.pixels / whole) ** 2))
    return 200.0 if error == 0 else -10 * np.log10(error)


@pytest.mark.parametrize("photo", [*PHOTOS, EXAMPLE / "shadow.jpg"], ids=lambda path: path.stem)
def test_the_same_picture_and_metadata(native: Run, tmp_path: Path, photo: Path) -> None:
    for form in ("png", "tiff"):
        own, theirs = tmp_path / f"native.{form}", tmp_path / f"python.{form}"
        done = native(photo, "-o", own)
        assert (done.returncode, done.stderr) == (0, b"")
        python(photo, "-o", theirs)
        assert psnr(own, theirs) >= LEAST
        # libvips 8.18 makes a little EXIF for files that had none
        assert (
            read_photo(photo).metadata.keys() <= read_photo(own).metadata.keys() <= read_photo(theirs).metadata.keys()
        )
        assert read_photo(own).resolution == pytest.approx(read_photo(theirs).resolution, rel=0.01)


def test_the_same_extras(native: Run, tmp_path: Path) -> None:
    words = [
        EXAMPLE / "shadow.jpg",
        "--mask",
        EXAMPLE / "shadow.mask.png",
        "--strength",
        "0.7",
        "--seed",
        "7",
        "--compare",
    ]
    for folder, run in ((tmp_path / "n", native), (tmp_path / "p", python)):
        places = ["--save-mask", folder, "--save-illumination", folder]
        run(*words, "-o", folder / "a.png", *places)
    names = sorted(path.name for path in results(tmp_path / "n"))
    assert names == ["a.compare.jpg", "a.png", "shadow.illumination.png", "shadow.mask.png"]
    for name in names:
        assert psnr(tmp_path / "n" / name, tmp_path / "p" / name) >= LEAST


@pytest.mark.parametrize("share", [2.0, 0.7, 0.3, 0.05])
def test_full_size_on_the_same_tiles_as_memory_gets_short(tool: Path, tmp_path: Path, share: float) -> None:
    """Both are shown a machine with so much memory, as a share of what the networks are said to take."""
    model = load_bundle().manifest.model
    free = (LOOP_BYTES + share * network_bytes(model)) * 504 * 384 / SHARE
    memory = tmp_path / "meminfo"
    memory.write_text(f"MemAvailable: {int(free / 1024) + 1} kB\n")
    hidden = ["unshare", "--mount", "--map-root-user", "sh", "-c"]
    hidden.append(f'mount --bind "{memory}" /proc/meminfo && exec "$@"')
    if subprocess.run([*hidden, "sh", "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip("/proc/meminfo cannot be replaced here: needs unshare and mount namespaces")
    programs = [str(tool)], [sys.executable, "-m", "runtime", "restore"]
    own, theirs = tmp_path / "native.png", tmp_path / "python.png"
    records, lines = [], []
    for program, out in zip(programs, (own, theirs), strict=True):
        words = [EXAMPLE / "shadow.jpg", "--native", "--steps", "2", "--json", "-o", out]
        done = subprocess.run([*hidden, "sh", *program, *map(str, words)], cwd=ROOT, capture_output=True, check=True)
        records.append(json.loads(done.stdout))
        lines.append(done.stderr.decode().splitlines())
    assert lines[0] == lines[1]
    assert len(lines[0]) == (share < 1)
    assert records[0]["tile"] == records[1]["tile"]
    assert records[0]["settings"] == records[1]["settings"]
    assert (records[0]["tile"] is None) == (share > 1)
    assert psnr(own, theirs) >= LEAST


@pytest.mark.parametrize("kind", ["wide", "deep", "alpha", "grey", "turned"])
def test_the_same_of_every_kind(native: Run, tmp_path: Path, kind: str) -> None:
    pixels = read_photo(PHOTOS[0]).pixels[:160, :200]
    suffix = ".tif" if kind == "deep" else ".png"
    source, own, theirs = (tmp_path / f"{name}{suffix}" for name in ("in", "native", "python"))
    if kind == "wide":
        profile = ADOBE_RGB.icc()
        write_photo(source, Photo(pixels, metadata={ICC: (pyvips.GValue.blob_type, profile)}))
    elif kind == "deep":
        write_photo(source, Photo(pixels.astype(np.uint16) * 257))
    elif kind == "alpha":
        write_photo(source, Photo(pixels, alpha=pixels[..., 1].copy()))
    elif kind == "grey":
        write_photo(source, Photo(pixels[..., 1].copy()))
    else:
        source = tmp_path / "in.jpg"
        source.write_bytes(tagged_jpeg(exif("<", orientation=6), pixels))
    assert native(source, "-o", own).returncode == 0
    python(source, "-o", theirs)
    assert psnr(own, theirs) >= LEAST
    one, two = read_photo(own), read_photo(theirs)
    assert one.profile == two.profile
    assert (one.alpha is None) == (two.alpha is None)
    assert one.alpha is None or np.array_equal(one.alpha, pixels[..., 1])
    if kind == "turned":
        assert one.pixels.shape[:2] == (pixels.shape[1], pixels.shape[0])
        assert EXIF in one.metadata


def test_a_folder_is_mirrored_and_a_bad_photo_does_not_stop_the_others(native: Run, tmp_path: Path) -> None:
    source, out = tmp_path / "in", tmp_path / "out"
    (source / "below").mkdir(parents=True)
    for name in ("a.png", "below/b.tif", "c.restored.png", ".hidden.png"):
        save(source / name, picture(12, 16))
    (source / "bad.jpg").write_bytes(b"\xff\xd8\xff rubbish")
    done = native(source, "-o", out, "--json")
    assert done.returncode == 1
    records = {Path(record["input"]).name: record for record in map(json.loads, done.stdout.splitlines())}
    assert {name: record["status"] for name, record in records.items()} == {
        "a.png": "restored", "b.tif": "restored", "bad.jpg": "failed",
    }  # fmt: skip
    assert done.stderr.decode().splitlines() == [
        f"error: {records['bad.jpg']['error']}", "error: 1 of 3 photos failed",
    ]  # fmt: skip
    made = {NOTES, "a.png", "below/b.tif", f"below/{NOTES}"}
    assert {str(path.relative_to(out)) for path in out.rglob("*.*")} == made
    again = native(source, "-o", out)
    assert again.returncode == 1
    assert again.stdout.count(b"(done before)") == 2
    os.unlink(out / NOTES)
    assert b"it exists already (--overwrite replaces it)" in native(source / "a.png", "-o", out).stderr
    assert native(source / "a.png", "-o", out, "--overwrite").returncode == 0


def test_through_pipes(native: Run, tmp_path: Path) -> None:
    photo = save(tmp_path / "a.jpg", picture(33, 65))
    assert native(photo).returncode == 0
    done = native("-", input=photo.read_bytes())
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout == (tmp_path / "a.restored.jpg").read_bytes()
    for data, message in (
        (b"", "stdin is empty"),
        (b"hello", "stdin is not a PNG"),
        (photo.read_bytes()[:900], "stdin is"),
    ):
        done = native("-", input=data)
        assert (done.returncode, done.stdout, done.stderr.count(b"\n")) == (1, b"", 1)
        assert message in done.stderr.decode()


BAD: list[tuple[list[str], int, str]] = [
    (["absent.jpg"], 1, "absent.jpg does not exist"),
    (["{folder}/text.jpg"], 1, "is not a PNG, JPEG, WebP or TIFF image"),
    (["{folder}/empty.png"], 1, "is empty"),
    (["{folder}/cut.png"], 1, "is damaged or cut short"),
    (["{folder}/good.png", "--mask", "{folder}/other.png"], 1, "mask is 9x9 pixels, the photo 16x12"),
    (["{folder}/good.png", "--mask", "{folder}/black.png"], 1, "mask is all black"),
    (["{folder}/good.png", "-o", "{folder}/other.png"], 1, "it exists already (--overwrite replaces it)"),
    (["{folder}/good.png", "-o", "{folder}/text.jpg/a.png"], 1, "cannot write"),
    (["{folder}/clip.mp4"], 1, "videos are restored by the Python program"),
    ([], 2, "PHOTO is required"),
    (["{folder}/good.png", "--strength", "2"], 2, "--strength"),
    (["{folder}/good.png", "--steps", "7"], 2, "steps"),
    (["{folder}/good.png", "--seed", "-1"], 2, "--seed"),
    (["{folder}/good.png", "--seed", "18446744073709551616"], 2, "--seed"),
    (["{folder}/good.png", "--quality", "0"], 2, "--quality"),
    (["{folder}/good.png", "--format", "png", "--quality", "9"], 2, "png is lossless and has no quality"),
    (["{folder}/good.png", "--task", "colour"], 2, "--task"),
    (["{folder}/good.png", "--bundle", "{folder}"], 2, "manifest.json"),
    (["{folder}/good.png", "--bundle", "absent"], 2, "bundle absent does not exist"),
    (["{folder}/good.png", "--mask", "absent.png"], 2, "mask absent.png does not exist"),
    (["{folder}", "-o", "one.png"], 2, "is one file for"),
    (["{folder}/good.png", "-o", "-", "--json"], 2, "cannot both go to stdout"),
    (["{folder}/good.png", "--native", "--working-size", "9"], 2, "leave out --working-size 9"),
    (["{folder}/good.png", "--device", "cuda"], 2, "use the Python program shadowdiffusion"),
    (["{folder}/good.png", "--unknown"], 2, "--unknown"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("words", "code", "message"), BAD, ids=lambda value: " ".join(value) if isinstance(value, list) else ""
)
def test_bad_input_is_one_line_and_writes_nothing(
    tool: Path, tmp_path: Path, words: list[str], code: int, message: str
) -> None:
    save(tmp_path / "good.png", picture(12, 16))
    save(tmp_path / "other.png", picture(9, 9))
    save(tmp_path / "black.png", np.zeros((12, 16), np.uint8))
    (tmp_path / "cut.png").write_bytes((tmp_path / "good.png").read_bytes()[:-40])
    (tmp_path / "text.jpg").write_text("not an image")
    (tmp_path / "empty.png").touch()
    (tmp_path / "clip.mp4").touch()
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    command = [str(tool), *(word.format(folder=tmp_path) for word in words)]
    done = subprocess.run(command, capture_output=True, check=False, timeout=120)
    assert (done.returncode, done.stdout) == (code, b""), done.stderr
    assert done.stderr.count(b"\n") == 1
    assert done.stderr.startswith(b"error: ")
    assert message in done.stderr.decode()
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def heed_interrupts() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_it_leaves_whole_results_only(tool: Path, tmp_path: Path, number: int) -> None:
    source, out = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    for index in range(60):
        save(source / f"{index:03}.png", picture(40, 40, seed=index))
    process = subprocess.Popen(
        [tool, source, "-o", out, *SMALL], stdout=subprocess.PIPE, stderr=subprocess.PIPE, preexec_fn=heed_interrupts
    )
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    done = results(out)
    assert 1 <= len(done) < 60
    assert errors.decode() == f"interrupted: {len(done)} of 60 photos are done, run again for the rest\n"
    assert len(list(out.iterdir())) == len(done) + 1
    for path in done:
        assert read_photo(path).pixels.shape == (40, 40, 3)
    again = subprocess.run([tool, source, "-o", out, *SMALL], capture_output=True, check=False, timeout=120)
    assert (again.returncode, again.stdout.count(b"(done before)")) == (0, len(done))
    assert len(results(out)) == 60


@pytest.mark.parametrize("call", ["FSYNC", "LINK"])
def test_killed_while_writing_it_leaves_no_part_and_goes_on(tool: Path, tmp_path: Path, call: str) -> None:
    """The third call of fsync or link ends the process, by a library that is loaded before the others."""
    killer = tmp_path / "killer.so"
    source, out = photos(tmp_path / "in", 5), tmp_path / "out"
    (tmp_path / "killer.c").write_text(KILLER)
    compiler = ["c++", "-x", "c", "-shared", "-fPIC", f"-D{call}", "-o", killer.name, "killer.c"]
    subprocess.run(compiler, cwd=tmp_path, check=True, capture_output=True)
    command: list[str | Path] = [tool, source, "-o", out, *SMALL]
    environment = os.environ | {"LD_PRELOAD": str(killer)}
    killed = subprocess.run([*command, "--jobs", "1"], env=environment, check=False, capture_output=True, timeout=120)
    assert killed.returncode == -signal.SIGKILL
    assert {path.name for path in results(out)} == {"000.png", "001.png"}
    assert len(os.listdir(out)) == 2 + 3  # notes, a temporary file, a lock
    done = subprocess.run([*command, "--json"], check=True, capture_output=True, timeout=120)
    statuses = [json.loads(line)["status"] for line in done.stdout.splitlines()]
    assert sorted(statuses) == ["restored"] * 3 + ["skipped"] * 2
    assert len(results(out)) == 5
    assert len(os.listdir(out)) == 5 + 1  # and the notes


@pytest.mark.parametrize("mixed", [False, True])
def test_two_processes_share_the_work(tool: Path, tmp_path: Path, mixed: bool) -> None:
    """Two of this tool, or one of it and one of the Python runtime."""
    source, out = photos(tmp_path / "in", 40), tmp_path / "out"
    other = [sys.executable, "-m", "runtime", "restore"] if mixed else [str(tool)]
    words = [str(source), "-o", str(out), "--json", *SMALL]
    runs = [subprocess.Popen([*begin, *words], cwd=ROOT, stdout=subprocess.PIPE) for begin in (other, [str(tool)])]
    records = [json.loads(line) for run in runs for line in run.communicate(timeout=120)[0].splitlines()]
    assert [run.returncode for run in runs] == [0, 0]
    assert len(records) == 80
    made = [record["output"] for record in records if record["status"] == "restored"]
    assert len(made) == len(set(made)) == 40  # nothing twice
    assert {record["status"] for record in records} <= {"restored", "skipped"}
    assert len(results(out)) == 40
    assert len(os.listdir(out)) == 40 + 1


@pytest.mark.parametrize("first", ["python", "native"])
def test_what_one_runtime_has_done_the_other_knows(tool: Path, tmp_path: Path, first: str) -> None:
    """Names, masks and settings of any kind, and bundles whose numbers have digits of any number."""
    source, masks, out, own = (tmp_path / name for name in ("in", "masks", "out", "bundle"))
    shutil.copytree(ROOT / "runtime" / "bundles" / "shadow", own)
    manifest = json.loads((own / "manifest.json").read_text())
    odd = iter([1e-5, 1.5e-5, 1e-6, 123456789012345.0, 1e15, 9007199254740993.0, 1.5e16, 1e22, 0.1 + 0.2, 5e-324, 7])
    for step in (step for key, table in manifest["sampling"]["tables"].items() if key != "2" for step in table):
        step["rho"] = next(odd, step["rho"])
    manifest["sampling"] |= {"eta": 0, "rho_gamma": -1e-7, "rho_schedule": "linear"}
    manifest["model"]["denoiser_size"] = 'sm"ll\\/\n\x01\x7f é 写 \U0001f44d'
    (own / "manifest.json").write_text(json.dumps(manifest))
    for folder in (source, masks):
        folder.mkdir()
    for name in ("plain.png", "Grüße 写真 \U0001f44d.jpg", "caf\udce9\n.png", "\\udce9.png", '"it".tif'):
        suffix = name[-4:]
        save(tmp_path / f"a{suffix}", picture(20, 24)).rename(source / name)
        save(tmp_path / "m.png", np.full((20, 24), 255, np.uint8)).rename(masks / f"{name[:-4]}.png")
    words = ["--mask", masks, "--seed", 2**64 - 1, "--steps", 2, "--native", "--compare", "--bundle", own, "-o", out]
    programs = {"native": [str(tool)], "python": [sys.executable, "-m", "runtime", "restore"]}
    names = [first, *(programs.keys() - {first})]

    def run(name: str, *more: object) -> subprocess.CompletedProcess[bytes]:
        command = [*programs[name], *map(str, (source, *words, *more))]
        return subprocess.run(command, cwd=ROOT, capture_output=True, check=False, timeout=120)

    for name, status in zip(names, ("restored", "skipped"), strict=True):
        done = run(name, "--strength", "0.7", "--json")
        assert (done.returncode, done.stderr) == (0, b"")
        assert [json.loads(line)["status"] for line in done.stdout.splitlines()] == [status] * 5
    done = run(names[1], "--strength", "0.00001", "-q")
    assert done.returncode == 1
    assert done.stderr.count(b"it exists already, made with strength 0.7 (--overwrite replaces it)") == 5
    assert run(names[1], "--strength", "0.7", "--force").stdout.count(b"done before") == 0


def test_folders_and_files_without_permission(tool: Path, unprivileged: Path) -> None:
    photo = save(unprivileged / "a.png", picture(9, 9))
    (unprivileged / "out").mkdir(mode=0o555)
    for out in ("out", "out/new"):
        command: list[str | Path] = [tool, photo, "-o", unprivileged / out, *SMALL]
        done = subprocess.run(command, check=False, capture_output=True, timeout=120)
        assert done.returncode == 1
        assert done.stderr.count(b"\n") == 1
        assert done.stderr.endswith(b"Permission denied\n")
    assert os.listdir(unprivileged / "out") == []


def test_a_full_disk_costs_only_what_does_not_fit(native: Run, tmp_path: Path) -> None:
    source, out = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    for name, size in (("a.png", 9), ("b.png", 90), ("c.png", 9), ("d.jpg", 200), ("e.tif", 120)):
        save(source / name, np.random.default_rng(0).integers(0, 256, (size, size, 3), np.uint8))
    done = native(source, "-o", out, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000)))
    assert done.returncode == 1
    assert sorted(path.name for path in out.iterdir()) == [NOTES, "a.png", "c.png"]
    lines = done.stderr.decode().splitlines()
    assert len(lines) == 4
    assert all("cannot write" in line and line.endswith("File too large") for line in lines[:-1])
    assert lines[-1] == "error: 3 of 5 photos failed"


def test_nobody_reads_stdout(tool: Path, tmp_path: Path) -> None:
    photo = save(tmp_path / "a.png", picture(9, 9))
    reader, writer = os.pipe()
    os.close(reader)
    process = subprocess.Popen([tool, photo, "-o", "-", *SMALL], stdout=writer, stderr=subprocess.PIPE)
    os.close(writer)
    _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (128 + signal.SIGPIPE, b"")
    with open("/dev/full", "wb") as full:
        done = subprocess.run([tool, photo, "-o", "-", *SMALL], stdout=full, stderr=subprocess.PIPE, check=False)
    assert (done.returncode, done.stderr) == (1, b"error: cannot write to stdout: No space left on device\n")


def test_masks_of_a_folder_and_any_name(native: Run, tmp_path: Path) -> None:
    source, masks = tmp_path / "in", tmp_path / "masks"
    source.mkdir()
    masks.mkdir()
    names = ["Grüße 写真.png", "with space.png"]
    for name in names:
        save(source / name, picture(20, 24))
        save(masks / name, np.full((20, 24), 255, np.uint8))
    done = native(source, "-o", tmp_path / "out", "--mask", masks)
    assert (done.returncode, done.stderr) == (0, b"")
    assert {path.name for path in results(tmp_path / "out")} == set(names)
    shutil.copy(masks / names[1], masks / "with space.tif")
    assert b"exactly one is needed" in native(source, "-o", tmp_path / "more", "--mask", masks).stderr


def test_a_damaged_file_is_refused_by_both_or_by_none(native: Run, tmp_path: Path) -> None:
    whole = encode_photo(Photo(picture(24, 24)), "jpeg")
    for index, length in enumerate(range(100, len(whole), 97)):
        path = tmp_path / f"{index}.jpg"
        path.write_bytes(whole[:length])
    done = native(tmp_path, "-o", tmp_path / "out")
    assert done.returncode == 1
    assert not (tmp_path / "out").exists()
