"""HEIC, which libvips as pip installs it cannot decode."""

from __future__ import annotations

import base64
import sys

import numpy as np
import pytest
import pyvips

from shadowdiffusion.runtime.errors import PhotoError
from shadowdiffusion.runtime.photo import encode_photo, read_photo
from shadowdiffusion.runtime.photo.reading import natural_format

# 48x32 pixels, by x265 at quality 95 without subsampling: red top left, black beside it, green below; EXIF: ACME
PHOTO = base64.b64decode(
    "AAAAHGZ0eXBoZWl4AAAAAG1pZjFoZWl4bWlhZgAAAb9tZXRhAAAAAAAAACFoZGxyAAAAAAAAAABwaWN0AAAAAAAAAAAAAAAAAAAAADRpbG9jAA"
    "AAAERAAAIAAQAAAAAB4wABAAAAAAAAATYAAgAAAAADGQABAAAAAAAAADYAAAA4aWluZgAAAAAAAgAAABVpbmZlAgAAAAABAABodmMxAAAAABVp"
    "bmZlAgAAAQACAABFeGlmAAAAAA5waXRtAAAAAAABAAAA/mlwcnAAAADeaXBjbwAAAHdodmNDAQQIAAAAnjgAAAAAHvAA/P/4+AAADwNgAAEAF0"
    "ABDAH//wQIAAADAJ44AAADAAAeugJAYQABACpCAQEECAAAAwCeOAAAAwAAHpAEECCy3VyU1zcBDQYEAAADAGQAAAMABCBiAAEACEQBwXMYMAiQ"
    "AAAAE2NvbHJuY2x4AAEADQAGgAAAABRpc3BlAAAAAAAAAEAAAABAAAAAKGNsYXAAAAAwAAAAAQAAACAAAAAB////8AAAAAL////gAAAAAgAAAB"
    "BwaXhpAAAAAAMICAgAAAAYaXBtYQAAAAAAAAABAAEFgQIDBYQAAAAaaXJlZgAAAAAAAAAOY2RzYwACAAEAAQAAAXRtZGF0AAABMigBrwa48kPi"
    "Rn+6D///6Kr9D+y13Yubr+jwzpe/qf/8TFZD6uhmHzG9t+1Mu/3iXcnXhfVeLeaPuuF+CoON9ueqNSmIHRBnYNORP/9qEVOmqPgnA/657//lgX"
    "GR8R0muRXotey7takYG5MTl8CnE57C3by0yLNQ+7U5TYQuMxFg2GhdjddCFNXw59igClnfAzAieMZI/yaLp0L0qYZe48wpBTHQnXK0TpYw59uA"
    "A6Mp0IiPH5Xq/No4HUK9ABaGULBXIt4lHxCJtob3S60AEy8GQHFoaedFU+czVDvgAis/ztYroBvEECNO+RWoJaOFSAIIwwAAhSOt6sRnFAE1MA"
    "CW4gjmuGBglqtXgftVmKOADecc+u2Dwq7MIXr4nWvgBiuHZ2xiqUCs8xNZgB4sRmjAegAAAAZFeGlmAABNTQAqAAAACAACAQ8AAgAAAAUAAAAm"
    "ARIAAwAAAAEABgAAAAAAAEFDTUUAAA=="
)

# The same size, lossless with 10 bits: white above, below it middle grey and black.
DEEP = base64.b64decode(
    "AAAAHGZ0eXBoZWl4AAAAAG1pZjFoZWl4bWlhZgAAAX1tZXRhAAAAAAAAACFoZGxyAAAAAAAAAABwaWN0AAAAAAAAAAAAAAAAAAAAACJpbG9jAA"
    "AAAERAAAEAAQAAAAABoQABAAAAAAAAANYAAAAjaWluZgAAAAAAAQAAABVpbmZlAgAAAAABAABodmMxAAAAAA5waXRtAAAAAAABAAAA/WlwcnAA"
    "AADdaXBjbwAAAHZodmNDAQQIAAAAnDgAAAAA//AA/P/6+gAADwNgAAEAF0ABDAH//wQIAAADAJw4AAADAAD/ugJAYQABAClCAQEECAAAAwCcOA"
    "AAAwAA/5AEECCbLdXJTXNwENBgQAAABkAAAAMAQmIAAQAIRAHBcDBgkSAAAAATY29scm5jbHgAAQANAAaAAAAAFGlzcGUAAAAAAAAAQAAAAEAA"
    "AAAoY2xhcAAAADAAAAABAAAAIAAAAAH////wAAAAAv///+AAAAACAAAAEHBpeGkAAAAAAwoKCgAAABhpcG1hAAAAAAAAAAEAAQWBAgMFhAAAAN"
    "5tZGF0AAAA0igBrwW4H3mANcAxPNybmzDmabLSUg1SDVINUg1SGaIZohmiGaIZohmiGaIZrTVZMwllA1jlABGIF///vr/3z/3r/u3+3f7d/t3+"
    "3f7e/t7+3v7e/t7+3v7e/t793iJoCPj9DAAcH//+NvfGprFxaIBwD/AP8A/wD/AW+Bb4FvgW+Bb4FvgW+BbfqjcrP//6bL0w9RtR4BTMUzCfxT"
    "MU967naJ5Peu52ieu55OdUv//5MzyTBHigh67Su0oaK7SvB50XR13wedF0dedF3vtD+OyQ1w=="
)

# Two pictures: one of 48x32 pixels, red, and the main one of 40x32, green.
SEVERAL = base64.b64decode(
    "AAAAHGZ0eXBoZWl4AAAAAG1pZjFoZWl4bWlhZgAAAdVtZXRhAAAAAAAAACFoZGxyAAAAAAAAAABwaWN0AAAAAAAAAAAAAAAAAAAAADRpbG9jAA"
    "AAAERAAAIAAQAAAAAB+QABAAAAAAAAAB8AAgAAAAACGAABAAAAAAAAAB0AAAA4aWluZgAAAAAAAgAAABVpbmZlAgAAAAABAABodmMxAAAAABVp"
    "bmZlAgAAAAACAABodmMxAAAAAA5waXRtAAAAAAACAAABLmlwcnAAAAEGaXBjbwAAAHdodmNDAQQIAAAAnjgAAAAAHvAA/P/4+AAADwNgAAEAF0"
    "ABDAH//wQIAAADAJ44AAADAAAeugJAYQABACpCAQEECAAAAwCeOAAAAwAAHpAEECCy3VyU1zcBDQYEAAADAGQAAAMABCBiAAEACEQBwXMYMAiQ"
    "AAAAE2NvbHJuY2x4AAEADQAGgAAAABRpc3BlAAAAAAAAAEAAAABAAAAAKGNsYXAAAAAwAAAAAQAAACAAAAAB////8AAAAAL////gAAAAAgAAAB"
    "BwaXhpAAAAAAMICAgAAAAoY2xhcAAAACgAAAABAAAAIAAAAAH////oAAAAAv///+AAAAACAAAAIGlwbWEAAAAAAAAAAgABBYECAwWEAAIFgQID"
    "BYYAAABEbWRhdAAAABsoAa8GOIkufC/wAT///j1f2X+BuSzNTCc4z8AAAAAZKAGvBjiJLnlu/X///r1///9hZLM1MJzjPw=="
)


def libvips_decodes() -> bool:
    try:
        pyvips.Image.heifload_buffer(PHOTO).avg()
    except pyvips.Error:
        return False
    return True


@pytest.fixture
def decoder() -> None:
    if not libvips_decodes():
        pytest.importorskip("pi_heif")


@pytest.mark.usefixtures("decoder")
def test_heic_is_read() -> None:
    photo = read_photo(PHOTO)
    assert photo.pixels.shape == (32, 48, 3)
    for place, colour in {(4, 4): (250, 30, 40), (4, 40): (0, 0, 0), (28, 20): (20, 200, 60)}.items():
        assert np.abs(photo.pixels[place].astype(int) - colour).max() <= 2
    assert photo.profile is None
    written = pyvips.Image.new_from_buffer(encode_photo(photo, "jpeg"), "")
    assert written.get("exif-ifd0-Make").startswith("ACME")


@pytest.mark.usefixtures("decoder")
def test_of_several_pictures_the_main_one_is_read() -> None:
    photo = read_photo(SEVERAL)
    assert photo.pixels.shape == (32, 40, 3)
    assert np.abs(photo.pixels.astype(int) - [20, 200, 60]).max() <= 4
    assert photo.notes == ("it holds 2 pictures: its main one is restored",)


@pytest.mark.usefixtures("decoder")
def test_deep_heic_has_the_whole_range() -> None:
    photo = read_photo(DEEP)
    assert photo.pixels.dtype == np.uint16
    assert photo.pixels[4, 4].tolist() == 3 * [65535]
    assert np.abs(photo.pixels[28, 4].astype(int) - 32768).max() <= 64
    assert photo.pixels[28, 40].max() == 0


def test_its_header_is_read_without_a_decoder() -> None:
    assert natural_format(PHOTO) == "jpeg"
    assert natural_format(DEEP) == "png"


@pytest.mark.parametrize("transfer", [16, 18])
def test_heic_of_hdr_is_refused(transfer: int) -> None:
    data = bytearray(PHOTO)
    place = data.index(b"nclx")
    data[place + 6 : place + 8] = transfer.to_bytes(2, "big")
    with pytest.raises(PhotoError, match="HDR"):
        read_photo(bytes(data))


@pytest.mark.skipif(libvips_decodes(), reason="this libvips decodes HEVC")
def test_without_a_decoder_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pi_heif", None)
    with pytest.raises(PhotoError, match=r"cannot decode a\.heic, which is HEIC: .*pip install '.*\[heic\]'"):
        read_photo(PHOTO, name="a.heic")


@pytest.mark.usefixtures("decoder")
def test_damaged_heic_is_refused() -> None:
    for length in (100, len(PHOTO) // 2, len(PHOTO) - 20):
        with pytest.raises(PhotoError) as caught:
            read_photo(PHOTO[:length])
        assert "\n" not in str(caught.value)


@pytest.mark.usefixtures("decoder")
def test_exif_of_a_wrong_size_is_no_crash() -> None:
    data = bytearray(PHOTO)
    data[177], data[528] = 248, 179  # the extent of EXIF, and a value in it
    try:
        assert read_photo(bytes(data)).pixels.shape == (32, 48, 3)
    except PhotoError as error:
        assert "damaged" in str(error)  # noqa: PT017


def test_an_impossible_size_is_refused_in_silence(capfd: pytest.CaptureFixture[str]) -> None:
    data = bytearray(PHOTO)
    place = data.index(b"ispe")
    data[place + 8 : place + 16] = b"\x7f\0\0\x10\x7f\0\0\x10"
    with pytest.raises(PhotoError, match=r"damaged: its header says 2130706448x2130706448"):
        read_photo(bytes(data))
    assert capfd.readouterr() == ("", "")
