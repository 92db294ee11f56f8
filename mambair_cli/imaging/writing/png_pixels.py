"""The pixels of PNG files, filtered and compressed by libvips while they come from top to bottom.

libvips pulls what it saves. It is handed an uncompressed PNG, which it reads in a thread of its
own, so that bands are made in the caller's thread, and no image needs to be held as a whole.
"""

from __future__ import annotations

import struct
import zlib
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from queue import Queue

import numpy as np

from mambair_cli.imaging.image import ImageHeader, Pixels

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_COLOR_TYPES = {1: 0, 2: 4, 3: 2, 4: 6}  # by the number of samples of a pixel
# That of libvips (zlib-ng) writes a few percent more than zlib at 6, in less than half of its time.
_LEVEL = 6
_BLOCK_BYTES = 2**18  # handed over at once
_CHUNK_BYTES = 2**16


def chunk(name: bytes, content: bytes) -> bytes:
    """Return a chunk of a PNG file.

    Raises:
        ValueError: There is more than it can hold.
    """
    if len(content) >= 2**31:
        raise ValueError(f"a chunk of PNG holds at most 2 GiB, {name.decode()} has {len(content)}")
    checksum = zlib.crc32(content, zlib.crc32(name))
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", checksum)


def beginning(header: ImageHeader) -> bytes:
    """Return what a file begins with: its signature, sizes and type.

    Args:
        header: Size, type (uint8 or uint16), channels and whether there is alpha.
    """
    color_type = _COLOR_TYPES[header.channels + header.has_alpha]
    sizes = struct.pack(">II", header.width, header.height)
    layout = bytes([header.dtype.itemsize * 8, color_type, 0, 0, 0])
    return _SIGNATURE + chunk(b"IHDR", sizes + layout)


def compressed(header: ImageHeader, bands: Iterable[Pixels]) -> Generator[bytes]:
    """Filter and compress an image; what comes out depends on its pixels alone.

    Every row takes the filter whose residuals have the smallest sum of absolute values.

    Args:
        header: Size, type (uint8 or uint16), channels and whether there is alpha.
        bands: `(rows w s)` from top to bottom, alpha as the last sample; `h` rows together. They
            are made in the thread that asks for what is yielded.

    Yields:
        The contents of the chunks with the pixels.

    Raises:
        ValueError: libvips cannot save the image.
    """
    return _recut(_contents(_saved(_stored(header, bands))), _CHUNK_BYTES)


def _stored(header: ImageHeader, bands: Iterable[Pixels]) -> Iterator[bytes]:
    """Write an uncompressed PNG, a block of rows after the other."""
    yield beginning(header)
    packer = zlib.compressobj(level=0)
    stride = header.width * (header.channels + header.has_alpha) * header.dtype.itemsize
    count = max(1, _BLOCK_BYTES // stride)
    for band in bands:
        for start in range(0, len(band), count):
            rows = band[start : start + count]
            lines = np.zeros((len(rows), 1 + stride), np.uint8)  # each begins with its filter: none
            big_endian = np.ascontiguousarray(rows, rows.dtype.newbyteorder(">"))
            lines[:, 1:] = big_endian.view(np.uint8).reshape(-1, stride)
            yield chunk(b"IDAT", packer.compress(lines.data))
    yield chunk(b"IDAT", packer.flush()) + chunk(b"IEND", b"")


class _Pipe:
    """Parts of a file on their way from one thread to another."""

    def __init__(self) -> None:
        self._parts: Queue[bytes] = Queue(1)
        self._next = memoryview(b"")
        self._ended = False

    def write(self, part: bytes) -> None:
        """Hand a part over; one without content is the end."""
        self._parts.put(part)

    def read(self, size: int) -> bytes:
        """Take up to so many bytes; none at the end."""
        while not (self._next or self._ended):
            self._next = memoryview(self._parts.get())
            self._ended = not self._next
        taken, self._next = self._next[:size], self._next[size:]
        return bytes(taken)

    def read_to_end(self) -> None:
        while not self._ended:
            self._ended = not self._parts.get()


def _saved(file: Iterable[bytes]) -> Iterator[bytes]:
    """Have libvips read one PNG file and write another, a part after the other."""
    pipe, made = _Pipe(), deque[bytes]()
    with ThreadPoolExecutor(1) as pool:
        saving = pool.submit(_save, pipe, made)
        # libvips asks for no more than the pixels, and for nothing once it has failed.
        saving.add_done_callback(lambda _: pipe.read_to_end())
        try:
            for part in file:
                if saving.done():
                    saving.result()
                pipe.write(part)
                while made:
                    yield made.popleft()
        finally:
            pipe.write(b"")
        saving.result()
    yield from made


def _save(pipe: _Pipe, made: deque[bytes]) -> None:
    import pyvips

    from mambair_cli.imaging import vips

    def write(part: memoryview) -> int:
        made.append(bytes(part))
        return len(part)

    source, target = pyvips.SourceCustom(), pyvips.TargetCustom()
    source.on_read(pipe.read)
    target.on_write(write)
    try:
        image = pyvips.Image.new_from_source(source, "", access="sequential", fail_on="truncated")
        image.pngsave_target(target, compression=_LEVEL, filter="all", keep="none")
    except vips.VipsError as error:
        raise ValueError(vips.reason(error)) from error


def _contents(file: Iterable[bytes]) -> Iterator[bytes]:
    """Yield what the chunks with pixels of a PNG file hold."""
    waiting = bytearray()
    position = len(_SIGNATURE)
    for part in file:
        waiting += part
        while len(waiting) >= position + 12:
            length, name = struct.unpack_from(">I4s", waiting, position)
            end = position + 12 + length
            if len(waiting) < end:
                break
            if name == b"IDAT":
                yield bytes(waiting[position + 8 : end - 4])
            position = end
        taken = min(position, len(waiting))
        del waiting[:taken]
        position -= taken


def _recut(parts: Iterable[bytes], size: int) -> Generator[bytes]:
    """Cut a stream anew, into equal pieces."""
    waiting = bytearray()
    for part in parts:
        waiting += part
        while len(waiting) >= size:
            yield bytes(waiting[:size])
            del waiting[:size]
    if waiting:
        yield bytes(waiting)
