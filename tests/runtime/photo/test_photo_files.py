"""Photos and the file system: awkward names, targets that must not be written, and writes that fail half-way."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shadowdiffusion.runtime.errors import PhotoError
from shadowdiffusion.runtime.photo import Photo, check_target, read_photo, write_photo
from tests.deadlines import LONGEST
from tests.runtime.tiny import picture, save

NAMES = [
    b"with space.png",
    b"new\nline.png",
    b"'quotes\" and \\.png",
    b"-dash[Q=1].png",
    "Grüße 写真.png".encode(),
    b"latin caf\xe9 \xff.png",
    b"n" * 237 + b".png",
    b"n" * 251 + b".png",
    "ü".encode() * 125 + b".png",
]


@pytest.mark.parametrize("name", NAMES)
def test_any_name_works(tmp_path: Path, name: bytes) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name))
    array = picture(6, 7)
    write_photo(path, Photo(array))
    assert np.array_equal(read_photo(path).pixels, array)
    with pytest.raises(PhotoError, match="exists already"):
        check_target(path, overwrite=False)
    assert os.listdir(os.fsencode(tmp_path)) == [name]
    path.write_bytes(b"\x89PNG\r\n\x1a\n")
    with pytest.raises(PhotoError, match="damaged"):
        read_photo(path)


@pytest.mark.parametrize("path", ["a\0b.png", "x" * 300 + ".png", "absent/" * 2000 + "a.png"])
def test_names_that_cannot_be_are_refused(tmp_path: Path, path: str) -> None:
    with pytest.raises(PhotoError, match=r"cannot read|does not exist"):
        read_photo(tmp_path / path)
    with pytest.raises(PhotoError, match="cannot write"):
        write_photo(tmp_path / path, Photo(picture(4, 4)))


def test_a_pipe_is_read_to_its_end(tmp_path: Path) -> None:
    data = save(tmp_path / "a.jpg", picture(200, 300)).read_bytes()
    os.mkfifo(tmp_path / "pipe.jpg")
    writer = threading.Thread(target=(tmp_path / "pipe.jpg").write_bytes, args=(data,))
    writer.start()
    piped = read_photo(tmp_path / "pipe.jpg")
    writer.join()
    assert np.array_equal(piped.pixels, read_photo(data).pixels)


def test_targets_are_checked(tmp_path: Path) -> None:
    taken = save(tmp_path / "taken.png", picture(4, 4))
    (tmp_path / "folder.png").mkdir()
    os.mkfifo(tmp_path / "pipe.png")
    for name, overwrite, message in [
        ("a.bmp", False, "must end in"),
        ("folder.png", True, "is a folder"),
        ("pipe.png", True, "is no regular file"),
        ("taken.png", False, "exists already"),
    ]:
        with pytest.raises(PhotoError, match=message):
            check_target(tmp_path / name, overwrite)
    assert check_target(taken, True) == "png"
    assert check_target(tmp_path / "new", True, form="webp") == "webp"


def test_a_finished_file_is_shown_before_it_takes_its_name(tmp_path: Path) -> None:
    seen = []

    def finished(file: Path) -> None:
        seen.append(read_photo(file).pixels)
        assert not (tmp_path / "a.png").exists()

    photo = Photo(picture(4, 4))
    write_photo(tmp_path / "a.png", photo, finished=finished)
    assert np.array_equal(seen[0], photo.pixels)

    def another(file: Path) -> None:
        (tmp_path / "b.png").write_bytes(b"mine")

    with pytest.raises(PhotoError, match="exists already"):
        write_photo(tmp_path / "b.png", photo, finished=another)
    assert (tmp_path / "b.png").read_bytes() == b"mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "b.png"]


def test_a_write_that_fails_leaves_nothing(tmp_path: Path) -> None:
    rgba = Photo(picture(4, 4), np.full((4, 4), 9, np.uint8))
    with pytest.raises(PhotoError, match="transparency"):
        write_photo(tmp_path / "a.jpg", rgba)
    with pytest.raises(PhotoError, match="16383"):
        write_photo(tmp_path / "a.webp", Photo(np.zeros((1, 16384), np.uint8)))
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(PhotoError, match="file is no folder"):
        write_photo(tmp_path / "file" / "a.png", rgba)
    with pytest.raises(PhotoError, match="Not a directory"):
        write_photo(tmp_path / "file" / "b" / "a.png", rgba)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_is_read_only_is_named(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(PhotoError, match=r"cannot write .*a\.png: Permission denied"):
        write_photo(tmp_path / "a.png", Photo(picture(4, 4)))


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs a file system that takes no files")
def test_a_file_system_that_takes_no_files_is_named() -> None:
    with pytest.raises(PhotoError, match=r"cannot write /proc/a\.png: "):
        write_photo("/proc/a.png", Photo(picture(4, 4)))


def test_a_file_that_appears_meanwhile_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As when two processes work on one folder: both saw no result when they began."""
    target = tmp_path / "a.png"
    monkeypatch.setattr("os.fsync", lambda file: target.write_bytes(b"another's"))
    with pytest.raises(PhotoError, match="exists already"):
        write_photo(target, Photo(picture(4, 4)))
    assert target.read_bytes() == b"another's"
    write_photo(target, Photo(picture(4, 4)), overwrite=True)
    assert read_photo(target).pixels.shape == (4, 4, 3)
    assert os.listdir(tmp_path) == ["a.png"]


def test_without_hard_links_a_file_is_renamed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr("os.link", refuse)
    write_photo(tmp_path / "a.png", Photo(picture(4, 4)))
    assert os.listdir(tmp_path) == ["a.png"]
    monkeypatch.setattr("os.fsync", lambda file: (tmp_path / "b.png").write_bytes(b"another's"))
    with pytest.raises(PhotoError, match="exists already"):
        write_photo(tmp_path / "b.png", Photo(picture(4, 4)))


def test_of_many_writers_one_wins(tmp_path: Path) -> None:
    photos = [Photo(np.full((50, 50, 3), number, np.uint8)) for number in range(8)]
    refused = []

    def write(photo: Photo) -> None:
        try:
            write_photo(tmp_path / "a.png", photo)
        except PhotoError as error:
            refused.append(str(error))

    writers = [threading.Thread(target=write, args=(photo,)) for photo in photos]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert len(refused) == 7
    assert len(np.unique(read_photo(tmp_path / "a.png").pixels)) == 1
    assert os.listdir(tmp_path) == ["a.png"]


WRITE = """
import resource, sys
import numpy as np
from shadowdiffusion.runtime.photo import Photo, read_photo, write_photo
noise = np.random.default_rng(0).integers(0, 65536, (1500, 1500, 3)).astype(np.uint16)
photo = Photo(noise)
"""
FULL = (
    WRITE
    + """
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
from shadowdiffusion.runtime.errors import PhotoError
try:
    write_photo(sys.argv[1], photo, overwrite=True)
except PhotoError as error:
    print(error)
"""
)
WITHOUT_END = (
    WRITE
    + """
print("ready", flush=True)
while True:
    write_photo(sys.argv[1], photo, overwrite=True)
"""
)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".tif"])
def test_a_full_disk_leaves_the_target_as_it_was(tmp_path: Path, suffix: str) -> None:
    target = save(tmp_path / f"a{suffix}", picture(8, 8))
    before = target.read_bytes()
    run = subprocess.run(
        [sys.executable, "-c", FULL, str(target)], capture_output=True, text=True, timeout=LONGEST, check=True
    )
    assert run.stdout.startswith(f"cannot write {target}: ")
    assert "File too large" in run.stdout
    assert run.stdout.count("\n") == 1
    assert not run.stderr
    assert target.read_bytes() == before
    assert os.listdir(tmp_path) == [target.name]


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_killed_while_writing_leaves_a_whole_target_and_at_most_a_hidden_file(tmp_path: Path, suffix: str) -> None:
    target = save(tmp_path / f"a{suffix}", picture(8, 8))
    for delay in (0.02, 0.15, 0.4):
        with subprocess.Popen([sys.executable, "-c", WITHOUT_END, str(target)], stdout=subprocess.PIPE) as writer:
            assert writer.stdout is not None
            assert writer.stdout.readline() == b"ready\n"
            time.sleep(delay)
            writer.send_signal(signal.SIGKILL)
        read_photo(target)
    others = [name for name in os.listdir(tmp_path) if name != target.name]
    assert len(others) <= 3
    assert all(name.startswith(f".{target.name}.") and name.endswith(".tmp") for name in others)
