"""How often is an input file opened while it is restored?

    python benchmarks/file_opens.py [--before ../another/checkout]

Runs the command line on one small image of each format under strace and counts the calls that open
it, Python's, Pillow's and libvips' alike; then `dejpeg` with a record, which also takes the sha256
and the JPEG quality of its input. With `--before` the same is counted for another checkout, whose
package the same interpreter can import. libvips itself closes a file once it has the header, and
opens it again, more than once, for its rows. Writes benchmarks/results/file_opens.json: commit,
counts.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from hardware import describe_commit
from PIL import Image

ROOT = Path(__file__).parents[1]
RESULT = Path(__file__).parent / "results" / "file_opens.json"
SR = ("sr", "--scale", "2", "--model", "tiny")
CASES = {
    **dict.fromkeys(("png", "jpg", "tif", "webp", "gif"), SR),
    "jpg, dejpeg --resume": ("dejpeg", "--model", "tiny", "--resume"),
}


def count(checkout: Path, case: str, folder: Path) -> int:
    """Runs one case with the package of a checkout; returns how often the input was opened."""
    path = folder / f"input.{case.partition(',')[0]}"
    values = np.random.default_rng(0).integers(0, 256, (24, 32, 3), np.uint8)
    Image.fromarray(values).save(path)
    log = folder / "strace.log"
    command = ["strace", "-f", "-qq", "-e", "trace=open,openat,openat2", "-o", str(log)]
    command += [sys.executable, "-m", "mambair_cli", *CASES[case], str(path)]
    # `-m` would import the package of the working directory first.
    environment = {**os.environ, "PYTHONPATH": str(checkout)}
    subprocess.run(  # noqa: S603
        [*command, "-o", str(folder / "out")],
        env=environment,
        cwd=folder,
        check=True,
        capture_output=True,
    )
    opened = re.compile(rf'open(?:at2?)?\(.*"(?:\S*/)?{re.escape(path.name)}".*= \d+$')
    return sum(bool(opened.search(line)) for line in log.read_text().splitlines())


def count_all(checkout: Path) -> dict[str, int]:
    """Runs all cases."""
    counts = {}
    for case in CASES:
        with tempfile.TemporaryDirectory() as folder:
            counts[case] = count(checkout, case, Path(folder))
    return counts


def main() -> None:
    """Counts, and writes the result."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--before", type=Path, help="another checkout to compare with")
    arguments = parser.parse_args()
    result = {"commit": describe_commit(), "opens": count_all(ROOT)}
    if arguments.before is not None:
        result |= {"opens_before": count_all(arguments.before.resolve())}
    RESULT.write_text(json.dumps(result, indent=2) + "\n")
    sys.stdout.write(RESULT.read_text())


if __name__ == "__main__":
    main()
