"""Photos as callers have them: files, bytes, open files, arrays, images of PIL, and tensors."""

from __future__ import annotations

import io
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from shadowdiffusion import runtime
from shadowdiffusion.runtime.errors import PhotoError
from shadowdiffusion.runtime.photo import read_photo
from shadowdiffusion.runtime.restorer import Restorer
from tests.runtime.photo.profiles import ADOBE_RGB
from tests.runtime.photo.test_colour import icc_segment, jpeg
from tests.runtime.tiny import picture, save

PHOTO = picture(30, 40)
MASK = (np.arange(40) > 20) * np.ones((30, 1), bool)


class Interface:
    """Pixels behind NumPy's protocol, and nothing else."""

    def __init__(self, array: Any) -> None:
        self.__array_interface__ = array.__array_interface__
        self.kept = array


def test_every_way_to_hand_over_a_photo_gives_the_same(restorer: runtime.Restorer, tmp_path: Path) -> None:
    expected = restorer(PHOTO, MASK).image
    file, mask = save(tmp_path / "a.png", PHOTO), save(tmp_path / "m.png", MASK * np.uint8(255))
    ways: list[tuple[Any, Any]] = [
        (str(file), str(mask)),
        (file.read_bytes(), bytearray(mask.read_bytes())),
        (io.BytesIO(file.read_bytes()), io.BytesIO(mask.read_bytes())),
        (Image.open(file), Image.open(mask)),
        (Image.fromarray(PHOTO), Image.fromarray(MASK)),
        (torch.from_numpy(PHOTO), torch.from_numpy(MASK)),
        (torch.from_numpy(PHOTO.transpose(2, 0, 1).copy()).permute(1, 2, 0), torch.from_numpy(MASK).float()),
        (Interface(PHOTO), Interface(MASK)),
        (read_photo(file), read_photo(mask)),
    ]
    for photo, drawn in ways:
        np.testing.assert_array_equal(restorer(photo, drawn).image, expected, err_msg=type(photo).__name__)
    with file.open("rb") as opened:
        np.testing.assert_array_equal(restorer(opened, MASK).image, expected)


@pytest.mark.parametrize("dtype", [">u2", ">f4", "<f2"])
def test_the_order_of_bytes_does_not_matter(restorer: runtime.Restorer, dtype: str) -> None:
    photo = PHOTO.astype(np.uint16) * 257 if dtype == ">u2" else (PHOTO / 255).astype(np.float32)
    given = photo.astype(dtype)
    native = given.astype(given.dtype.newbyteorder("="))
    np.testing.assert_array_equal(restorer(given, MASK).image, restorer(native, MASK).image)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_images_of_pil_are_turned_as_their_files(restorer: runtime.Restorer, tmp_path: Path, orientation: int) -> None:
    image, exif = Image.fromarray(PHOTO), Image.Exif()
    exif[0x0112] = orientation
    for suffix in (".png", ".tif"):
        image.save(tmp_path / f"a{suffix}", exif=exif)
        expected = restorer(tmp_path / f"a{suffix}").image
        np.testing.assert_array_equal(restorer(Image.open(tmp_path / f"a{suffix}")).image, expected)
        assert expected.shape[:2] == ((30, 40) if orientation < 5 else (40, 30))


@pytest.mark.parametrize("mode", ["1", "L", "LA", "RGB", "RGBA", "P", "PA", "La", "RGBa", "I;16", "I"])
def test_modes_of_pil(restorer: runtime.Restorer, tmp_path: Path, mode: str) -> None:
    image: Any = Image.fromarray(picture(30, 40, np.uint16, channels=1)) if mode.startswith("I") else None
    if mode == "I":
        image = Image.fromarray(picture(30, 40, np.uint16, channels=1).astype(np.int32))
        image.format = "PNG"  # as older versions open 16 bits
    elif image is None:
        through = {"La": "LA", "RGBa": "RGBA"}.get(mode)
        image = Image.fromarray(PHOTO).convert(through or "RGB").convert(mode)
    assert image.mode == mode
    found = restorer(image).image
    kept = image.convert({"1": "L", "P": "RGB", "PA": "RGBA", "La": "LA", "RGBa": "RGBA"}.get(mode, mode))
    array = np.asarray(kept).astype(np.uint16 if mode.startswith("I") else np.uint8)
    if mode in ("LA", "La"):
        array = array[..., 0]
    elif mode in ("PA", "RGBA", "RGBa"):
        array = array[..., :3]
    np.testing.assert_array_equal(found, restorer(array).image)


def test_the_colours_of_an_image_of_pil_are_those_of_its_profile(restorer: runtime.Restorer, tmp_path: Path) -> None:
    file = tmp_path / "wide.png"
    Image.fromarray(PHOTO).save(file, icc_profile=ADOBE_RGB.icc())
    expected = restorer(file).image
    np.testing.assert_array_equal(restorer(Image.open(file)).image, expected)
    assert not np.array_equal(restorer(PHOTO).image, expected)


def test_rounding_is_clipped_and_more_is_an_error(restorer: runtime.Restorer) -> None:
    photo = (PHOTO / 255).astype(np.float32)
    clipped = photo.copy()
    clipped[0, 0], clipped[0, 1] = 1, 0
    beyond = clipped.copy()
    beyond[0, 0], beyond[0, 1] = 1.0000002, -1e-7
    before = beyond.copy()
    np.testing.assert_array_equal(restorer(beyond, MASK).image, restorer(clipped, MASK).image)
    np.testing.assert_array_equal(beyond, before)
    mask = MASK * np.float32(1.0000002)
    np.testing.assert_array_equal(restorer(photo, mask).image, restorer(photo, MASK).image)
    for value, shown in ((1.01, "1.01"), (-0.01, "-0.01"), (255, "255"), (np.nan, "nan"), (np.inf, "inf")):
        beyond[0, 0] = value
        with pytest.raises(PhotoError, match=rf"the photo has values from .*{shown}.*, expected 0 to 1$"):
            restorer(beyond)
        with pytest.raises(PhotoError, match=rf"the mask has values from .*{shown}.*, expected 0 to 1$"):
            restorer(photo, beyond)


def pil(mode: str) -> Any:
    return Image.fromarray(PHOTO).convert(mode)


REFUSED: list[tuple[Any, str]] = [
    (None, "is a NoneType: pass a path, bytes, a file opened in binary mode, an array or CPU tensor"),
    (PHOTO.tolist(), "is a list: pass"),
    (io.StringIO("text"), "gives str instead of bytes: open the file in binary mode"),
    (io.BytesIO(b""), "is empty"),
    (b"hello", "is not a PNG"),
    (pil("CMYK"), r'mode CMYK: pass image.convert\("RGB"\)'),
    (pil("HSV"), "mode HSV"),
    (pil("L").convert("I"), "mode I: pass image.convert"),  # white is 255 here, or 65535
    (PHOTO.transpose(2, 0, 1), r"shape \(3, 30, 40\): pass \[height, width(, 3)?\], not \[channels, height, width\]"),
    (torch.zeros(3, 30, 40), r"shape \(3, 30, 40\)"),
    (torch.zeros(1, 3, 30, 40), r"shape \(1, 3, 30, 40\)"),
    (
        torch.zeros(30, 40, 3, requires_grad=True),
        r"Tensor that NumPy cannot read .*gradient.*: pass .detach\(\).cpu\(\)",
    ),
    (torch.zeros(30, 40, 3, dtype=torch.bfloat16), r"Tensor that NumPy cannot read"),
    (torch.zeros(30, 40, 3, device="meta"), r"Tensor that NumPy cannot read"),
    (torch.zeros(30, 40, 3, dtype=torch.int64), "type int64, expected uint8, uint16 or float"),
    (np.array("photo.jpg"), "shape"),
]


@pytest.mark.parametrize(("source", "message"), REFUSED, ids=[message[:20] for _, message in REFUSED])
@pytest.mark.parametrize("what", ["photo", "mask"])
def test_what_is_no_photo_is_one_line_that_says_what_to_pass(
    restorer: runtime.Restorer, source: Any, message: str, what: str
) -> None:
    if what == "mask" and source is None:
        return  # the prior finds the shadow
    if isinstance(source, io.IOBase):
        source.seek(0)
    arguments = (source,) if what == "photo" else (PHOTO, source)
    with pytest.raises(PhotoError, match=message) as caught:
        restorer(*arguments)
    assert str(caught.value).startswith(f"the {what} ")
    assert "\n" not in str(caught.value)


def test_files_that_end_too_soon_are_one_line(restorer: runtime.Restorer, tmp_path: Path) -> None:
    file = save(tmp_path / "a.jpg", picture(90, 120))
    file.write_bytes(file.read_bytes()[:900])
    closed = file.open("rb")
    closed.close()
    sources: list[tuple[Any, str]] = [
        (Image.open(file), f"{file} is damaged or cut short"),
        (file.open("rb"), f"{file} is damaged or cut short"),
        (closed, f"cannot read {file}: read of closed file"),
        (file.open(encoding="latin-1"), f"{file} gives str instead of bytes"),
    ]
    for source, message in sources:
        with pytest.raises(PhotoError, match=message):
            restorer(source)


def test_nothing_that_is_told_ends_a_run(restorer: Restorer, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """As with PYTHONWARNINGS=error: notes are in the result, and a doubtful mask is logged."""
    path = tmp_path / "a.jpg"
    path.write_bytes(jpeg(picture(12, 16), icc_segment(b"rubbish" * 99)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        restored = restorer(path, np.full((24, 32), 255, np.uint8))
    assert restored.notes[0] == "its colour profile is unusable: its colours are taken for sRGB"
    assert "the mask is resized" in restored.notes[1]
    (told,) = (record.message for record in caplog.records if record.name == "shadowdiffusion")
    assert "marks the whole photo as shadow" in told
