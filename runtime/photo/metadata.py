"""What travels with the pixels from file to file, as libvips holds it: ICC profile, EXIF, XMP, IPTC, comments.

What the format of a result has no place for is left out: IPTC in PNG and WebP, XMP beyond 64 KiB in JPEG. libvips
neither reads nor writes EXIF in TIFF.
"""

import re
from typing import Any

Metadata = dict[str, tuple[int, Any]]
"""libvips fields by name: (type, value)."""

ICC = "icc-profile-data"
_EXIF = "exif-data"
_THUMBNAIL = "jpeg-thumbnail-data"
_IPTC = "iptc-data"
_KEPT = (ICC, _EXIF, _THUMBNAIL, _IPTC, "xmp-data", "photoshop-data", "image-description", "resolution-unit")
"""All of EXIF is in its block: the fields that libvips makes of its entries are left aside, because texts that are not
UTF-8 do not survive in them.
"""
_COMMENT = re.compile(r"png-comment-\d+-.+", re.DOTALL)


def read_metadata(image: Any) -> Metadata:
    """The fields of a decoded image that are to travel."""
    try:
        comments = [name for name in image.get_fields() if _COMMENT.fullmatch(name)]
    except UnicodeDecodeError:  # one of them has a name that is not UTF-8, which pyvips does not expect
        comments = []
    names = [name for name in _KEPT if image.get_typeof(name)] + comments
    found = {name: (image.get_typeof(name), image.get(name)) for name in names}
    if ICC in found:  # some programs pad it, which PNG does not take
        kind, profile = found[ICC]
        found[ICC] = kind, profile[: int.from_bytes(profile[:4], "big")]
    return {name: (kind, value) for name, (kind, value) in found.items() if value}  # libvips cannot write empty ones


def attach(image: Any, metadata: Metadata, tiff: bool) -> None:
    """Set the fields on an image that is about to be saved, as TIFF or otherwise."""
    import pyvips

    for name, (kind, value) in metadata.items():
        if name == _THUMBNAIL:  # the camera's shows the photo as it was
            value = image.thumbnail_image(160).jpegsave_buffer(keep="none")
        elif name == _IPTC and tiff:  # libvips 8.18 writes a quarter of it to TIFF, and IPTC may end in zeros
            value = value.ljust(4 * len(value), b"\0")
        image.set_type(kind, name, value)
    # the EXIF block still says how the camera was held, but the pixels are upright
    if _EXIF in metadata:
        image.set_type(pyvips.GValue.gint_type, "orientation", 1)
