"""Photos and masks: files or bytes in, pixels and everything that travels with them; and out again.

`read_photo` and `write_photo` (`encode_photo` for bytes) handle PNG, JPEG, WebP and TIFF, 8 and 16 bit, grey or colour,
with or without transparency; other formats are read where libvips can. A `Photo` keeps its pixels in the file's own
colours; `to_srgb` and `from_srgb` convert small images between those and sRGB, which is what the networks know.
"""

from shadowdiffusion.runtime.photo.encoding import encode_photo
from shadowdiffusion.runtime.photo.formats import SUFFIXES, Format, check_encoding, suffix_of
from shadowdiffusion.runtime.photo.image import Photo
from shadowdiffusion.runtime.photo.pixels import WHOLE, unit_floats, usable_pixels
from shadowdiffusion.runtime.photo.reading import MAX_PIXELS, read_photo
from shadowdiffusion.runtime.photo.writing import check_target, write_photo

__all__ = [
    "MAX_PIXELS",
    "SUFFIXES",
    "WHOLE",
    "Format",
    "Photo",
    "check_encoding",
    "check_target",
    "encode_photo",
    "read_photo",
    "suffix_of",
    "unit_floats",
    "usable_pixels",
    "write_photo",
]
