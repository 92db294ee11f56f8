"""Fuzzing guided by the lines that are reached, for as long as one likes; no test runs it.

    pip install atheris
    python tests/fuzz/coverage_guided.py images corpus/ -max_total_time=600

`images`, `bands` or `weights` names the reader (`tests/support/read_many.py`); the folder takes
what reaches something new, and begins with the files of the tests. Whatever is raised beside
`MambairError` ends the run, and the input is written to a file `crash-…`.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import atheris

TESTS = Path(__file__).parents[1]
sys.path[:0] = [str(TESTS.parent), str(TESTS / "support"), str(TESTS / "fuzz")]

with atheris.instrument_imports(include=["mambair_cli", "PIL", "tifffile", "safetensors"]):
    from read_many import READERS

    from mambair_cli.checkpoints import load as _load  # noqa: F401
    from mambair_cli.errors import MambairError
    from mambair_cli.imaging import files as _files  # noqa: F401


def seeds(kind: str) -> list[bytes]:
    """What the corpus begins with."""
    if kind == "weights":
        from test_fuzz import weights

        return weights()
    from image_files import image_files

    return [file.make() for file in image_files()]


def main() -> None:
    """Fills the corpus and starts the fuzzer."""
    kind, corpus = sys.argv[1], Path(sys.argv[2])
    corpus.mkdir(parents=True, exist_ok=True)
    for number, content in enumerate(seeds(kind)):
        (corpus / f"seed-{number}").write_bytes(content)
    path = Path(tempfile.mkdtemp()) / "input"

    def try_one(content: bytes) -> None:
        path.write_bytes(content)
        try:
            READERS[kind](path)
        except MambairError:
            return

    atheris.Setup([sys.argv[0], *sys.argv[2:]], try_one)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
