"""Reports: the numbers in every format, with what is published beside them."""

import csv
import io
import json

from measured_runs import LIGHT, TINY, run

from mambair_cli.evaluation.report import as_csv, as_json, as_markdown
from mambair_cli.evaluation.results import conditions


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
