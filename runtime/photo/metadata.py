"""What travels with the pixels from file to file, as libvips holds it: ICC profile, EXIF, XMP, IPTC, comments.

What the format of a result has no place for is left out: IPTC in PNG and WebP, XMP beyond 64 KiB in JPEG. EXIF beyond
64 KiB is left out everywhere (libexif).
"""

import re
from typing import Any

from shadowdiffusion.runtime.photo.formats import Format

Metadata = dict[str, tuple[int, Any]]
"""libvips fields by name: (type, value)."""

ICC = "icc-profile-data"
EXIF = "exif-data"
XMP = "xmp-data"
_THUMBNAIL = "jpeg-thumbnail-data"
_IPTC = "iptc-data"
_PHOTOSHOP = b"Photoshop 3.0\0"
_KEPT = (ICC, EXIF, _THUMBNAIL, _IPTC, XMP, "photoshop-data", "image-description", "resolution-unit")
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


def attach(image: Any, metadata: Metadata, form: Format) -> None:
    """Set the fields on an image that is about to be saved."""
    import pyvips

    for name, (kind, value) in _with_iptc_for(form, metadata).items():
        if name == _THUMBNAIL:  # the camera's shows the photo as it was
            value = image.thumbnail_image(160).jpegsave_buffer(keep="none")
        image.set_type(kind, name, value)
    # the EXIF block still says how the camera was held, but the pixels are upright
    if EXIF in metadata:
        image.set_type(pyvips.GValue.gint_type, "orientation", 1)


def _with_iptc_for(form: Format, metadata: Metadata) -> Metadata:
    """JPEG has IPTC as a resource of Photoshop, TIFF by itself."""
    if _IPTC not in metadata or form not in ("jpeg", "tiff"):
        return metadata
    kind, iptc = metadata[_IPTC]
    if form == "tiff":
        plain = _in_photoshop(iptc) if iptc.startswith(_PHOTOSHOP) else iptc
        iptc = plain.ljust(4 * len(plain), b"\0")  # libvips 8.18 writes a quarter of it, and IPTC may end in zeros
    elif not iptc.startswith(_PHOTOSHOP):
        resource = b"8BIM\x04\x04\0\0" + len(iptc).to_bytes(4, "big") + iptc + bytes(len(iptc) % 2)
        iptc = _PHOTOSHOP + resource
    others = {name: field for name, field in metadata.items() if name != _IPTC}
    return others | {_IPTC: (kind, iptc)} if iptc else others


def _in_photoshop(resources: bytes) -> bytes:
    """The IPTC among Photoshop's resources: signature, number, name, length, data each; empty if there is none."""
    rest = resources.removeprefix(_PHOTOSHOP)
    while len(rest) > 6 and rest.startswith(b"8BIM"):
        number, name = rest[4:6], 6 + (rest[6] | 1) + 1  # names begin with their length and are padded to be even
        size = int.from_bytes(rest[name : name + 4], "big")
        if number == b"\x04\x04":
            return rest[name + 4 : name + 4 + size]
        rest = rest[name + 4 + size + size % 2 :]
    return b""
