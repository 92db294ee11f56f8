"""A folder of good and damaged images from a real command line: each is done, or named."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from bombs import bombs
from damage import damaged
from image_files import image_files
from PIL import Image

from mambair_cli.errors import ImageError
from mambair_cli.imaging.files import read_images

# Of libraries that know nothing of this command's manners.
OURS = ("warning: changed: ", "warning: dropped: ")
FOREIGN = ("Traceback", "Warning", "warning", "TIFF", "libpng", "vips", "tifffile", "PIL.")


@pytest.fixture
def folder(tmp_path, make_image):
    """Fills a folder; returns it and the good files in it."""

    def fill(count, seed):
        inside = tmp_path / "in"
        good = [make_image(inside / f"good {n}.png", 20 + n, 13) for n in range(4)]
        contents = [file.make() for file in image_files()]
        names = [file.id for file in image_files()]
        for number, (index, kind, content) in enumerate(damaged(contents, count, seed)):
            (inside / f"{number:04} {kind} {names[index]}").write_bytes(content)
        for name, content in list(bombs())[:: max(1, 2000 // count)]:
            (inside / name).write_bytes(content)
        return inside, good

    return fill


def run(*arguments, **environment):
    command = [sys.executable, "-m", "mambair_cli", *map(str, arguments)]
    return subprocess.run(
        command,
        capture_output=True,
        text=True,
        errors="surrogateescape",
        check=False,
        timeout=900,
        env=os.environ | environment,
    )


def is_readable(path):
    try:
        read_images(path, max_pixels=10_000)
    except ImageError:
        return False
    return True


@pytest.mark.slow
@pytest.mark.parametrize(("count", "seed"), [(20, 5), (1000, 6)])
def test_every_image_is_done_or_named_and_the_exit_status_tells(
    folder, weights, tmp_path, count, seed
):
    inside, good = folder(count, seed)
    out = tmp_path / "out"
    options = ("--weights", weights / "denoise-s25.safetensors", "--max-pixels", 10_000)
    done = run("denoise", inside, "-o", out, "--format", "tif", "--name", "{stem} {ext}.{ext}",
               "--json", "--scan", "torch", *options)  # fmt: skip
    assert done.returncode in (0, 1), done.stderr
    events = [json.loads(line) for line in done.stdout.splitlines()]
    ends = {event["source"]: event for event in events if event["event"] in ENDS}
    sources = {str(path) for path in inside.iterdir()}
    assert ends.keys() == sources
    failed = {source for source, event in ends.items() if event["event"] == "file_failed"}
    assert done.returncode == (1 if failed else 0)
    assert failed == {source for source in sources if not is_readable(Path(source))}
    summary = done.stderr.split("images failed:")[1]
    for source, event in ends.items():
        if source in failed:
            assert source in event["error"]
            assert source in summary
        else:
            assert len(read_images(Path(event["target"])).images) == len(
                read_images(Path(source)).images
            )
    for path in good:
        with Image.open(path) as image, Image.open(ends[str(path)]["target"]) as result:
            assert np.asarray(result).shape == np.asarray(image).shape
    assert len(list(out.iterdir())) == len(sources - failed) + 1  # the record of the batch
    told = done.stderr.replace(str(inside), "")
    for line in told.splitlines():
        assert not line.startswith(FOREIGN) or line.startswith(OURS), line


ENDS = ("file_done", "file_failed")
