"""Videos in and out: frames, their times, depth and direction, and everything that is not a picture."""

from __future__ import annotations

import sys
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from shadowdiffusion.runtime.errors import PhotoError
from shadowdiffusion.runtime.photo import read_photo
from shadowdiffusion.runtime.video.frames import is_video, restore_video

PHOTO = Path(__file__).parents[3] / "docs" / "example" / "shadow.jpg"
RATE = Fraction(24000, 1001)


def film(path: Path, frames: int = 8, size: tuple[int, int] = (96, 128), **changes: Any) -> Path:
    """A pan over a real photo, with silence."""
    settings = {"fmt": "yuv420p", "codec": "libx264", "sound": "aac", "trc": 1, "turned": 0} | changes
    photo = read_photo(PHOTO).pixels[::2, ::2]
    container: Any
    with av.open(str(path), "w") as container:
        video: Any = container.add_stream(settings["codec"], rate=RATE)
        video.height, video.width, video.pix_fmt = *size, settings["fmt"]
        video.codec_context.color_trc = settings["trc"]
        if settings["turned"]:
            video.set_display_rotation(settings["turned"])
        sound: Any = container.add_stream(settings["sound"], rate=48000) if settings["sound"] else None
        container.metadata["title"] = "a pan"
        for number in range(frames):
            view = np.ascontiguousarray(photo[number : number + size[0], number : number + size[1]])
            container.mux(video.encode(av.VideoFrame.from_ndarray(view, "rgb24")))
        container.mux(video.encode(None))
        if sound is not None:
            silence = av.AudioFrame.from_ndarray(np.zeros((1, 8000), np.float32), "fltp", "mono")
            silence.sample_rate = 48000
            container.mux(sound.encode(silence))
            container.mux(sound.encode(None))
    return path


def frames(path: Path) -> list[np.ndarray]:
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def times(path: Path) -> list[float]:
    with av.open(str(path)) as container:
        return [float(frame.pts * frame.time_base) for frame in container.decode(video=0)]  # type: ignore[operator]


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("plain.mp4", {}),
        ("deep.mkv", {"fmt": "yuv420p10le"}),
        ("odd.mov", {"size": (97, 129), "fmt": "yuv444p"}),
        ("silent.webm", {"codec": "libvpx-vp9", "sound": None}),
        ("opus.webm", {"codec": "libvpx-vp9", "sound": "libopus"}),
    ],
)
def test_frames_times_and_sound_survive(tmp_path: Path, name: str, changes: dict[str, Any]) -> None:
    source, target = film(tmp_path / name, **changes), tmp_path / "out" / name
    seen: list[np.ndarray] = []

    def keep(pixels: np.ndarray) -> np.ndarray:
        seen.append(pixels)
        return pixels

    told: list[tuple[int, int]] = []
    assert restore_video(source, target, keep, quality=95, progress=lambda *done: told.append(done)) == 8
    assert {frame.dtype for frame in seen} == {np.dtype(np.uint16 if "10" in str(changes) else np.uint8)}
    assert [done for done, _ in told] == list(range(1, 9))
    np.testing.assert_allclose(times(target), times(source), atol=2e-3)
    for given, made in zip(frames(source), frames(target), strict=True):
        assert np.abs(given.astype(int) - made).mean() < 3
    with av.open(str(source)) as before, av.open(str(target)) as after:
        assert [stream.type for stream in after.streams] == [stream.type for stream in before.streams]
        assert {**after.metadata}.get("title", {**after.metadata}.get("TITLE")) == "a pan"
        if before.streams.audio:
            heard = [sum(frame.samples for frame in each.decode(audio=0)) for each in (before, after)]
            assert heard[0] == heard[1]
    assert not [file for file in target.parent.iterdir() if file.name.startswith(".")]


def test_what_is_restored_is_what_is_shown(tmp_path: Path) -> None:
    source, target = film(tmp_path / "in.mp4"), tmp_path / "out.mp4"
    restore_video(source, target, lambda pixels: 255 - pixels, quality=100)
    for given, made in zip(frames(source), frames(target), strict=True):
        assert np.abs(255 - given.astype(int) - made).mean() < 3


def test_title_and_place_can_be_left_out(tmp_path: Path) -> None:
    source, target = film(tmp_path / "in.mp4", frames=2), tmp_path / "out.mp4"
    restore_video(source, target, lambda pixels: pixels, with_metadata=False)
    with av.open(str(target)) as container:
        assert "title" not in container.metadata
    assert b"a pan" in source.read_bytes()
    assert b"a pan" not in target.read_bytes()


def test_a_name_of_any_length_is_written(tmp_path: Path) -> None:
    target = tmp_path / ("n" * 251 + ".mp4")
    restore_video(film(tmp_path / "in.mp4", frames=2), target, lambda pixels: pixels)
    assert {file.name for file in tmp_path.iterdir()} == {"in.mp4", target.name}


def test_frames_are_upright(tmp_path: Path) -> None:
    source, target = film(tmp_path / "in.mp4", turned=90), tmp_path / "out.mp4"
    shapes = set[tuple[int, ...]]()

    def note(pixels: np.ndarray) -> np.ndarray:
        shapes.add(pixels.shape)
        return pixels

    restore_video(source, target, note, quality=95)
    assert shapes == {(128, 96, 3)}
    with av.open(str(source)) as container:
        turned = next(container.decode(video=0)).rotation // 90
    expected = np.rot90(frames(source)[0], turned)
    assert np.abs(expected.astype(int) - frames(target)[0]).mean() < 3


@pytest.mark.parametrize("harm", ["cut", "text", "empty", "missing", "sound"])
def test_what_is_no_video_is_refused(tmp_path: Path, harm: str) -> None:
    source = film(tmp_path / "in.mp4")
    if harm == "missing":
        source.unlink()
    elif harm == "sound":
        with av.open(str(source), "w") as container:
            stream: Any = container.add_stream("aac", rate=48000)
            silence = av.AudioFrame.from_ndarray(np.zeros((1, 8000), np.float32), "fltp", "mono")
            silence.sample_rate = 48000
            container.mux(stream.encode(silence))
            container.mux(stream.encode(None))
    else:
        source.write_bytes({"cut": source.read_bytes()[:2000], "text": b"no video" * 99, "empty": b""}[harm])
    with pytest.raises(PhotoError, match=r"in\.mp4"):
        restore_video(source, tmp_path / "out.mp4", lambda pixels: pixels)
    assert {file.name for file in tmp_path.iterdir()} <= {"in.mp4"}


def test_hdr_is_refused(tmp_path: Path) -> None:
    source = film(tmp_path / "in.mkv", fmt="yuv420p10le", trc=16)
    with pytest.raises(PhotoError, match="HDR"):
        restore_video(source, tmp_path / "out.mkv", lambda pixels: pixels)


def test_a_failure_half_way_leaves_nothing(tmp_path: Path) -> None:
    source, target = film(tmp_path / "in.mp4"), tmp_path / "out.mp4"
    target.write_bytes(b"precious")
    count = iter(range(99))

    def fail(pixels: np.ndarray) -> np.ndarray:
        if next(count) == 4:
            raise PhotoError("frame 4 cannot be restored")
        return pixels

    with pytest.raises(PhotoError, match="frame 4"):
        restore_video(source, target, fail, overwrite=True)
    assert target.read_bytes() == b"precious"
    assert {file.name for file in tmp_path.iterdir()} == {"in.mp4", "out.mp4"}


def test_targets_that_cannot_be_written(tmp_path: Path) -> None:
    source = film(tmp_path / "in.mp4", frames=2)
    (tmp_path / "there.mp4").write_bytes(b"")
    (tmp_path / "folder.mp4").mkdir()
    for name, words in (
        ("there.mp4", "exists already"),
        ("in.mp4", "it is the input"),
        ("folder.mp4", "folder"),
        ("out.gif", r"must end in one of \.mp4"),
        ("out.webm", "aac"),
    ):
        with pytest.raises(PhotoError, match=words):
            restore_video(source, tmp_path / name, lambda pixels: pixels, overwrite=name in ("in.mp4", "out.webm"))
    with pytest.raises(PhotoError, match="quality 0 is out of range"):
        restore_video(source, tmp_path / "new.mp4", lambda pixels: pixels, quality=0)


def test_without_pyav_the_message_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(PhotoError, match=r"av is not installed: pip install '.*\[video\]'"):
        restore_video(tmp_path / "in.mp4", tmp_path / "out.mp4", lambda pixels: pixels)


def test_videos_are_known_by_their_names() -> None:
    assert is_video("a/b.MP4")
    assert is_video(Path("x.avi"))
    assert not is_video("mp4")
    assert not is_video("a.png")
