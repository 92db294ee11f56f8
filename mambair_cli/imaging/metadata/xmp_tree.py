"""Properties of an XMP packet with the bytes where they stand, for changes that move no others."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from xml.parsers import expat

Name = tuple[str, str]  # namespace, and name in it

RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
_SEPARATOR = "\n"  # stands in no namespace that is written in XML
_DEEPEST = 200
_MOST_NODES = 100_000
_TAG = re.compile(rb"<(?:[^\"'>]|\"[^\"]*\"|'[^']*')*>")
_ATTRIBUTE = re.compile(rb"\s([^\s=<>/\"']+)\s*=\s*(?:\"([^\"]*)\"|'([^']*)')")


@dataclass(frozen=True)
class Span:
    """A value that is written in a packet.

    Attributes:
        start: Its first byte.
        stop: Behind its last.
        whole: First byte, and behind the last, of all that has to go with it.
        text: What stands there.
    """

    start: int
    stop: int
    whole: tuple[int, int]
    text: str


@dataclass(eq=False)
class Node:
    """An element.

    Attributes:
        name: Of the property, or of what RDF puts around some.
        start: Its first byte.
        stop: Behind its last byte.
        attributes: Properties that are written as attributes.
        children: Elements inside; only of such as were asked for.
        text: Its value, where it has no elements inside.
    """

    name: Name
    start: int
    stop: int = 0
    attributes: dict[Name, Span] = field(default_factory=dict)
    children: list[Node] = field(default_factory=list)
    text: Span | None = None

    @property
    def fields(self) -> dict[Name, Span]:
        """Properties of it with a single value, however they are written."""
        inside = {child.name: child.text for child in self.children if child.text}
        return {**self.attributes, **inside}

    def walk(self) -> Iterator[Node]:
        """Go through it and all elements inside it."""
        waiting = [self]
        while waiting:
            node = waiting.pop()
            yield node
            waiting.extend(reversed(node.children))


def find_properties(packet: bytes, wanted: Callable[[Name], bool]) -> list[Node]:
    """Find properties, as elements with all that is inside, or as attributes of elements.

    Args:
        packet: UTF-8 or what it declares.
        wanted: Tells whether a property is looked for.

    Returns:
        Elements that are properties looked for, or bear some as attributes; of these only they.

    Raises:
        ValueError: The packet is damaged, declares a document type, or has too many properties.
    """
    finder = _Finder(packet, wanted)
    parser = expat.ParserCreate(namespace_separator=_SEPARATOR)
    parser.ordered_attributes = True
    parser.StartElementHandler = lambda name, found: finder.open(
        name, found, parser.CurrentByteIndex
    )
    parser.EndElementHandler = lambda _: finder.close(parser.CurrentByteIndex)
    parser.StartDoctypeDeclHandler = finder.refuse
    try:
        # What stands behind the packet's end is padding.
        parser.Parse(packet.rstrip(b"\0 \r\n\t"), True)
    except expat.ExpatError as error:
        raise ValueError(str(error)) from error
    return finder.found


def edited(packet: bytes, edits: dict[tuple[int, int], bytes]) -> bytes:
    """Replace bytes from first to last by others; what lies inside a longer one goes with it."""
    parts, position = [], 0
    for (start, stop), replacement in sorted(
        edits.items(), key=lambda one: (one[0][0], -one[0][1])
    ):
        if start >= position:
            parts += [packet[position:start], replacement]
            position = stop
    return b"".join(parts) + packet[position:]


class _Finder:
    def __init__(self, packet: bytes, wanted: Callable[[Name], bool]) -> None:
        self.found: list[Node] = []
        self._packet, self._wanted = packet, wanted
        self._stack: list[Node | None] = []  # None for what nobody asked for
        self._count = 0

    def refuse(self, *_: object) -> None:
        raise ValueError("it declares a document type")

    def open(self, name: str, attributes: list[str], start: int) -> None:
        if len(self._stack) == _DEEPEST:
            raise ValueError("its elements are nested too deep")
        parent = self._stack[-1] if self._stack else None
        names = [_name(one) for one in attributes[::2]]
        node = None
        if parent or self._wanted(_name(name)):
            node = Node(_name(name), start, attributes=self._spans(names, start, bool))
            (parent.children if parent else self.found).append(node)
            self._counted()
        elif any(self._wanted(one) for one in names):
            self.found.append(
                Node(("", ""), start, attributes=self._spans(names, start, self._wanted))
            )
            self._counted()
        self._stack.append(node)

    def close(self, position: int) -> None:
        node = self._stack.pop()
        if node is None:
            return
        tag = self._tag(node.start)
        if tag.endswith(b"/>"):
            node.stop = node.start + len(tag)
            return
        node.stop = self._packet.index(b">", position) + 1
        if not node.children:
            inside = node.start + len(tag), position
            text = self._packet[slice(*inside)].decode("utf-8", "replace").strip()
            node.text = Span(*inside, (node.start, node.stop), text)

    def _counted(self) -> None:
        self._count += 1
        if self._count > _MOST_NODES:
            raise ValueError("it has too many properties")

    def _tag(self, start: int) -> bytes:
        found = _TAG.match(self._packet, start)
        assert found, "the parser found a tag there"
        return found[0]

    def _spans(
        self, names: list[Name], start: int, wanted: Callable[[Name], bool]
    ) -> dict[Name, Span]:
        written = [one for one in _ATTRIBUTE.finditer(self._tag(start)) if not _declares(one[1])]
        spans = {}
        for name, one in zip(names, written, strict=True):
            if wanted(name):
                group = 3 if one[2] is None else 2
                first, stop = (start + place for place in one.span(group))
                whole = start + one.start(), start + one.end()
                spans[name] = Span(
                    first, stop, whole, one[group].decode("utf-8", "replace").strip()
                )
        return spans


def _name(found: str) -> Name:
    namespace, _, name = found.rpartition(_SEPARATOR)
    return namespace, name


def _declares(name: bytes) -> bool:
    return name == b"xmlns" or name.startswith(b"xmlns:")
