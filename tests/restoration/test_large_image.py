"""Images larger than memory, from file to file under a limit that the kernel keeps."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "large_image.py"
GIBIBYTE = 2**30

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="limits the memory of a process")


@pytest.mark.long
@pytest.mark.parametrize("case", ["30000x1.png", "30000x1.tif", "9600x4.tif"])
def test_an_image_larger_than_memory_is_restored_under_4_gib(case, tmp_path):
    result = tmp_path / "result.json"
    subprocess.run(
        [sys.executable, BENCHMARK, "--cases", case, "--limit-gib", "4", "--result", result],
        check=True,
    )
    measured = json.loads(result.read_text())[case]
    assert measured["every_pixel_right"]
    assert measured["peak_resident_bytes"] < measured["limit_bytes"] == 4 * GIBIBYTE
    if case == "9600x4.tif":
        assert measured["output_pixels_bytes"] > measured["limit_bytes"]
        assert measured["output"] == "tif, BigTIFF"


@pytest.mark.slow
def test_a_network_that_does_not_fit_is_an_error_with_a_hint(tmp_path):
    command = [sys.executable, BENCHMARK, "--cases", "3000x4.tif", "--limit-gib", "0.3"]
    command += ["--result", tmp_path / "result.json"]
    done = subprocess.run(command, check=False, capture_output=True)
    assert done.returncode == 1
    assert b"MemoryLimitError" in done.stderr
    assert not list(tmp_path.iterdir())
