"""The frames of a video stream, restored as they come."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from mambair_cli.batches.work import OnNote, Restore
from mambair_cli.errors import ImageError
from mambair_cli.imaging.y4m import Frame, FrameReader, StreamHeader
from mambair_cli.pixels.video import Matrix, frame_of, image_of


def restored_frames(
    frames: FrameReader, restore: Restore, on_note: OnNote
) -> Iterator[tuple[StreamHeader, Frame]]:
    """Restore a stream; none is read before those in front of it were taken, but as many together.

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
    for group in _grouped(frames, restore.together(header.width, header.height)):
        sources = [image_of(frame, header, matrix) for frame in group]
        restored = restore.images(sources, lambda *_: None, on_note)
        for frame, image in zip(group, restored, strict=True):
            if image.left_alone:
                yield header, frame
                continue
            height, width = image.pixels.shape[:2]
            result = header.resized(width, height)
            yield result, frame_of(image.pixels, result, matrix, frame.fields)


def _grouped(frames: FrameReader, most: int) -> Iterator[Sequence[Frame]]:
    """Read so many frames at a time; where the stream is cut, first give what came whole."""
    group: list[Frame] = []
    try:
        for frame in frames:
            group.append(frame)
            if len(group) == most:
                yield group
                group = []
    except ImageError:
        if group:
            yield group
        raise
    if group:
        yield group
