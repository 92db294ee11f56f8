"""Reads files in a process of its own, so that a crash, a hang or a flood of memory is noticed.

Run as `python read_many.py KIND`, with paths on standard input, separated by zero bytes: one line
of JSON for each file, written before the next is opened.
"""

from __future__ import annotations

import hashlib
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
MAX_PIXELS = 20_000_000  # a header that lies costs no more than an image of this size


@dataclass(frozen=True)
class Outcome:
    """What came of one file.

    Attributes:
        path: The file.
        kind: `read`, `refused`, or what must not be: `raised`, `crashed`, `hung`.
        message: The error's message.
        hint: The error's hint.
        seconds: Processor time that it took: the machine may be busy.
        peak: Most memory that the process had held until then, in bytes.
        result: What the reader said of what it read.
    """

    path: Path
    kind: str
    message: str = ""
    hint: str | None = None
    seconds: float = 0.0
    peak: int = 0
    result: Any = None


def read_apart(
    kind: str, paths: Iterable[Path], *, seconds: float = 60, memory: int = 0
) -> list[Outcome]:
    """Reads files in another process; after a crash or a hang a new one goes on with the rest.

    Args:
        kind: Key of `READERS`.
        paths: The files.
        seconds: Time for all files of one process together.
        memory: Most bytes of address space that the process may take; 0 for no limit.

    Returns:
        An outcome for each path, in order.
    """
    waiting, outcomes = list(paths), []
    while waiting:
        done, failure = _one_process(kind, waiting, seconds, memory)
        outcomes += done
        waiting = waiting[len(done) :]
        if waiting:
            outcomes.append(Outcome(waiting.pop(0), *failure))
    return outcomes


def _one_process(
    kind: str, paths: Sequence[Path], seconds: float, memory: int
) -> tuple[list[Outcome], tuple[str, str]]:
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    child = subprocess.Popen(
        [sys.executable, __file__, kind, str(memory)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment,
    )
    try:
        out, err = child.communicate(b"\0".join(os.fsencode(path) for path in paths), seconds)
        failure = ("crashed", f"exit status {child.returncode}: {err[-2000:]!r}")
    except subprocess.TimeoutExpired:
        child.kill()
        out, _ = child.communicate()
        failure = ("hung", f"more than {seconds} seconds")
    rows = [json.loads(line) for line in out.splitlines()]
    return [Outcome(path, **row) for path, row in zip(paths, rows, strict=False)], failure


def _digest(parts: Iterable[Any]) -> str:
    digest = hashlib.sha256()
    for part in parts:
        if part is not None:
            digest.update(part.tobytes())
    return digest.hexdigest()


def _read_images(path: Path) -> dict[str, Any]:
    from mambair_cli.imaging.files import read_header, read_images

    header = read_header(path, max_pixels=MAX_PIXELS)
    images = read_images(path, max_pixels=MAX_PIXELS).images
    first = images[0]
    assert (header.height, header.width, header.channels) == first.pixels.shape, header
    assert (header.dtype, header.images) == (first.pixels.dtype, len(images)), header
    # Composing frames may show that their opacity hides nothing.
    assert len(images) > 1 or header.has_alpha == (first.alpha is not None), header
    for image in images:
        assert image.pixels.ndim == 3, image.pixels.shape
        assert image.pixels.size > 0, image.pixels.shape
        assert image.pixels.dtype.name in ("uint8", "uint16", "float32"), image.pixels.dtype
        if image.alpha is not None:
            assert image.alpha.shape == image.pixels.shape[:2], image.alpha.shape
            assert image.alpha.dtype == image.pixels.dtype, image.alpha.dtype
    shapes = [[*image.pixels.shape, image.pixels.dtype.name] for image in images]
    parts = [part for image in images for part in (image.pixels, image.alpha)]
    return {"shapes": shapes, "digest": _digest(parts)}


def _read_bands(path: Path) -> dict[str, Any]:
    import numpy as np

    from mambair_cli.imaging.files import open_bands

    with open_bands(path, max_pixels=MAX_PIXELS) as reader:
        header, rows = reader.header, 16
        bands = [
            reader.read(start, min(start + rows, header.height))
            for start in range(0, header.height, rows)
        ]
    pixels = np.concatenate([band.pixels for band in bands])
    alpha = np.concatenate([band.alpha for band in bands]) if header.has_alpha else None
    assert pixels.shape == (header.height, header.width, header.channels), header
    assert pixels.dtype == header.dtype, header
    return {"shapes": [[*pixels.shape, pixels.dtype.name]], "digest": _digest([pixels, alpha])}


def _load_weights(path: Path) -> Any:
    from mambair_cli.checkpoints.load import load_checkpoint

    return load_checkpoint(path).spec.task


READERS: dict[str, Callable[[Path], Any]] = {
    "images": _read_images,
    "bands": _read_bands,
    "weights": _load_weights,
}


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _outcome(reader: Callable[[Path], Any], path: Path) -> dict[str, Any]:
    from mambair_cli.errors import MambairError

    try:
        return {"kind": "read", "result": reader(path)}
    except MambairError as error:
        return {"kind": "refused", "message": error.message, "hint": error.hint}
    except Exception as error:  # noqa: BLE001 - whatever it is, it is what is looked for
        return {"kind": "raised", "message": repr(error)}


def main() -> None:
    """Reads what standard input names."""
    kind, memory = sys.argv[1], int(sys.argv[2])
    reader = READERS[kind]
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # libraries that print must not mix with the rows
    paths = [Path(os.fsdecode(name)) for name in sys.stdin.buffer.read().split(b"\0")]
    if memory:
        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    _outcome(reader, Path("nothing"))  # imports are not what is timed
    for path in paths:
        start = time.process_time()
        row = _outcome(reader, path)
        row |= {"seconds": time.process_time() - start, "peak": _peak()}
        out.write(json.dumps(row) + "\n")
        out.flush()


if __name__ == "__main__":
    main()
