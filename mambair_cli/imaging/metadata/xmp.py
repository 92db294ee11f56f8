"""Changing XMP packets: RDF in XML, which anybody may have written."""

from __future__ import annotations

import hashlib
import io
import re
import struct
from collections.abc import Iterable, Mapping, Sequence
from xml import sax
from xml.sax import expatreader, handler
from xml.sax.saxutils import XMLFilterBase, XMLGenerator
from xml.sax.xmlreader import AttributesNSImpl

XMP_SIGNATURE = b"http://ns.adobe.com/xap/1.0/\x00"
EXTENSION_SIGNATURE = b"http://ns.adobe.com/xmp/extension/\x00"
_LARGEST_SEGMENT = 65533
_EXTENSION_HEADER = 32 + 4 + 4  # digest, length of the whole, position of the part

_RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
_LARGEST_PACKET = 32 * 2**20
_DEEPEST = 200

_DECLARATION = rb"xmlns:([\w.-]{1,64})=(?:\"[^\"<]*\"|'[^'<]*')"

_POSITION, _SERIAL, _OWNER = "GPS position", "serial numbers", "owner name"
_PLACE, _IDENTIFIERS, _MAKER_NOTE = "XMP place", "document identifiers", "maker notes"

# Local names in any namespace: makers of cameras and drones have their own.
_PRIVATE_NAMES = (
    (re.compile(r"gps|latitude|longt?itude|altitude", re.IGNORECASE), _POSITION),
    (re.compile(r"serialnumber|imageuniqueid|uniqueid$", re.IGNORECASE), _SERIAL),
    (re.compile(r"ownername|^hostcomputer$", re.IGNORECASE), _OWNER),
    (re.compile(r"makernotes?$", re.IGNORECASE), _MAKER_NOTE),
    (re.compile(r"^(document|instance|originaldocument)id$", re.IGNORECASE), _IDENTIFIERS),
)
# Ends of namespaces, and names in them; without names the whole namespace.
_PRIVATE_PROPERTIES: tuple[tuple[str, frozenset[str], str], ...] = (
    ("/photoshop/1.0/", frozenset({"City", "State", "Country"}), _PLACE),
    ("/photoshop/1.0/", frozenset({"DocumentAncestors"}), _IDENTIFIERS),
    ("/Iptc4xmpCore/1.0/xmlns/", frozenset({"Location", "CountryCode"}), _PLACE),
    ("/Iptc4xmpExt/2008-02-29/", frozenset({"LocationCreated", "LocationShown"}), _PLACE),
    ("/Iptc4xmpExt/2008-02-29/", frozenset({"DigImageGUID"}), _IDENTIFIERS),
    ("/xap/1.0/mm/", frozenset(), _IDENTIFIERS),
)


def utf8_xmp(xmp: bytes) -> bytes:
    """Return the packet in UTF-8, as all formats but JPEG and TIFF demand."""
    if xmp.startswith((b"\xff\xfe", b"\xfe\xff")):
        return xmp.decode("utf-16", "replace").encode()
    return xmp


def without_thumbnails(xmp: bytes) -> bytes:
    """Return the packet without smaller copies of the image."""
    for prefix in (b"xmp", b"xap"):
        xmp = _without(xmp, b"<" + prefix + b":Thumbnails", b"</" + prefix + b":Thumbnails>")
    return xmp


def xmp_orientation(xmp: bytes) -> int | None:
    """Return the orientation that the packet gives, 1 to 8, or None if it gives none."""
    match = re.search(rb"\btiff:Orientation\s*(?:=\s*[\"']|>)\s*([1-8])\b", xmp)
    return int(match[1]) if match else None


def upright_xmp(xmp: bytes) -> bytes:
    """Return the packet with orientation 1, where it has one."""
    return _with_integers(xmp, {b"tiff:Orientation": 1})


def sized_xmp(xmp: bytes, width: int, height: int) -> bytes:
    """Return the packet with its size properties, where it has them, set in pixels."""
    return _with_integers(
        xmp,
        {
            b"tiff:ImageWidth": width,
            b"tiff:ImageLength": height,
            b"exif:PixelXDimension": width,
            b"exif:PixelYDimension": height,
        },
    )


def private_xmp(xmp: bytes) -> tuple[bytes | None, tuple[str, ...]]:
    """Write the packet anew without places, serial numbers, owners and identifiers.

    Returns:
        The packet, or None if it cannot be judged (damaged XML, or XML that declares entities),
        and phrases for what was dropped.
    """
    if len(xmp) > _LARGEST_PACKET:
        return None, ("XMP (too large to be searched)",)
    written = io.BytesIO()
    private = _PrivateFilter(written)
    try:
        # Bytes behind the packet's end are padding.
        private.parse(io.BytesIO(xmp.strip(b"\0 \r\n\t")))
    except (sax.SAXException, UnicodeError, ValueError, LookupError):
        return None, ("XMP (damaged)",)
    return written.getvalue(), tuple(private.dropped)


def merged_xmp(main: bytes, segments: Iterable[bytes]) -> tuple[bytes, bool]:
    """Put the extensions of a JPEG file's packet into it.

    Args:
        main: The packet.
        segments: APP1 segments that start with `EXTENSION_SIGNATURE`.

    Returns:
        One packet, and whether it is all: an extension with gaps is left out.
    """
    digest = re.search(rb"\bHasExtendedXMP\s*(?:=\s*[\"']|>)\s*([0-9A-Fa-f]{32})", main)
    segments = tuple(segments)
    if not segments:
        return main, True
    extension = digest and _extension(digest[1].upper(), segments)
    if not extension or b"</rdf:RDF" not in main:
        return main, False
    rest = re.sub(rb"\b\w{1,32}:HasExtendedXMP\s*=\s*[\"'][0-9A-Fa-f]{32}[\"']", b"", main)
    rest = _without(rest, b"<xmpNote:HasExtendedXMP", b"</xmpNote:HasExtendedXMP>")
    whole = _with_descriptions(rest, extension)
    return (whole, True) if private_xmp(whole)[0] is not None else (main, False)


def jpeg_segments(xmp: bytes) -> list[bytes]:
    """Return the packet as contents of a JPEG file's APP1 segments, extended if it needs several.

    A packet that is too long goes into the extension as a whole; what is left points to it.
    """
    if len(xmp) <= _LARGEST_SEGMENT - len(XMP_SIGNATURE):
        return [XMP_SIGNATURE + xmp]
    body = _without(xmp, b"<?", b"?>").strip()
    digest = hashlib.md5(body, usedforsecurity=False).hexdigest().upper().encode()
    room = _LARGEST_SEGMENT - len(EXTENSION_SIGNATURE) - _EXTENSION_HEADER
    main = (
        b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="%s"><rdf:Description rdf:about=""'
        b' xmlns:xmpNote="http://ns.adobe.com/xmp/note/" xmpNote:HasExtendedXMP="%s"/></rdf:RDF>'
        b"</x:xmpmeta>"
    ) % (_RDF.encode(), digest)
    return [XMP_SIGNATURE + main] + [
        EXTENSION_SIGNATURE + digest + struct.pack(">II", len(body), i) + body[i : i + room]
        for i in range(0, len(body), room)
    ]


def private_phrase(name: str, namespace: str = "") -> str | None:
    """Return what a property tells that is private, or None if it may be kept."""
    for pattern, phrase in _PRIVATE_NAMES:
        if pattern.search(name):
            return phrase
    for end, names, phrase in _PRIVATE_PROPERTIES:
        if namespace.endswith(end) and (name in names or not names):
            return phrase
    return None


def _extension(digest: bytes, segments: Sequence[bytes]) -> bytes | None:
    """Put the parts with this digest together; None if one is missing."""
    parts = {}
    header = len(EXTENSION_SIGNATURE)
    for segment in segments:
        if segment[header : header + 32].upper() == digest and len(segment) > header + 40:
            whole, position = struct.unpack_from(">II", segment, header + 32)
            parts[position] = (whole, segment[header + 40 :])
    length = 0
    for position, (_, part) in sorted(parts.items()):
        if position != length:
            return None
        length += len(part)
    if not parts or length > _LARGEST_PACKET or {whole for whole, _ in parts.values()} != {length}:
        return None
    return b"".join(part for _, (_, part) in sorted(parts.items()))


def _with_descriptions(packet: bytes, extension: bytes) -> bytes:
    """Put what the extension's RDF element holds into the packet's, with its namespaces."""
    opening, inner = _opened(extension)
    head, _ = _opened(packet)
    declared = {found[1]: found[0] for found in re.finditer(_DECLARATION, opening)}
    known = {found[1] for found in re.finditer(_DECLARATION, head)}
    declarations = b"".join(b" " + text for name, text in declared.items() if name not in known)
    middle, end = len(head), packet.rfind(b"</rdf:RDF")
    inner = inner[: max(inner.rfind(b"</rdf:RDF"), 0)]
    return head + declarations + packet[middle:end] + inner + packet[end:]


def _opened(packet: bytes) -> tuple[bytes, bytes]:
    """Divide the packet at the end of the opening tag of its RDF element."""
    end = packet.find(b">", packet.find(b"<rdf:RDF"))
    return packet[:end], packet[end + 1 :]


def _without(packet: bytes, opening: bytes, closing: bytes) -> bytes:
    """Cut out what lies between marks; a regular expression could take time without end."""
    kept, position = [], 0
    while (start := packet.find(opening, position)) >= 0:
        end = packet.find(closing, start)
        if end < 0:
            break
        kept.append(packet[position:start])
        position = end + len(closing)
    return b"".join(kept) + packet[position:]


def _with_integers(xmp: bytes, values: Mapping[bytes, int]) -> bytes:
    """Replace integer properties where they stand, written as attributes or as elements."""
    for name, value in values.items():
        pattern = rb"(\b" + name + rb"\s*(?:=\s*[\"']|>)\s*)\d+"
        xmp = re.sub(pattern, rb"\g<1>%d" % value, xmp)
    return xmp


class _PrivateFilter(XMLFilterBase):
    """Copy a packet while it is parsed; nothing of it is held in memory but the copy."""

    def __init__(self, target: io.BytesIO) -> None:
        # Safe on hostile packets: a document type, which entities need, is refused below.
        # Given all at once, as it begins anew with a long token at each further part.
        parser = expatreader.ExpatParser(bufsize=_LARGEST_PACKET)
        parser.setFeature(handler.feature_namespaces, True)
        parser.setProperty(handler.property_lexical_handler, self)
        super().__init__(parser)
        self.dropped: dict[str, None] = {}
        self._depth = 0
        self._dropping = 0
        self._generator = XMLGenerator(target, "utf-8", short_empty_elements=True)
        self.setContentHandler(self._generator)

    def startDocument(self) -> None:  # noqa: N802  (xml.sax names it)
        pass  # XMLGenerator would write an XML declaration, which packets do not have

    def startDTD(self, *_: object) -> None:  # noqa: N802
        raise sax.SAXException("the packet declares a document type")

    def endDTD(self) -> None:  # noqa: N802
        pass

    def comment(self, content: str) -> None:
        pass  # says nothing that XMP defines, and may say anything

    def startCDATA(self) -> None:  # noqa: N802
        pass

    def endCDATA(self) -> None:  # noqa: N802
        pass

    def startElementNS(  # noqa: N802
        self, name: tuple[str | None, str], qname: str | None, attributes: AttributesNSImpl
    ) -> None:
        self._depth += 1
        if self._depth > _DEEPEST:
            raise sax.SAXException("the packet's elements are nested too deep")
        phrase = private_phrase(name[1], name[0] or "")
        if self._dropping or phrase:
            self._dropping += 1
            if phrase:
                self.dropped[phrase] = None
            return
        kept = {}
        for key, value in attributes.items():
            phrase = private_phrase(key[1], key[0] or "")
            if phrase:
                self.dropped[phrase] = None
            else:
                kept[key] = value
        super().startElementNS(name, qname, AttributesNSImpl(kept, {}))

    def endElementNS(self, name: tuple[str | None, str], qname: str | None) -> None:  # noqa: N802
        self._depth -= 1
        if self._dropping:
            self._dropping -= 1
        else:
            super().endElementNS(name, qname)

    def characters(self, content: str) -> None:
        if not self._dropping:
            super().characters(content)

    def ignorableWhitespace(self, content: str) -> None:  # noqa: N802
        self.characters(content)

    def processingInstruction(self, target: str, data: str) -> None:  # noqa: N802
        if not self._dropping:
            super().processingInstruction(target, data)
