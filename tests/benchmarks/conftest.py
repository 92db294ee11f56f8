"""The benchmarks are programs, not a package: their folder is where they import from."""

import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.append(str(ROOT / "benchmarks"))
