"""Reports: the numbers in every format, what is published beside them, and the check."""

import csv
import io
import json

import pytest

from mambair_cli.errors import MambairError, UsageError
from mambair_cli.evaluation.protocol import Scores
from mambair_cli.evaluation.report import as_csv, as_json, as_markdown
from mambair_cli.evaluation.results import (
    ImageResult,
    Run,
    SetResult,
    check,
    conditions,
    require_reported,
)
from mambair_cli.networks.spec import ModelSpec

LIGHT = ModelSpec("mambair-light-sr-x4", "sr", 4, 3)
TINY = ModelSpec("mambair-tiny-sr-x4", "sr", 4, 3)


def run(spec, psnr, dataset="Set5", *, complete=True, ensemble=False):
    images = tuple(
        ImageResult(name, 20, 12, Scores(psnr + off, 0.9), Scores(28.0, 0.8), 0.5)
        for name, off in (("a", -1.0), ("b", 1.0))
    )
    result = SetResult(dataset, complete, "f00d", "given", "paper", images, 2**30)
    return Run(spec, 924_492, "cafe", ensemble, "cpu (2 threads)", "fp32", "numba", result)


def test_means_and_rates():
    result = run(LIGHT, 32.4).result
    assert result.restored == Scores(pytest.approx(32.4), pytest.approx(0.9))
    assert result.unrestored.psnr == 28
    assert result.seconds == 1
    assert result.megapixels_per_second == pytest.approx(2 * 240 / 1e6)


def test_the_authors_number_and_the_difference_are_beside_ours():
    (row,) = csv.DictReader(io.StringIO(as_csv([run(LIGHT, 32.412)])))
    assert float(row["reported_psnr"]) == 32.42
    assert float(row["difference"]) == -0.008
    assert row["reported_by"] == "Table 4, p. 13"
    assert row["sha256"] == "cafe"
    assert row["protocol"] == "paper"
    assert row["peak_mebibytes"] == "1024"


def test_json_has_every_image_and_the_peers():
    document = json.loads(as_json([run(LIGHT, 32.42), run(TINY, 30.9)]))
    assert document["version"] == 1
    first, second = document["runs"]
    assert [score["name"] for score in first["scores"]] == ["a", "b"]
    assert {"method": "SwinIR-light", "psnr": 32.44, "source": "Table 4, p. 13"} in first["peers"]
    assert second["reported_psnr"] is None


def test_markdown_says_what_the_numbers_depend_on():
    text = as_markdown([run(LIGHT, 32.42)])
    assert "| Set5 | mambair-light-sr-x4 | 32.420 | 0.9000 | 32.42 / 0.8977 | +0.000 |" in text
    assert "SwinIR-light 32.44" in text
    for condition in conditions([run(LIGHT, 32.42)]):
        assert f"- {condition}" in text


def test_the_check_passes_within_its_tolerance():
    check([run(LIGHT, 32.425), run(TINY, 1)], 0.01)


def test_the_check_names_what_is_off():
    with pytest.raises(
        MambairError, match=r"^1 of 2 scores are off by more than 0.01 dB:"
    ) as caught:
        check([run(LIGHT, 32.40), run(LIGHT, 28.74, "Set14")], 0.01)
    assert "mambair-light-sr-x4 on Set5: 32.400 dB, reported 32.42, difference -0.020" in str(
        caught.value
    )
    assert caught.value.exit_status == 1


def test_released_weights_are_checked_against_their_own_number():
    check([run(LIGHT, 26.75, "Urban100")], 0.01)
    with pytest.raises(MambairError):
        check([run(LIGHT, 26.52, "Urban100")], 0.01)


def test_a_check_without_anything_to_compare_is_a_wrong_request():
    with pytest.raises(UsageError, match="nobody reports a score of mambair-tiny-sr-x4"):
        require_reported([("Set5", True, TINY)])
    with pytest.raises(UsageError, match="Set5: not all images are there"):
        require_reported([("Set5", False, LIGHT)])
    require_reported([("Set5", True, TINY), ("Set5", True, LIGHT)])
    with pytest.raises(UsageError, match=r"nobody reports a score of mambair-tiny-sr-x4\+ to"):
        require_reported([("Set5", True, TINY)], ensemble=True)
