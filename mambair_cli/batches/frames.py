"""The frames of a video stream, restored one after the other as they come."""

from __future__ import annotations

from collections.abc import Iterator

from mambair_cli.batches.work import OnNote, Restore
from mambair_cli.imaging.y4m import Frame, FrameReader, StreamHeader
from mambair_cli.pixels.video import Matrix, frame_of, image_of


def restored_frames(
    frames: FrameReader, restore: Restore, on_note: OnNote
) -> Iterator[tuple[StreamHeader, Frame]]:
    """Restore a stream; no frame is read before the one in front of it was taken.

    Results are coded as their frames are: sampling, depth, range, matrix, and what lines say beside
    the size. A frame in which nothing is to be restored is the same to the bit.

    Args:
        frames: The stream.
        restore: Restores images.
        on_note: Told how each is run and what was found in it.

    Yields:
        Each frame of the result, with the header of their stream.

    Raises:
        ImageError: The stream is cut or faulty, after all that came whole.
        MambairError: As `restore` raises.
    """
    header = frames.header
    matrix = Matrix.usual(header)
    for frame in frames:
        source = image_of(frame, header, matrix)
        restored = restore.image(source, lambda *_: None, on_note)
        if restored.left_alone:
            yield header, frame
            continue
        height, width = restored.pixels.shape[:2]
        result = header.resized(width, height)
        yield result, frame_of(restored.pixels, result, matrix, frame.fields)
