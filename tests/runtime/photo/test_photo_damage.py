"""Damaged and malicious files: each is refused in one line or a whole photo; no crash, no hang, no flood of memory."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
import pyvips

from shadowdiffusion.runtime.errors import PhotoError
from shadowdiffusion.runtime.photo import read_photo
from tests.runtime.tiny import picture, save

ALL = [".png", ".jpg", ".webp", ".tif"]


def damage(tmp_path: Path, *arguments: str) -> str:
    command = [sys.executable, "-m", "tests.runtime.photo.damaged_photos", *arguments]
    case = tmp_path / "case"
    run = subprocess.run(command, capture_output=True, text=True, timeout=550, env=os.environ | {"CASE": str(case)})
    assert run.returncode == 0, f"{case.read_bytes()[:100]!r} in {case}\n{run.stderr[-2000:]}"
    assert not run.stderr
    return run.stdout


def test_photos_cut_at_every_tenth_byte(tmp_path: Path) -> None:
    assert "refused" in damage(tmp_path, "cut", "10", "3")


def test_two_thousand_photos_with_changed_bytes(tmp_path: Path) -> None:
    outcome = damage(tmp_path, "flip", "2000", "1")
    assert "refused" in outcome
    assert "read" in outcome


@pytest.mark.slow
def test_photos_of_all_bands_cut_at_every_fifth_byte(tmp_path: Path) -> None:
    assert "refused" in damage(tmp_path, "cut", "5")


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2, 6))
def test_many_photos_with_changed_bytes(tmp_path: Path, seed: int) -> None:
    assert "refused" in damage(tmp_path, "flip", "10000", str(seed))


@pytest.mark.parametrize("suffix", ALL)
@pytest.mark.parametrize("part", [0.02, 0.2, 0.5, 0.8, 0.97])
def test_a_larger_file_cut_short_is_refused(tmp_path: Path, suffix: str, part: float) -> None:
    whole = save(tmp_path / f"whole{suffix}", picture(200, 150)).read_bytes()
    cut = tmp_path / f"cut{suffix}"
    cut.write_bytes(whole[: int(len(whole) * part)])
    with pytest.raises(PhotoError, match=r"cut\..*(damaged|not a)") as caught:
        read_photo(cut)
    assert "\n" not in str(caught.value)


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, *extra: bytes) -> bytes:
    """A grey PNG with 1,000 bytes of pixels, whatever its size."""
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    chunks = [chunk(b"IHDR", header), *extra, chunk(b"IDAT", zlib.compress(bytes(1000))), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def tiff(width: int, height: int, *extra: tuple[int, int, int]) -> bytes:
    """A grey TIFF with 1,000 bytes of pixels, whatever its size; extra: (tag, type, value)."""
    tags = [(256, 4, width), (257, 4, height), (258, 3, 8), (259, 3, 1), (262, 3, 1), (277, 3, 1), *extra]
    entries = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in sorted(tags))
    start = struct.pack("<2sHIH", b"II", 42, 8, len(tags)) + entries + bytes(4)
    return start.ljust(200, b"\0") + bytes(1000)


def zeros(size: int) -> bytes:
    """So many zeros, compressed a thousandfold."""
    packer = zlib.compressobj(9)
    return b"".join(packer.compress(bytes(1 << 20)) for _ in range(size >> 20)) + packer.flush()


HUGE = 2**31 - 1
STRIPS = [(273, 4, 200), (278, 4, HUGE), (279, 4, 1000)]


def tiled(side: int) -> list[tuple[int, int, int]]:
    return [(322, 4, side), (323, 4, side), (324, 4, 200), (325, 4, 1000)]


BOMBS = {
    "wide.png": (png(HUGE, 1), "damaged"),
    "wide and high.png": (png(HUGE, HUGE), "damaged"),
    "large.png": (png(60000, 60000), "60000x60000 = 3600 megapixels, the limit is 200"),
    "profile of 1 GB.png": (png(10, 10, chunk(b"iCCP", b"p\0\0" + zeros(1 << 30))), None),
    "text of 1 GB.png": (png(10, 10, chunk(b"zTXt", b"Comment\0\0" + zeros(1 << 30))), None),
    "XMP of 1 GB.png": (png(10, 10, chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + zeros(1 << 30))), None),
    "texts.png": (png(10, 10, *(chunk(b"tEXt", b"K%d\0v" % number) for number in range(50_000))), None),
    "EXIF of 20 MB.png": (png(10, 10, chunk(b"eXIf", b"II*\0" + bytes(20 << 20))), None),
    "wide and high.tif": (tiff(HUGE, HUGE, *STRIPS), "damaged"),
    "large.tif": (tiff(60000, 60000, (273, 4, 200), (278, 4, 1), (279, 4, 1000)), "too large|damaged"),
    "strip.tif": (tiff(10000, 10000, *STRIPS), "damaged"),
    "tile.tif": (tiff(100, 100, *tiled(65536)), "damaged"),
    "vast tile.tif": (tiff(100, 100, *tiled(0x7FFFFFF0)), "damaged"),
}

READ_THEM = """
import sys
from pathlib import Path
from shadowdiffusion.benchmarks.measurement.memory import peak_mib
from shadowdiffusion.runtime.errors import PhotoError
from shadowdiffusion.runtime.photo import read_photo
import pyvips
for path in sorted(Path(sys.argv[1]).iterdir()):
    before = peak_mib()
    try:
        outcome = str(read_photo(path).pixels.shape)
    except PhotoError as error:
        outcome = str(error)
    print(path.name, round(peak_mib() - before), outcome, sep="|")
"""


def test_bombs_are_refused_from_their_headers_or_fizzle_out(tmp_path: Path) -> None:
    for name, (data, _) in BOMBS.items():
        (tmp_path / name).write_bytes(data)
    command = [sys.executable, "-c", READ_THEM, str(tmp_path)]
    run = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True)
    lines = {name: (int(megabytes), outcome) for name, megabytes, outcome in map(parts, run.stdout.splitlines())}
    for name, (_, refusal) in BOMBS.items():
        megabytes, outcome = lines[name]
        assert megabytes < 200, (name, outcome)
        if refusal is None:
            assert outcome == "(10, 10)", name
        else:
            assert any(text in outcome for text in refusal.split("|")), (name, outcome)


def parts(line: str) -> tuple[str, str, str]:
    name, megabytes, outcome = line.split("|")
    return name, megabytes, outcome


def test_the_limit_of_pixels_can_be_chosen(tmp_path: Path) -> None:
    small = save(tmp_path / "small.png", picture(20, 30))
    with pytest.raises(PhotoError, match="30x20"):
        read_photo(small, max_pixels=599)
    assert read_photo(small, max_pixels=600).pixels.shape == (20, 30, 3)


@pytest.mark.parametrize("suffix", [".webp", ".tif"])
def test_animations_and_pages_are_refused(tmp_path: Path, suffix: str) -> None:
    frames = pyvips.Image.new_from_memory(picture(16, 8), 8, 16, 3, "uchar").copy(interpretation="srgb")
    frames.write_to_file(str(tmp_path / f"a{suffix}"), page_height=8)
    with pytest.raises(PhotoError, match="holds 2 pages or frames"):
        read_photo(tmp_path / f"a{suffix}")


def test_comments_in_any_bytes_do_not_matter() -> None:
    for text in (b"Comment\0caf\xe9", b"\xe9t\xe9\0summer", b" \0x", b"k" * 79 + b"\0" + b"x" * 100_000):
        photo = read_photo(png(10, 10, chunk(b"tEXt", text)))
        assert np.array_equal(photo.pixels, np.zeros((10, 10)))
