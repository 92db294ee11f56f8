"""Processes that run steps: a crash, a hang, and what is left of them."""

from __future__ import annotations

import json
import time

import pytest
from on_gpu.settings import Settings
from on_gpu.steps import Step
from on_gpu.workers import DONE, FAILED, TAIL, Workers

pytestmark = pytest.mark.slow


@pytest.fixture
def workers(tmp_path):
    settings = Settings("cpu", quick=True, folder=tmp_path, peers=tmp_path / "none")
    running = Workers(settings, tmp_path / "all.log")
    yield running
    running.stop()


def test_a_step_that_fails_costs_its_process_and_no_other_figures(workers, tmp_path):
    (tmp_path / "no such step.json").write_text(json.dumps({"half": 1}))  # as far as it came
    failed = workers.finish(Step("no such step", process="one"), 200)
    assert failed["outcome"] == FAILED
    assert failed["error"] == "KeyError: 'no such step'"
    assert failed["figures"] == {"half": 1}
    assert "Traceback" in failed["log"]
    again = workers.finish(Step("counters", process="one"), 200)
    assert again["outcome"] == DONE
    assert again["figures"]["counters"] == {"skipped": "ncu is not here"}
    assert "Traceback" not in again["log"]
    log = (tmp_path / "all.log").read_text()
    assert log.index("== no such step: failed") < log.index("KeyError") < log.index("== counters")


def test_a_step_that_hangs_is_stopped_with_all_that_it_started(workers):
    started = time.monotonic()
    stopped = workers.finish(Step("counters", process="two"), 0.05)  # it still imports PyTorch
    assert stopped["outcome"] == FAILED
    assert stopped["error"].startswith("stopped after")
    assert time.monotonic() - started < 30
    assert len(stopped["log"]) <= TAIL


def test_a_step_begun_beside_others_is_waited_for_in_its_turn(workers):
    build, counters = Step("build", process="builder"), Step("counters", process="three")
    workers.begin(build)
    assert workers.finish(counters, 200)["outcome"] == DONE
    built = workers.finish(build, 200)
    assert built["outcome"] == DONE
    assert "skipped" in built["figures"]["build"]
    # The same process goes on with the next step.
    assert workers.finish(Step("counters", process="builder"), 200)["outcome"] == DONE
