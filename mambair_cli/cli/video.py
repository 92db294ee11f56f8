"""A video that comes and goes through pipes, frame by frame: `--stream y4m`."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, BinaryIO

from rich.progress import Progress, SpinnerColumn, TextColumn

from mambair_cli.cli import streams
from mambair_cli.cli.console import Messages, counted, duration
from mambair_cli.cli.contradictions import STANDARD_STREAM
from mambair_cli.cli.options import RestoreSettings
from mambair_cli.cli.piping import INPUT, named_source
from mambair_cli.errors import UsageError
from mambair_cli.restoration.sizing import Sizing

if TYPE_CHECKING:
    from mambair_cli.batches.work import OnNote, Restore
    from mambair_cli.checkpoints.request import Request
    from mambair_cli.imaging.y4m import Frame, FrameReader, StreamHeader

EXAMPLE = (
    "ffmpeg -i IN -f yuv4mpegpipe -strict -1 - | mambair sr --stream y4m - -o - | ffmpeg -i - OUT"
)
# Between two lines that say how far it is, where no bar moves.
SECONDS_BETWEEN = 10.0


@contextmanager
def opened_frames(settings: RestoreSettings, request: Request) -> Iterator[FrameReader]:
    """Open the stream that is to be restored, and read its first line.

    Args:
        settings: What the user asked for.
        request: What is to be done.

    Raises:
        UsageError: One of the streams is a terminal or closed, there is no such file, or frames
            do not say what would have to be known of them.
        ImageError: It is no such stream, or none of frames that can be restored.
    """
    from pathlib import Path

    from mambair_cli.batches.stages import FileOptions
    from mambair_cli.imaging.reading.opening import check_pixels
    from mambair_cli.imaging.y4m import FrameReader

    if request.task == "dejpeg" and request.quality is None and request.weights is None:
        raise UsageError(
            "the frames of a stream do not say with which JPEG quality they were compressed",
            "give it: --quality 10, 30 or 40",
        )
    if request.task == "fix":
        raise UsageError(
            "fix decides for each image by itself, and a video would flicker",
            "name what is to be done: mambair denoise --stream y4m, or sr, realsr, dejpeg",
        )
    named = named_source(settings, EXAMPLE)
    name = INPUT if named == STANDARD_STREAM else named
    limit = FileOptions.max_pixels if settings.max_pixels is None else settings.max_pixels
    with _opened(named) as file:
        frames = FrameReader(file, name)
        check_pixels(Path(name), frames.header.width * frames.header.height, limit)
        yield frames


@contextmanager
def _opened(named: str) -> Iterator[BinaryIO]:
    from pathlib import Path

    if named == STANDARD_STREAM:
        yield sys.stdin.buffer
        return
    with ExitStack() as stack:
        try:
            file = stack.enter_context(Path(named).open("rb"))
        except OSError as error:
            raise UsageError(f"{named} cannot be read: {error.strerror}", EXAMPLE) from error
        yield file


def pass_on(
    frames: FrameReader,
    restore: Restore,
    sizing: Sizing,
    on_note: OnNote,
    messages: Messages,
) -> None:
    """Restore a stream to standard output, where each frame appears as soon as it is done.

    Args:
        frames: The stream.
        restore: Restores images.
        sizing: Which size results are asked to have.
        on_note: Told how each frame is run and what was found in it.
        messages: Where to tell how far it is.

    Raises:
        BrokenPipeError: Nobody reads the result.
        ImageError: The stream is cut or faulty; what came whole is written.
        MambairError: As `restore` raises.
    """
    from mambair_cli.batches.treatment.frames import restored_frames

    header = frames.header
    reason = sizing.left_alone(header.width, header.height)
    if reason is not None:
        messages.notice(reason)
        results: Iterator[tuple[StreamHeader, Frame]] = ((header, frame) for frame in frames)
    else:
        results = restored_frames(frames, restore, on_note)
    with _counting(messages) as count:
        for number, (result, frame) in enumerate(results):
            if number == 0:
                _tell_coding(header, result, messages)
                sys.stdout.buffer.write(result.line)
            frame.written_to(sys.stdout.buffer)
            # A disk that is full: why is told at the end.
            if streams.loss() is not None:
                return
            count()


def _tell_coding(header: StreamHeader, result: StreamHeader, messages: Messages) -> None:
    from mambair_cli.pixels.video import Matrix

    messages.notice(
        f"frames: {header.width}x{header.height} to {result.width}x{result.height}, "
        f"{header.bits} bits, {'full' if header.full_range else 'limited'} range"
    )
    matrix = Matrix.usual(header)
    if header.sampling is not None and Matrix.usual(result) != matrix:
        messages.notice(
            f"the colours stay those of {matrix.name}, and players take so large frames for "
            f"{Matrix.usual(result).name}: tell the encoder, -colorspace {matrix.option}"
        )


@contextmanager
def _counting(messages: Messages) -> Iterator[Callable[[], None]]:
    """Show how many frames are done, and how many a second."""
    began = told = time.perf_counter()
    done = 0
    progress = Progress(
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        console=messages.console,
        disable=not messages.animated,
        redirect_stdout=False,
        transient=True,
    )
    task = progress.add_task("", total=None)

    def count() -> None:
        nonlocal done, told
        done += 1
        now = time.perf_counter()
        text = f"{counted(done, 'frame')}, {done / (now - began):.3g} a second"
        progress.update(task, description=text)
        if not messages.animated and now - told > SECONDS_BETWEEN:
            messages.notice(text)
            told = now

    try:
        with progress:
            yield count
    finally:
        took = duration(time.perf_counter() - began)
        messages.notice(f"{counted(done, 'frame')} in {took}")
