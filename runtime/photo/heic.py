"""Pixels of HEIC photos where the installed libvips has no decoder for HEVC, as that of pip, for its patents."""

from typing import BinaryIO

import numpy as np

from shadowdiffusion.runtime.errors import PhotoError
from shadowdiffusion.runtime.photo.heif_boxes import read_boxes
from shadowdiffusion.runtime.photo.pixels import Pixels


def decode_heic(file: BinaryIO, name: str) -> Pixels:
    """The primary image of a HEIC file, upright, by libheif as the package pi-heif brings it.

    Args:
        file: The whole file.
        name: What messages call it.

    Returns:
        uint8, or uint16 with the lower bits empty, [H, W] or [H, W, C].

    Raises:
        PhotoError: pi-heif is missing, or the file is damaged.
    """
    try:
        import pi_heif
    except ImportError as error:
        from shadowdiffusion.runtime.packages import missing_package

        raise PhotoError(f"cannot decode {name}, which is HEIC: {missing_package(error, 'heic')}") from error
    meta = read_boxes(file).meta
    file.seek(0)
    data = bytearray(file.read())
    # libvips has read EXIF and XMP; pi-heif 1.4 crashes where their size is wrong, so they are cut loose from the photo
    data[meta] = data[meta].replace(b"cdsc", b"free")
    try:
        held = pi_heif.open_heif(bytes(data), convert_hdr_to_8bit=False)
        return np.array(held)  # a copy, as its memory goes with it
    except (ValueError, RuntimeError, EOFError, SyntaxError, OSError) as error:
        raise PhotoError(f"{name} is damaged or cut short: {' '.join(str(error).split())}") from error
