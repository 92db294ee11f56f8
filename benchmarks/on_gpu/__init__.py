"""Parts of the GPU benchmark.

They measure the package that stands beside them, whether or not it or another one is installed.
"""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))
