"""Metrics of pyiqa, which is not installed here: what is asked of it, with a stand-in."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from mambair_cli.errors import BackendError, UsageError
from mambair_cli.evaluation.perceptual import load_metric

CPU = torch.device("cpu")


@pytest.fixture
def pyiqa(monkeypatch):
    """One metric with a reference, one without; both tell what they were given."""

    class Model:
        def __init__(self, mode):
            self.metric_mode, self.lower_better = mode, mode == "FR"
            self.given = []

        def __call__(self, *images):
            self.given.append(images)
            return torch.tensor([[0.25]])

    models = {"lpips": Model("FR"), "niqe": Model("NR")}
    stand_in = SimpleNamespace(
        list_models=lambda: list(models), create_metric=lambda name, **_: models[name]
    )
    monkeypatch.setitem(sys.modules, "pyiqa", stand_in)
    return models


def test_a_metric_gets_the_result_and_its_reference_in_rgb(pyiqa):
    metric = load_metric("lpips", CPU)
    value = metric.measure(np.full((4, 6, 1), 0.5, np.float32), np.full((4, 6, 1), 255, np.uint8))
    assert value == 0.25
    restored, truth = pyiqa["lpips"].given[0]
    assert restored.shape == truth.shape == (1, 3, 4, 6)
    assert restored.unique().tolist() == [0.5]
    assert truth.unique().tolist() == [1]


def test_a_metric_without_reference_gets_the_result_only(pyiqa):
    load_metric("niqe", CPU).measure(np.zeros((4, 6, 3), np.float32), np.zeros((4, 6, 3), np.uint8))
    assert len(pyiqa["niqe"].given[0]) == 1


@pytest.mark.usefixtures("pyiqa")
def test_an_unknown_metric_is_refused_with_close_ones():
    with pytest.raises(UsageError, match="unknown metric 'lpisp'") as caught:
        load_metric("lpisp", CPU)
    assert caught.value.hint == "choose one of: lpips"


def test_without_pyiqa_the_error_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyiqa", None)
    with pytest.raises(BackendError, match="needs the package pyiqa") as caught:
        load_metric("lpips", CPU)
    assert caught.value.hint == "install it: pip install 'mambair[iqa]'"
