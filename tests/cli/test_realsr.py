"""`mambair realsr` by weights that were trained on what the removal of blocks leaves."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from event_lines import read_events
from PIL import Image

from mambair_cli.batches.manifest import manifest_name
from mambair_cli.checkpoints.catalogue import bundled_directory
from mambair_cli.checkpoints.convert import write_checkpoint
from mambair_cli.checkpoints.load import load_checkpoint
from mambair_cli.disk import sha256_of

CAT = Path(__file__).parents[2] / "examples" / "cat.png"
CHAIN = "JPEG quality 40: dejpeg, realsr"


@pytest.fixture(scope="session")
def after_blocks(weights: Path) -> Path:
    """Weights that enlarge twice what was a JPEG file."""
    model = load_checkpoint(weights / "sr-x2.safetensors")
    spec = replace(model.spec, id="test-real-sr-x2", task="realsr", after="dejpeg")
    path = weights / "real-sr-x2.safetensors"
    write_checkpoint(path, model.network, spec)
    return path


@pytest.fixture
def photo(tmp_path: Path):
    """Saves a part of a photograph, 72x56 pixels."""

    def save(name: str, **options) -> Path:
        path = tmp_path / name
        Image.open(CAT).convert("RGB").crop((40, 30, 112, 86)).save(path, **options)
        return path

    return save


def test_blocks_go_first_in_one_pass(mambair, photo, after_blocks, tmp_path):
    source, cleaned = photo("photo.jpg", quality=40), tmp_path / "cleaned.png"
    outcome = mambair("realsr", source, "--weights", after_blocks, "-o", tmp_path / "one.png")
    assert outcome.status == 0, outcome.err
    assert f"{source}: found: {CHAIN}\n" in outcome.err
    assert mambair("dejpeg", source, "--model", "tiny", "-o", cleaned).status == 0
    then = tmp_path / "two.png"
    assert mambair("realsr", cleaned, "--weights", after_blocks, "-o", then).status == 0
    # Between the two steps nothing is rounded.
    one, two = (
        np.asarray(Image.open(tmp_path / name)).astype(int) for name in ("one.png", "two.png")
    )
    assert one.shape == (112, 144, 3)
    assert np.abs(one - two).mean() < 1


@pytest.mark.parametrize(("name", "options"), [("clean.png", {}), ("fine.jpg", {"quality": 98})])
def test_what_has_no_blocks_is_only_enlarged(mambair, photo, after_blocks, name, options):
    outcome = mambair("realsr", photo(name, **options), "--weights", after_blocks, "--json")
    assert outcome.status == 0, outcome.err
    assert "test-dejpeg" not in outcome.err
    done = read_events(outcome.out)[-2]
    assert (done["event"], done["width"], done.get("found")) == ("file_done", 144, None)


def test_a_dry_run_tells_the_chain(mambair, photo, after_blocks):
    source = photo("photo.jpg", quality=40)
    outcome = mambair("realsr", source, "--weights", after_blocks, "--dry-run", "--json")
    planned, _ = read_events(outcome.out)
    assert planned["found"] == CHAIN
    assert [step["task"] for step in planned["steps"]] == ["dejpeg", "realsr"]


def test_weights_for_untreated_files_get_them(mambair, photo, weights):
    source = photo("photo.jpg", quality=40)
    model = weights / "sr-x2.safetensors"
    events = read_events(mambair("realsr", source, "--weights", model, "--json").out)
    assert all("found" not in event for event in events)


def test_both_weights_are_recorded(mambair, photo, after_blocks, tmp_path):
    photo("photo.jpg", quality=40)
    out = tmp_path / "out"
    common = ("realsr", tmp_path / "photo.jpg", "--weights", after_blocks, "-o", f"{out}/")
    assert mambair(*common, "--resume").status == 0
    again = read_events(mambair(*common, "--resume", "--json").out)
    assert "file_skipped" in [event["event"] for event in again]
    clean, enlarging = bundled_directory() / "mambair-tiny-dejpeg-color.safetensors", after_blocks
    digests = "+".join(sha256_of(path) for path in (clean, enlarging))
    assert digests in (out / manifest_name()).read_text()
