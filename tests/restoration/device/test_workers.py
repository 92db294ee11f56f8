"""Runs of a network side by side on a CPU."""

from __future__ import annotations

import threading
import time

import pytest
import torch

from mambair_cli.networks import build_network
from mambair_cli.networks.spec import MambaIRConfig, ModelSpec
from mambair_cli.restoration.device.scan_backend import set_scan_backend
from mambair_cli.restoration.device.workers import side_by_side, workers_for
from mambair_cli.restoration.plan import RestoreOptions
from mambair_cli.restoration.restorer import restore_tensor


@pytest.fixture
def two_threads():
    """Torch on two threads, as it is on a machine with two processors."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("runs", "threads", "workers"),
    [
        (1, 8, 1),
        (2, 2, 2),
        (3, 2, 2),
        (8, 8, 8),
        (4, 8, 4),
        (9, 8, 8),
        (100, 64, 64),
        (10, 64, 10),
        (5, 1, 1),
    ],
)
def test_runs_are_spread_so_that_all_are_done_soonest(runs, threads, workers):
    assert workers_for(runs, threads) == workers


@pytest.mark.usefixtures("two_threads")
def test_results_come_in_order_and_no_more_are_begun_than_there_are_workers():
    asked, seen = [], set()

    def batches():
        for i in range(7):
            asked.append(i)
            yield torch.full((1, 1, 2, 3), float(i))

    def run(x):
        seen.add((threading.get_ident(), torch.get_num_threads()))
        time.sleep(0.02 * (3 - float(x[0, 0, 0, 0]) % 3))
        return x * 2

    results = []
    for result in side_by_side(batches(), run, 2):
        results.append(float(result.mean()))
        assert len(asked) <= len(results) + 1
    assert results == [0, 2, 4, 6, 8, 10, 12]
    assert [inside for _, inside in seen] == [1, 1]
    assert torch.get_num_threads() == 2


@pytest.mark.usefixtures("two_threads")
def test_what_one_run_raises_ends_the_others_and_leaves_the_threads_as_they_were():
    def run(x):
        if float(x) == 2:
            raise RuntimeError("this one")
        return x

    batches = (torch.tensor(float(i)) for i in range(100))
    with pytest.raises(RuntimeError, match="this one"):
        list(side_by_side(batches, run, 2))
    assert float(next(batches)) < 6
    assert torch.get_num_threads() == 2


@pytest.mark.parametrize(
    ("options", "side_by_side"),
    [
        (RestoreOptions(tile=24), "12 tiles of 24x24, 3 side by side"),
        (RestoreOptions(tile=24, precision="bf16"), "12 tiles of 24x24, 3 side by side"),
        (RestoreOptions(ensemble=True), "61x50 pixels whole, 2 side by side, 4 orientations"),
    ],
    ids=["tiles", "bf16", "orientations"],
)
def test_runs_side_by_side_give_the_same_bits(options, side_by_side):
    torch.manual_seed(0)
    config = MambaIRConfig(upscale=2, embed_dim=12, d_state=3, depths=(1, 1), mlp_ratio=1.2)
    network = build_network(config).eval().requires_grad_(False)
    set_scan_backend(network, "numba")
    spec = ModelSpec("tiny", "sr", 2, 3)
    image = torch.rand(1, 3, 50, 61)
    expected = restore_tensor(network, image, spec, options)
    told: list[str] = []
    progress: list[int] = []
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        actual = restore_tensor(
            network, image, spec, options, lambda done, _: progress.append(done), told.append
        )
    finally:
        torch.set_num_threads(before)
    assert torch.equal(actual, expected)
    assert told[0].startswith(f"running {side_by_side}")
    assert progress == list(range(progress[-1] + 1))
