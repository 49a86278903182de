"""What the command line notes of photos, and what it passes over; several videos at once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shadowdiffusion.runtime.photo import Photo, encode_photo, read_photo, write_photo
from tests.deadlines import LONGEST
from tests.runtime.commands.command_line import Call
from tests.runtime.photo.test_colour import icc_segment, jpeg
from tests.runtime.tiny import picture, save
from tests.runtime.video.test_video import film

ROOT = Path(__file__).resolve().parents[3]
UNUSABLE = "its colour profile is unusable: its colours are taken for sRGB"


def with_bad_profiles(folder: Path, *names: str) -> None:
    for number, name in enumerate(names):
        (folder / name).write_bytes(jpeg(picture(12, 16, seed=number), icc_segment(b"rubbish" * 99)))


def test_a_note_is_told_once_and_counted(call: Call, bundle: Path, tmp_path: Path) -> None:
    photos = tmp_path / "in"
    photos.mkdir()
    with_bad_profiles(photos, "a.jpg", "b.jpg", "c.jpg")
    run = call("restore", photos, "--bundle", bundle, "-o", tmp_path / "out", "--jobs", "1")
    assert run.code == 0
    assert run.err.splitlines() == [f"note: {photos}/a.jpg: {UNUSABLE}", f"note: 2 more: {UNUSABLE}"]
    quiet = call("restore", photos, "--bundle", bundle, "-o", tmp_path / "quiet", "--quiet")
    assert (quiet.code, quiet.err) == (0, "")
    records = call("restore", photos, "--bundle", bundle, "-o", tmp_path / "records", "--json")
    assert [json.loads(line)["notes"] for line in records.out.splitlines()] == 3 * [[UNUSABLE]]


def test_pictures_that_are_passed_over_are_counted(
    call: Call, bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(tmp_path / "a.png", picture(12, 16))
    for name in ("a.nef", "b.NEF", "c.svg", "notes.txt", ".hidden.svg", "d.restored.svg", "e.mp4"):
        (tmp_path / name).write_bytes(b"x")
    monkeypatch.setattr("shadowdiffusion.runtime.batch.inputs.can_read_videos", lambda: False)
    run = call("restore", tmp_path, "--bundle", bundle)
    assert run.code == 0
    videos, pictures = run.err.splitlines()
    assert videos.startswith("note: passed over: 1 .mp4; videos need PyAV: pip install ")
    assert pictures == "note: passed over: 2 .nef and 1 .svg, which cannot be read; develop raw files first"
    refusal = call("restore", tmp_path / "a.nef", "--bundle", bundle)
    assert refusal.code == 1
    assert "raw file: develop it first" in refusal.err


def test_videos_are_found_in_folders_and_by_patterns(call: Call, bundle: Path, tmp_path: Path) -> None:
    clips = tmp_path / "clips"
    clips.mkdir()
    for name in ("a.mp4", "b.mkv"):
        film(clips / name, frames=2)
    save(clips / "c.png", picture(12, 16))
    words = ["--bundle", bundle, "--threads", "1", "--steps", "2"]
    assert call("restore", clips / "a.mp4", clips / "b.mkv", "-o", tmp_path / "two", *words).code == 0
    assert sorted(os.listdir(tmp_path / "two")) == [".shadowdiffusion.jsonl", "a.mp4", "b.mkv"]
    assert call("restore", clips, "-o", tmp_path / "all", *words).code == 0
    assert sorted(os.listdir(tmp_path / "all")) == [".shadowdiffusion.jsonl", "a.mp4", "b.mkv", "c.png"]
    assert call("restore", f"{clips}/*.mp4", "-o", tmp_path / "some", *words).code == 0
    assert sorted(os.listdir(tmp_path / "some")) == [".shadowdiffusion.jsonl", "a.mp4"]
    again = call("restore", clips, "-o", tmp_path / "all", *words)
    assert again.out.count("done before") == 3


def test_warnings_end_no_photo_whatever_the_environment_says(bundle: Path, tmp_path: Path) -> None:
    with_bad_profiles(tmp_path, "a.jpg")
    mask = save(tmp_path / "mask.png", np.full((24, 32), 255, np.uint8))  # of another size, which is a note too
    command: list[Any] = ["restore", tmp_path / "a.jpg", "--mask", mask, "--bundle", bundle, "-o", tmp_path / "b.jpg"]
    run = subprocess.run(
        [sys.executable, "-m", "runtime", *map(str, command)],
        cwd=ROOT,
        env=os.environ | {"PYTHONWARNINGS": "error"},
        capture_output=True,
        text=True,
        timeout=LONGEST,
    )
    assert run.returncode == 0, run.stderr
    assert f"note: {tmp_path}/a.jpg: {UNUSABLE}" in run.stderr
    assert "the mask is resized" in run.stderr
    assert read_photo(tmp_path / "b.jpg").pixels.shape == (12, 16, 3)


def test_transparency_and_metadata(call: Call, bundle: Path, tmp_path: Path) -> None:
    alpha = np.zeros((12, 16), np.uint8)
    write_photo(tmp_path / "a.png", Photo(picture(12, 16), alpha))
    words = ["restore", tmp_path / "a.png", "--bundle", bundle, "-o", tmp_path / "a.jpg"]
    refusal = call(*words)
    assert refusal.code == 1
    assert "JPEG has no transparency" in refusal.err
    assert call(*words, "--background", "#nothing").code == 2
    assert call(*words, "--background", "white", "--strip-metadata").code == 0
    assert read_photo(tmp_path / "a.jpg").pixels.min() > 250
    assert b"Exif" not in (tmp_path / "a.jpg").read_bytes()
    assert encode_photo(read_photo(tmp_path / "a.jpg"), "jpeg")[:2] == b"\xff\xd8"
