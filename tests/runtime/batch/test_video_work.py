"""Videos on the command line: restored with steady light, skipped when done, and never in part."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from shadowdiffusion.runtime.commands.cli import app
from shadowdiffusion.runtime.gain.illumination import to_linear
from shadowdiffusion.runtime.loop import tiled_loop as native
from shadowdiffusion.runtime.loop.loop import Working
from shadowdiffusion.runtime.photo import read_photo
from shadowdiffusion.runtime.restorer import Restorer
from shadowdiffusion.runtime.selection.loading import load
from shadowdiffusion.runtime.video.steady import SteadyLoop
from tests.runtime.tiny import write_bundle
from tests.runtime.video.test_video import PHOTO, film, frames


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bundle(tmp_path_factory.mktemp("video") / "bundle")


def run(bundle: Path, *arguments: str | Path) -> Result:
    common = ["--bundle", str(bundle), "--threads", "1", "--steps", "2"]
    return CliRunner().invoke(app, ["restore", *map(str, arguments), *common])


def test_a_video_is_restored_beside_itself_and_then_done(bundle: Path, tmp_path: Path) -> None:
    source = film(tmp_path / "clip.mp4", frames=3)
    result = run(bundle, source, "--json")
    assert result.exit_code == 0, result.output
    record = json.loads(result.stdout)
    assert record["status"] == "restored"
    assert (record["height"], record["width"]) == (96, 128)
    restored = tmp_path / "clip.restored.mp4"
    assert record["output"] == str(restored)
    before, after = frames(source), frames(restored)
    assert len(after) == 3
    assert np.abs(before[0].astype(int) - after[0]).mean() > 3  # the tiny bundle changes everything
    assert "done before" in run(bundle, source).stdout
    assert "other settings" in run(bundle, source, "--seed", "1").stderr or run(bundle, source, "--seed", "1").exit_code
    assert run(bundle, source, "--seed", "1", "--overwrite").exit_code == 0


def test_frames_at_full_size_keep_to_one_tile_and_steady_light(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(native, "available_memory", lambda: 160 * 208 * 900)
    monkeypatch.setattr(native, "own_memory", lambda: 0)
    monkeypatch.setattr(native, "network_bytes", lambda model: 500.0)
    seen, restore = list[tuple[int, ...]](), SteadyLoop.restore

    def noted(self: SteadyLoop, images: np.ndarray, *arguments: Any, **options: Any) -> Working:
        found = restore(self, images, *arguments, **options)
        assert found.tile is not None
        seen.append(found.tile)
        return found

    monkeypatch.setattr(SteadyLoop, "restore", noted)
    source = film(tmp_path / "clip.mp4", frames=3, size=(160, 208))
    result = run(bundle, source, "--native", "--json")
    assert result.exit_code == 0, result.output
    record = json.loads(result.stdout)
    assert record["settings"]["working_size"] == "native"
    assert [list(tile) for tile in seen] == 3 * [record["tile"]]


def test_what_ffmpeg_only_reads_becomes_mp4(bundle: Path, tmp_path: Path) -> None:
    source = film(tmp_path / "clip.avi", frames=2, codec="mpeg4", sound=None)
    assert run(bundle, source, "-o", tmp_path / "out").exit_code == 0
    assert len(frames(tmp_path / "out" / "clip.mp4")) == 2


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--compare",), "only the result can be written"),
        (("--save-mask", "masks"), "only the result can be written"),
        (("-o", "result.jpg"), r"must end in one of .mp4"),
        (("-o", "-"), "only the result can be written"),
    ],
)
def test_what_a_video_cannot_have(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    source = film(tmp_path / "clip.mp4", frames=2)
    result = run(bundle, source, *arguments)
    assert result.exit_code == 1
    assert words in result.stderr
    assert {file.name for file in tmp_path.iterdir()} <= {"clip.mp4"}


def test_a_damaged_video_does_not_stop_the_others(bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.mp4").write_bytes(b"no video")
    source = film(tmp_path / "good.mp4", frames=2)
    result = run(bundle, tmp_path / "bad.mp4", source, "-o", tmp_path / "out")
    assert result.exit_code == 1
    assert "bad.mp4" in result.stderr
    assert [file.name for file in (tmp_path / "out").iterdir() if file.suffix == ".mp4"] == ["good.mp4"]


def test_light_flickers_less_than_frame_by_frame() -> None:
    """The shipped bundle on a pan with the noise of a sensor: what is found in one frame is lost in the next."""
    photo = read_photo(PHOTO).pixels
    rng = np.random.default_rng(0)
    height, width, move, count, block = 400, 320, 2, 7, 16
    views = [photo[20 + move * i : 20 + move * i + height, 10 + move * i : 10 + move * i + width] for i in range(count)]
    video = [(view + rng.normal(0, 4, view.shape)).clip(0, 255).astype(np.uint8) for view in views]
    alone = load(None, "portable", "cpu", 2)

    def flicker(restorer: Restorer) -> float:
        """Mean change, from frame to frame, of the logarithm of the light of parts of the scene."""
        light = []
        for number, frame in enumerate(video):
            image = restorer(frame, steps=1, with_mask=False, working_size=128).image
            offset = move * (count - number)
            scene = to_linear((image / 255).astype(np.float32))[offset:, offset:][: block * 24, : block * 18]
            light.append(np.log(scene.reshape(24, block, 18, block, 3).mean(axis=(1, 3)) + 0.003))
        return float(np.mean([np.abs(after - before).mean() for before, after in pairwise(light)]))

    assert flicker(alone.through(SteadyLoop)) < 0.85 * flicker(alone)
