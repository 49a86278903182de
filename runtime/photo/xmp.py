"""XMP promises of what a rewritten file does not hold: gain maps, motion photos, depth maps, offsets to them.

A viewer that believes them looks for data at the end of the file and shows an error, or brightens a photo that has no
gain map any more.
"""

from typing import Any

_GOOGLE = "http://ns.google.com/photos/1.0/"
_GONE = (
    "http://ns.adobe.com/hdr-gain-map/1.0/",
    "http://ns.apple.com/HDRGainMap/1.0/",
    "http://ns.apple.com/HDRToneMap/1.0/",
    "http://ns.apple.com/pixeldatainfo/1.0/",
    f"{_GOOGLE}container/",
    f"{_GOOGLE}container/item/",
    f"{_GOOGLE}image/",
    f"{_GOOGLE}audio/",
    f"{_GOOGLE}depthmap/",
    f"{_GOOGLE}panorama/trackingdata/",
    "http://ns.xiaomi.com/photos/1.0/camera/",
)
"""Namespaces that describe nothing but what is gone."""
_CAMERA = f"{_GOOGLE}camera/"
_CAMERA_GONE = ("MotionPhoto", "MicroVideo", "VideoMimeType")
"""How the properties of Google's namespace for cameras begin that do; its others are left."""
_NOTE = "http://ns.adobe.com/xmp/note/"
"""Says that more XMP follows, in segments that libvips passes over."""
_XMLNS = "http://www.w3.org/2000/xmlns/"


def keep_promises(xmp: bytes) -> tuple[bytes, bool]:
    """XMP without what it cannot hold, and whether anything was taken out. What is not to be understood is left out
    whole, and everything else stays as it is, to the byte.
    """
    if not any(space.encode() in xmp for space in (*_GONE, _CAMERA, _NOTE)):
        return xmp, False
    from xml.dom import minidom
    from xml.parsers.expat import ExpatError

    if b"<!" in xmp.replace(b"<!--", b"").replace(b"<![CDATA[", b""):  # entities, which XMP has none of
        return b"", True
    try:
        document = minidom.parseString(xmp.strip(b"\0 \t\r\n"))
    except (ExpatError, ValueError, LookupError):
        return b"", True
    if not _strip(document):
        return xmp, False
    return "".join(node.toxml() for node in document.childNodes).encode(), True


def _strip(node: Any) -> bool:
    """Take out of a node, and all below, what is gone; whether there was anything."""
    changed = False
    for attribute in list(node.attributes.values()) if node.attributes else ():
        if _is_gone(attribute):
            node.removeAttributeNode(attribute)
            changed = True
    for child in list(node.childNodes):
        if _is_gone(child):
            node.removeChild(child)
            changed = True
        elif child.childNodes or child.attributes:
            changed |= _strip(child)
    return changed


def _is_gone(node: Any) -> bool:
    space = node.namespaceURI
    if space == _XMLNS:
        return node.value in _GONE
    if space == _CAMERA:
        return str(node.localName).startswith(_CAMERA_GONE)
    if space == _NOTE:
        return bool(node.localName == "HasExtendedXMP")
    return space in _GONE
