"""Standard streams that are full, closed, or of an encoding that cannot hold a name.

What cannot be printed never ends the work: that of standard output is told at the end, that of
standard error is lost. Only a reader who has gone away ends it, as it does with other programs.
"""

from __future__ import annotations

import codecs
import errno
import io
import os
import sys
from typing import TextIO

INPUT, OUTPUT, ERROR = range(3)
_ESCAPING = "mambair-escaping"
# What file names hold in place of bytes that are no text.
_FIRST_ESCAPED_BYTE, _LAST_ESCAPED_BYTE = 0xDC80, 0xDCFF


class _Lossy(io.FileIO):
    """A file that forgets what it cannot write.

    Attributes:
        failure: Why, of the first time; None while nothing was lost.
    """

    def __init__(self, descriptor: int) -> None:
        super().__init__(descriptor, "w", closefd=False)
        self.failure: OSError | None = None

    def write(self, data: object, /) -> int:
        """Write, or forget; raises `BrokenPipeError` where nobody reads standard output."""
        try:
            return super().write(data)  # type: ignore[arg-type]
        except OSError as error:
            if isinstance(error, BrokenPipeError) and self.fileno() == OUTPUT:
                raise
            self.failure = self.failure or error
            return memoryview(data).nbytes  # type: ignore[arg-type]


def install() -> None:
    """Put streams in place that can be printed to whatever they are."""
    codecs.register_error(_ESCAPING, _escape)
    for descriptor in (INPUT, OUTPUT, ERROR):
        try:
            os.fstat(descriptor)
        except OSError:
            # Closed: the next file that is opened would get what is printed. It gets this number
            # itself, and cannot be written.
            os.open(os.devnull, os.O_RDONLY)
    sys.stdout = _lossy(OUTPUT, sys.stdout)
    sys.stderr = _lossy(ERROR, sys.stderr)


def loss() -> str | None:
    """Say why something is missing on standard output; None where all was printed.

    Raises:
        BrokenPipeError: Nobody reads it any more.
    """
    sys.stdout.flush()
    raw = getattr(getattr(sys.stdout, "buffer", None), "raw", None)
    if not isinstance(raw, _Lossy) or raw.failure is None:
        return None
    return "it is closed" if raw.failure.errno == errno.EBADF else raw.failure.strerror


def abandon_output() -> None:
    """Have what is still to be printed on standard output go nowhere."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, OUTPUT)
    os.close(nowhere)


def _lossy(descriptor: int, stream: TextIO | None) -> TextIO:
    if stream is None:
        return io.TextIOWrapper(io.BufferedWriter(_Lossy(descriptor)), "utf-8", _ESCAPING)
    if not isinstance(stream, io.TextIOWrapper):
        return stream
    stream.reconfigure(errors=_ESCAPING)
    # A console of Windows is no file, and cannot be full.
    if type(getattr(stream.buffer, "raw", stream.buffer)) is not io.FileIO:
        return stream
    stream.flush()
    return io.TextIOWrapper(
        io.BufferedWriter(_Lossy(descriptor)),
        stream.encoding,
        _ESCAPING,
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )


def _escape(error: UnicodeError) -> tuple[bytes, int]:
    """Encode what an encoding has not: bytes that were no text as they came, the rest escaped."""
    assert isinstance(error, UnicodeEncodeError)
    encoded = bytearray()
    for letter in error.object[error.start : error.end]:
        if _FIRST_ESCAPED_BYTE <= ord(letter) <= _LAST_ESCAPED_BYTE:
            encoded.append(ord(letter) - 0xDC00)
        else:
            encoded += letter.encode("ascii", "backslashreplace")
    return bytes(encoded), error.end
