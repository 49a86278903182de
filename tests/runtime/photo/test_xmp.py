"""XMP does not promise what a rewritten file no longer holds."""

from __future__ import annotations

import numpy as np
import pytest

from shadowdiffusion.runtime.photo import encode_photo, read_photo
from shadowdiffusion.runtime.photo.xmp import keep_promises
from tests.runtime.photo.test_photo_metadata import tagged_jpeg
from tests.runtime.tiny import picture

ULTRA_HDR = """<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/" x:xmptk="Adobe XMP Core 5.1.2">
 <rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
  <rdf:Description rdf:about=""
    xmlns:dc="http://purl.org/dc/elements/1.1/"
    xmlns:hdrgm="http://ns.adobe.com/hdr-gain-map/1.0/"
    xmlns:GCamera="http://ns.google.com/photos/1.0/camera/"
    xmlns:Container="http://ns.google.com/photos/1.0/container/"
    xmlns:Item="http://ns.google.com/photos/1.0/container/item/"
    xmlns:xmpNote="http://ns.adobe.com/xmp/note/"
    hdrgm:Version="1.0" xmpNote:HasExtendedXMP="0123456789ABCDEF"
    GCamera:MotionPhoto="1" GCamera:MotionPhotoVersion="1" GCamera:MotionPhotoPresentationTimestampUs="968644"
    GCamera:MicroVideoOffset="4022143" GCamera:SpecialTypeID="com.google.android.apps.camera.gallery"
    dc:format="image/jpeg">
   <dc:creator><rdf:Seq><rdf:li>J\u00f6rg &amp; Ana</rdf:li></rdf:Seq></dc:creator>
   <Container:Directory><rdf:Seq>
     <rdf:li rdf:parseType="Resource"><Container:Item Item:Mime="image/jpeg" Item:Semantic="Primary"/></rdf:li>
     <rdf:li rdf:parseType="Resource"><Container:Item Item:Semantic="GainMap" Item:Length="66171"/></rdf:li>
     <rdf:li rdf:parseType="Resource"><Container:Item Item:Semantic="MotionPhoto" Item:Length="4022143"/></rdf:li>
   </rdf:Seq></Container:Directory>
  </rdf:Description>
 </rdf:RDF>
</x:xmpmeta>
<?xpacket end="w"?>""".encode()


def photo_of_a_phone(xmp: bytes) -> bytes:
    """A JPEG with XMP, the index of other pictures (MPF), and those pictures behind its end."""
    data = tagged_jpeg(b"http://ns.adobe.com/xap/1.0/\0" + xmp, picture(16, 24))
    index = b"MPF\0II*\0\x08\0\0\0" + bytes(70)
    segment = b"\xff\xe2" + (len(index) + 2).to_bytes(2, "big") + index
    return data[:2] + segment + data[2:] + encode_photo(read_photo(data), "jpeg") + b"a video" * 99


@pytest.mark.parametrize("form", ["jpeg", "png", "webp", "tiff"])
def test_gain_maps_and_motion_are_not_promised_any_more(form: str) -> None:
    photo = read_photo(photo_of_a_phone(ULTRA_HDR))
    assert photo.notes == ("its gain map, video or other pictures are left out, and what XMP says of them",)
    data = encode_photo(photo, form)  # type: ignore[arg-type]
    written = read_photo(data)
    assert written.notes == ()
    xmp = written.metadata["xmp-data"][1].decode()
    for gone in ("hdrgm", "hdr-gain-map", "MotionPhoto", "MicroVideo", "Container", "Item:", "Length", "HasExtended"):
        assert gone not in xmp
    for kept in ("SpecialTypeID", 'dc:format="image/jpeg"', "J\u00f6rg &amp; Ana", "<?xpacket begin="):
        assert kept in xmp
    assert b"MPF\0" not in data
    assert b"a video" not in data
    assert np.array_equal(photo.pixels, read_photo(encode_photo(photo, "png")).pixels)


def test_other_xmp_stays_to_the_byte() -> None:
    plain = b'<x:xmpmeta  xmlns:x="adobe:ns:meta/" ><!-- mine --></x:xmpmeta >'
    photo = read_photo(photo_of_a_phone(plain))
    assert photo.notes == ()
    assert photo.metadata["xmp-data"][1] == plain


def test_properties_written_as_elements_go_too() -> None:
    xmp = ULTRA_HDR.replace(b'hdrgm:Version="1.0"', b"").replace(
        b"<dc:creator>", b"<hdrgm:Version>1.0</hdrgm:Version><GCamera:MicroVideo>1</GCamera:MicroVideo><dc:creator>"
    )
    kept, changed = keep_promises(xmp)
    assert changed
    assert b"hdrgm" not in kept
    assert b"MicroVideo" not in kept
    assert b"dc:creator" in kept


@pytest.mark.parametrize("harm", ["cut", "entities"])
def test_xmp_that_promises_and_makes_no_sense_is_left_out(harm: str) -> None:
    entities = b'<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;">]>'
    xmp = ULTRA_HDR[:700] if harm == "cut" else entities + ULTRA_HDR
    assert keep_promises(xmp) == (b"", True)
    assert "xmp-data" not in read_photo(photo_of_a_phone(xmp)).metadata
