"""Compression with several threads whose output does not depend on how many they are."""

from __future__ import annotations

import os
import struct
import zlib
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

_LEVEL = 6
_MEMORY = 9
_WINDOW_BITS = 15
_WINDOW = 2**_WINDOW_BITS
_HEADER = b"\x78\x9c"  # of RFC 1950: deflate, this window, default level
_EMPTY_LAST_BLOCK = b"\x03\x00"
_MOST_THREADS = 8


def deflated(parts: Iterable[bytes]) -> Iterator[bytes]:
    """Compress filtered pixels to one zlib stream.

    Each part is compressed by itself, with the end of the one before as its dictionary, so that
    almost nothing is lost; what comes out depends on where the parts begin.

    Args:
        parts: Best of about a megabyte each. A few more than there are threads are held.
    """
    yield _HEADER
    checksum, window = zlib.adler32(b""), b""
    threads = min(_MOST_THREADS, os.cpu_count() or 1)
    running: deque[Future[bytes]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        for part in parts:
            checksum = zlib.adler32(part, checksum)
            running.append(pool.submit(_compress, part, window))
            window = part[-_WINDOW:]
            if len(running) > threads:
                yield running.popleft().result()
        while running:
            yield running.popleft().result()
    yield _EMPTY_LAST_BLOCK + struct.pack(">I", checksum)


def _compress(part: bytes, window: bytes) -> bytes:
    compressor = zlib.compressobj(
        _LEVEL, zlib.DEFLATED, -_WINDOW_BITS, _MEMORY, zlib.Z_FILTERED, window
    )
    # A flush ends at a byte, without the mark that ends a stream.
    return compressor.compress(part) + compressor.flush(zlib.Z_SYNC_FLUSH)
