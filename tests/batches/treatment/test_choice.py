"""What each command does about an image."""

from __future__ import annotations

import pytest

from mambair_cli.checkpoints.request import Request


@pytest.mark.parametrize("task", ["sr", "realsr", "denoise-real"])
def test_other_tasks_measure_nothing(treated, cat, task):
    request = Request(task)
    assert treated(request, cat, "png").steps[0].request is request
