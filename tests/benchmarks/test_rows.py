"""Figures that a benchmark keeps, to go on where it was ended."""

from __future__ import annotations

import pytest
from rows import Row, Rows, shared, weights_of

from mambair_cli.checkpoints.catalogue import bundled_directory
from mambair_cli.checkpoints.shards import digest_of

NAME = "mambair-tiny-sr-x4"


@pytest.fixture(scope="module")
def now():
    return digest_of(bundled_directory() / f"{NAME}.safetensors")


def test_what_other_weights_were_behind_is_measured_again(tmp_path, now):
    file = tmp_path / "rows.jsonl"
    rows = Rows(file)
    kept = Row("cat", "blur", "fix", 0.5, "sr x4", {NAME: now})
    others = Row("cat", "noise", "fix", 0.5, "sr x4", {NAME: "of before"})
    none = Row("cat", "blur", "dejpeg", None)
    for row in (kept, others, none):
        rows.add(row)
    again = Rows(file)
    assert again.of("cat", "blur") == [kept, none]
    assert again.of("cat", "noise") == []
    assert kept.key in again
    assert others.key not in again
    assert weights_of([kept, none]) == {NAME: now}


def test_shares_are_all_of_the_work_and_each_once():
    parts = [[index for index in range(7) if shared(index, f"{part}/3")] for part in (1, 2, 3)]
    assert parts == [[0, 3, 6], [1, 4], [2, 5]]
