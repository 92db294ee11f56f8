"""Files that hold every kind of metadata, with marks where something private stands."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
from PIL import ExifTags, Image, ImageCms, TiffImagePlugin
from PIL.PngImagePlugin import PngInfo

SECRET = b"PLANTED"  # stands in everything that `private` must drop, and nowhere else
LATITUDE = (48.0, 51.0, 29.6)
PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
GRAY_PROFILE = PROFILE[:16] + b"GRAY" + PROFILE[20:]
MAKER_NOTE = b"maker note of PLANTED-MAKER with \x00\xff offsets"
NAMESPACES = (
    ' xmlns:x="adobe:ns:meta/" xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"'
    ' xmlns:tiff="http://ns.adobe.com/tiff/1.0/" xmlns:exif="http://ns.adobe.com/exif/1.0/"'
    ' xmlns:aux="http://ns.adobe.com/exif/1.0/aux/" xmlns:xmp="http://ns.adobe.com/xap/1.0/"'
    ' xmlns:exifEX="http://cipa.jp/exif/1.0/" xmlns:dc="http://purl.org/dc/elements/1.1/"'
    ' xmlns:xmpMM="http://ns.adobe.com/xap/1.0/mm/"'
    ' xmlns:photoshop="http://ns.adobe.com/photoshop/1.0/"'
    ' xmlns:ext="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"'
)
XMP = (
    '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>'
    f"<x:xmpmeta{NAMESPACES}><rdf:RDF>"
    '<rdf:Description rdf:about="" tiff:Orientation="6" exif:PixelXDimension="31"'
    ' exif:GPSLatitude="PLANTED,1N" aux:SerialNumber="PLANTED-2" xmp:Rating="4"'
    ' photoshop:City="PLANTED" photoshop:Headline="A headline">'
    "<tiff:ImageLength>17</tiff:ImageLength>"
    '<dc:title><rdf:Alt><rdf:li xml:lang="de">Ein Bild \u00fc</rdf:li></rdf:Alt></dc:title>'
    "<exifEX:LensSerialNumber>PLANTED-3</exifEX:LensSerialNumber>"
    '<xmpMM:History><rdf:Seq><rdf:li xmpMM:instanceID="PLANTED"/></rdf:Seq></xmpMM:History>'
    '<ext:LocationShown><rdf:Bag><rdf:li ext:City="PLANTED"/></rdf:Bag></ext:LocationShown>'
    "<xmp:Thumbnails><rdf:Alt><rdf:li>STALE</rdf:li></rdf:Alt></xmp:Thumbnails>"
    '</rdf:Description></rdf:RDF></x:xmpmeta><?xpacket end="w"?>'
).encode()


def exif(orientation: int = 6, width: int = 31, height: int = 17) -> Image.Exif:
    """Tags of a camera, of which the private ones hold `SECRET`."""
    tags = Image.Exif()
    tags[ExifTags.Base.Make] = "Camera"
    tags[ExifTags.Base.Artist] = "An Artist"
    tags[ExifTags.Base.Copyright] = "A Copyright"
    tags[ExifTags.Base.Orientation] = orientation
    details = tags.get_ifd(ExifTags.IFD.Exif)
    details[ExifTags.Base.ExifImageWidth] = width
    details[ExifTags.Base.ExifImageHeight] = height
    details[ExifTags.Base.DateTimeOriginal] = "2024:02:29 12:00:00"
    details[ExifTags.Base.ExposureTime] = TiffImagePlugin.IFDRational(1, 250)
    details[ExifTags.Base.MakerNote] = MAKER_NOTE
    details[ExifTags.Base.BodySerialNumber] = "PLANTED-0"
    details[ExifTags.Base.LensSerialNumber] = "PLANTED-1"
    details[ExifTags.Base.CameraOwnerName] = "PLANTED Owner"
    details[ExifTags.Base.ImageUniqueID] = "PLANTED-ID"
    tags[ExifTags.IFD.Exif] = details
    place = tags.get_ifd(ExifTags.IFD.GPSInfo)
    place[ExifTags.GPS.GPSLatitudeRef] = "N"
    place[ExifTags.GPS.GPSLatitude] = LATITUDE
    place[ExifTags.GPS.GPSMapDatum] = "PLANTED datum"
    tags[ExifTags.IFD.GPSInfo] = place
    return tags


def record(number: int, data_set: int, value: bytes) -> bytes:
    """One entry of IPTC-IIM."""
    return struct.pack(">BBBH", 0x1C, number, data_set, len(value)) + value


IPTC = (
    record(1, 90, b"\x1b%G")
    + record(2, 105, b"A headline")
    + record(2, 80, b"An Artist")
    + record(2, 90, b"PLANTED City")
    + record(2, 101, b"PLANTED Country")
)


def resource(number: int, data: bytes, name: bytes = b"\0\0") -> bytes:
    """One Photoshop resource."""
    return (
        b"8BIM"
        + struct.pack(">H", number)
        + name
        + struct.pack(">I", len(data))
        + data
        + bytes(len(data) % 2)
    )


PHOTOSHOP = (
    resource(0x040C, b"STALE thumbnail") + resource(0x0404, IPTC) + resource(0x07D0, b"a path")
)


def segment(marker: int, data: bytes) -> bytes:
    """One JPEG segment."""
    return struct.pack(">BBH", 0xFF, marker, len(data) + 2) + data


def raw_profile(name: str, data: bytes) -> str:
    """Bytes as ImageMagick writes them into a PNG file's text."""
    return f"\n{name}\n{len(data):8}\n{data.hex()}\n"


def pixels(width: int = 31, height: int = 17) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Noise in colour, the same each time."""
    return np.random.default_rng(1).integers(0, 256, (height, width, 3), dtype=np.uint8)


def save_full(path: Path) -> Path:
    """Write a file with everything that its format holds; the suffix names the format."""
    image, suffix = Image.fromarray(pixels()), path.suffix
    everything: dict[str, Any] = {"icc_profile": PROFILE, "xmp": XMP, "exif": exif().tobytes()}
    if suffix == ".jpg":
        extra = segment(0xED, b"Photoshop 3.0\0" + PHOTOSHOP)
        image.save(path, dpi=(300, 150), comment=b"a comment", extra=extra, **everything)
    elif suffix == ".png":
        everything.pop("xmp")
        image.save(path, dpi=(300, 150), pnginfo=_png_chunks(), **everything)
    elif suffix == ".tif":
        tags = TiffImagePlugin.ImageFileDirectory_v2()
        tags[700], tags[33723], tags[34377] = XMP, IPTC, PHOTOSHOP
        tags.tagtype[33723] = tags.tagtype[34377] = 7
        whole = exif()
        for tag, value in tags.items():
            whole[tag] = value
        image.save(path, dpi=(300, 150), icc_profile=PROFILE, exif=whole)
    elif suffix == ".gif":
        image.convert("P").save(path, comment=b"a comment")
    elif suffix == ".bmp":
        image.save(path, dpi=(300, 150))
    else:
        image.save(path, **everything)
    return path


def _png_chunks() -> PngInfo:
    chunks = PngInfo()
    chunks.add(b"gAMA", struct.pack(">I", 45455))
    chunks.add(b"cHRM", struct.pack(">8I", 31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000))
    chunks.add(b"tIME", struct.pack(">HBBBBB", 2024, 2, 29, 12, 0, 0))
    chunks.add_text("Title", "a title")
    chunks.add_text("exif:GPSLatitude", "PLANTED")
    chunks.add_text("notes", '<x:xmpmeta a="PLANTED"/>')
    chunks.add_itxt("Author", "Ä. Rtist", "de")
    chunks.add_text("Raw profile type iptc", raw_profile("iptc", PHOTOSHOP))
    chunks.add_itxt("XML:com.adobe.xmp", XMP.decode())
    return chunks
