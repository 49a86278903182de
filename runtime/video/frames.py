"""Videos, through FFmpeg's libraries (PyAV): frames in and out, upright; sound, subtitles and chapters are copied.

An output appears whole or not at all, like a photo (`runtime.replacing`).
"""

import os
from collections.abc import Callable
from fractions import Fraction
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from shadowdiffusion.runtime.errors import PhotoError
from shadowdiffusion.runtime.replacing import temporary_beside
from shadowdiffusion.runtime.unfinished import create, remove

Pixels = npt.NDArray[Any]
EachFrame = Callable[[Pixels], Pixels]
"""uint8 or uint16 [H, W, 3] -> the same shape and type."""
Progress = Callable[[int, int], None]
"""Frames done, and how many there are, 0 where the file does not say."""

CODECS = {".mp4": "libx264", ".mov": "libx264", ".m4v": "libx264", ".mkv": "libx264", ".webm": "libvpx-vp9"}
"""What writes each kind of file; also the suffixes by which a video is known."""
FORMATS = {".mp4": "mp4", ".mov": "mov", ".m4v": "mp4", ".mkv": "matroska", ".webm": "webm"}
READABLE = (*CODECS, ".avi", ".mpg", ".mpeg", ".mts", ".m2ts", ".wmv", ".3gp")
HDR = (16, 18)
"""PQ and HLG, by FFmpeg's number of the transfer curve: their values are not those of photos."""
COPIED = ("audio", "subtitle")
QUALITY = 90
"""Unless another is asked for: nearly transparent, about twice the size of what cameras write."""


def is_video(path: str | os.PathLike[str]) -> bool:
    """Whether a file is taken for a video, by its name."""
    return Path(path).suffix.lower() in READABLE


@cache
def can_read_videos() -> bool:
    """Whether PyAV is installed."""
    return find_spec("av") is not None


def restore_video(
    source: Path,
    target: Path,
    restore: EachFrame,
    *,
    overwrite: bool = False,
    quality: int | None = None,
    progress: Progress | None = None,
    finished: Callable[[Path], None] = lambda file: None,
    with_metadata: bool = True,
) -> int:
    """Write `source` to `target` with every frame restored; returns how many there were.

    Frames keep their times. Those deeper than 8 bits are uint16 for `restore` and written with 10 bits. quality: 1 to
    100 [90]. `finished` is called with the whole file just before it takes its name. with_metadata: keep title, place
    and date. Raises PhotoError where PyAV is
    missing, the video is damaged or of an unsupported kind, or the target cannot be written; the target is then as it
    was.
    """
    try:
        import av
    except ImportError as error:
        from shadowdiffusion.runtime.packages import missing_package

        raise PhotoError(f"cannot read {source}: {missing_package(error, 'video')}") from error
    _check_target(source, target, overwrite, quality)
    suffix = target.suffix.lower()
    temporary = temporary_beside(target)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        first = _first(source)
        with (
            open(create(temporary), "r+b") as file,
            av.open(os.fspath(source)) as given,
            av.open(file, "w", FORMATS[suffix]) as made,
        ):
            video = given.streams.video[0]
            output = _output(made, CODECS[suffix], quality or QUALITY, video, first)
            if with_metadata:
                made.metadata.update(given.metadata)
            count = _transfer(given, made, video, output, restore, progress)
        finished(temporary)
        os.replace(temporary, target)
    except (av.FFmpegError, OSError) as error:
        raise PhotoError(f"cannot restore the video {source}: {error.strerror or error}") from error
    except ValueError as error:
        raise PhotoError(f"cannot restore the video {source}: {error}") from error
    finally:
        remove(temporary)
    return count


def _check_target(source: Path, target: Path, overwrite: bool, quality: int | None) -> None:
    if target.suffix.lower() not in CODECS:
        raise PhotoError(f"cannot write {target}: the name of a video must end in one of {', '.join(CODECS)}")
    if target.is_dir():
        raise PhotoError(f"cannot write {target}: it is a folder")
    if target.exists() and source.exists() and target.samefile(source):
        raise PhotoError(f"cannot write {target}: it is the input; choose another name")
    if target.exists() and not overwrite:
        raise PhotoError(f"cannot write {target}: it exists already (--overwrite replaces it)")
    if quality is not None and not 1 <= quality <= 100:
        raise PhotoError(f"quality {quality} is out of range: choose 1 to 100")


def _first(source: Path) -> Pixels:
    """The first frame, which says what the output must hold."""
    import av

    with av.open(os.fspath(source)) as container:
        for frame in container.decode(video=0) if container.streams.video else ():
            if int(frame.color_trc) in HDR:
                raise ValueError("it is HDR: convert it to SDR first")
            return _pixels(frame)
    raise ValueError("it has no pictures")


def _transfer(given: Any, made: Any, video: Any, output: Any, restore: EachFrame, progress: Progress | None) -> int:
    """All packets of one container into another; returns the number of frames."""
    video.thread_type = "AUTO"
    copies = {stream.index: made.add_stream_from_template(stream) for stream in given.streams if stream.type in COPIED}
    count = 0
    total = video.frames or _frames(given, video)
    for packet in given.demux():
        if packet.stream.index in copies:
            if packet.dts is not None:
                packet.stream = copies[packet.stream.index]
                made.mux(packet)
            continue
        if packet.stream.index != video.index:
            continue
        for frame in packet.decode():
            made.mux(output.encode(_frame(restore(_pixels(frame)), frame, output)))
            count += 1
            if progress is not None:
                progress(count, total)
    made.mux(output.encode(None))
    return count


def _output(made: Any, codec: str, quality: int, video: Any, pixels: Pixels) -> Any:
    """The stream that frames like `pixels` are written to."""
    height, width = pixels.shape[:2]
    stream = made.add_stream(codec, rate=video.average_rate or Fraction(25))
    stream.width, stream.height = width, height
    sampling = "420" if height % 2 == width % 2 == 0 else "444"
    stream.pix_fmt = f"yuv{sampling}p" + ("10le" if pixels.dtype == np.uint16 else "")
    crf = round((100 - quality) * 0.51 + 12) if codec == "libx264" else round((100 - quality) * 0.6 + 18)
    stream.options = {"crf": str(min(crf, 51))} | ({"b": "0", "row-mt": "1"} if codec == "libvpx-vp9" else {})
    context = stream.codec_context
    context.time_base = video.time_base
    context.color_range = 1  # as nearly every player expects: 16 to 235
    context.colorspace, context.color_primaries, context.color_trc = (_matrix(height),) * 3
    return stream


def _pixels(frame: Any) -> Pixels:
    """uint8 or uint16 [H, W, 3], upright."""
    deep = max(component.bits for component in frame.format.components) > 8
    known = frame.colorspace if int(frame.colorspace) in (1, 5, 6, 7, 9) else _matrix(frame.height)
    array = frame.to_ndarray(format="rgb48le" if deep else "rgb24", src_colorspace=known)
    return np.ascontiguousarray(np.rot90(array, frame.rotation // 90)) if frame.rotation % 360 else array


def _frame(pixels: Pixels, source: Any, stream: Any) -> Any:
    """A frame to encode, shown when `source` was."""
    import av

    made = av.VideoFrame.from_ndarray(pixels, "rgb48le" if pixels.dtype == np.uint16 else "rgb24")
    made = made.reformat(format=stream.pix_fmt, dst_colorspace=_matrix(pixels.shape[0]))
    made.pts, made.time_base = source.pts, source.time_base
    return made


def _matrix(height: int) -> int:
    """The usual conversion between RGB and YUV: BT.709 for high definition, BT.601 below, by FFmpeg's number."""
    return 1 if height >= 720 else 6


def _frames(container: Any, video: Any) -> int:
    """About how many frames there are, from the length; 0 where that is unknown."""
    if container.duration is None or not video.average_rate:
        return 0
    return int(container.duration / 1_000_000 * float(video.average_rate))
