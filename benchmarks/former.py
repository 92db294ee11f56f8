"""Writers of this checkout and of an earlier one, measured in turns in processes of their own."""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

_MEASURE = """
import io, sys, time
import numpy as np
pixels = np.load(sys.argv[1])
write(io.BytesIO(), np.ascontiguousarray(pixels[..., :64, :64, :]))
start, file = time.process_time(), io.BytesIO()
write(file, pixels)
seconds = time.process_time() - start
open(sys.argv[2], "wb").write(file.getvalue())
print(seconds)
"""


def measure_in_turns(
    programs: Mapping[str, str], former: Path, pixels: NDArray[np.generic], rounds: int
) -> dict[str, tuple[float, bytes]]:
    """Measure writers of pixels.

    Args:
        programs: Python source that defines `write(file, pixels)`, by name.
        former: The earlier checkout, where that of "former" runs; others run in this one.
        pixels: What is written; a corner of them is before, so that all is loaded.
        rounds: How often.

    Returns:
        Median of processor seconds, and the file.
    """
    here = Path(__file__).parents[1]
    seconds: dict[str, list[float]] = {name: [] for name in programs}
    contents: dict[str, bytes] = {}
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, "pixels.npy"), Path(folder, "written")
        np.save(source, pixels)
        for _ in range(rounds):
            for name, program in programs.items():
                done = subprocess.run(  # noqa: S603
                    [sys.executable, "-c", program + _MEASURE, source, target],
                    cwd=former if name == "former" else here,
                    check=True,
                    capture_output=True,
                    text=True,
                )
                seconds[name].append(float(done.stdout))
                contents[name] = target.read_bytes()
    return {
        name: (round(statistics.median(times), 4), contents[name])
        for name, times in seconds.items()
    }
