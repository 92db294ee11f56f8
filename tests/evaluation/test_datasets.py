"""The table of benchmark sets."""

import pytest

from mambair_cli.errors import UsageError
from mambair_cli.evaluation.datasets import DATASETS, find_dataset


def test_sets_are_found_by_any_of_their_names():
    assert find_dataset("set5").name == "Set5"
    assert find_dataset("BSD100") is find_dataset("b100")
    assert find_dataset("McM").images == 18


def test_an_unknown_set_is_refused_with_the_closest_names():
    with pytest.raises(UsageError, match=r"unknown data set 'Set6'") as caught:
        find_dataset("Set6")
    assert "Set5" in caught.value.hint
    with pytest.raises(UsageError) as caught:
        find_dataset("imagenet-22k")
    assert all(dataset.name in caught.value.hint for dataset in DATASETS)
