from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from shadowdiffusion.runtime.errors import PhotoError
from shadowdiffusion.runtime.photo import Photo, encode_photo, read_photo
from shadowdiffusion.runtime.photo.libvips import load_pyvips, reason
from tests.runtime.tiny import picture


def test_what_the_system_said_comes_first() -> None:
    error = load_pyvips().Error(
        "unable to call pngsave_target", "x\nsystem error: No space left on device\npng: failed\n"
    )
    assert reason(error) == "No space left on device"
    assert reason(load_pyvips().Error("unable to call jpegload_source", "first\n last \n\n")) == "last"
    assert reason(ValueError("no message of libvips")) == "no message of libvips"


def test_a_message_that_another_thread_has_taken_is_no_reason() -> None:
    assert reason(load_pyvips().Error("unable to write to memory")) == "no reason given"


def test_photos_that_fail_at_once_say_nothing_of_memory() -> None:
    whole = encode_photo(Photo(picture(60, 80)), "jpeg")
    cut = whole[: len(whole) // 2]

    def message(_: int) -> str:
        with pytest.raises(PhotoError) as caught:
            read_photo(cut)
        return str(caught.value)

    with ThreadPoolExecutor(4) as threads:
        said = set(threads.map(message, range(200)))
    assert all(text.startswith("the image is damaged or cut short: ") and "unable to" not in text for text in said)
