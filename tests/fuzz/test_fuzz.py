"""Any change to a file that Hypothesis thinks of: an error of ours, or what the file now holds."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from image_files import image_files
from safetensors.torch import save

from mambair_cli.checkpoints.load import load_checkpoint
from mambair_cli.errors import CheckpointError, ImageError
from mambair_cli.imaging.files import can_band, open_bands, read_header, read_images
from mambair_cli.networks import MambaIRConfig, build_network

MAX_PIXELS = 200_000

PLACES = st.floats(0, 1, exclude_max=True)
NUMBERS = st.one_of(
    st.integers(0, 2**32 - 1),
    st.sampled_from([0, 1, 255, 256, 65535, 2**24, 2**31 - 1, 2**31, 2**32 - 1]),
)
EDITS = st.one_of(
    st.tuples(st.just("replace"), PLACES, st.binary(min_size=1, max_size=16)),
    st.tuples(st.just("insert"), PLACES, st.binary(min_size=1, max_size=16)),
    st.tuples(st.just("little"), PLACES, NUMBERS),
    st.tuples(st.just("big"), PLACES, NUMBERS),
    st.tuples(st.just("delete"), PLACES, st.integers(1, 64)),
    st.tuples(st.just("repeat"), PLACES, st.integers(1, 64)),
    st.tuples(st.just("cut"), PLACES, st.none()),
)

FUZZED = settings(
    deadline=60_000,  # milliseconds: nothing hangs
    max_examples=3000,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def edited(content, edits):
    for kind, place, value in edits:
        at = int(place * len(content))
        match kind:
            case "replace":
                content = content[:at] + value + content[at + len(value) :]
            case "insert":
                content = content[:at] + value + content[at:]
            case "little" | "big":
                content = content[:at] + value.to_bytes(4, kind) + content[at + 4 :]
            case "delete":
                content = content[:at] + content[at + value :]
            case "repeat":
                content = content[: at + value] + content[at:]
            case "cut":
                content = content[:at]
    return content


def assert_clear(error, path):
    assert str(path) in error.message
    assert error.message.isprintable()
    assert error.hint is not None or isinstance(error, CheckpointError)


@pytest.mark.slow
@FUZZED
@given(st.sampled_from(image_files()), st.lists(EDITS, min_size=1, max_size=5))
def test_images(tmp_path, file, edits):
    path = tmp_path / f"image{file.suffix}"
    path.write_bytes(edited(file.make(), edits))
    try:
        header = read_header(path, max_pixels=MAX_PIXELS)
        images = read_images(path, max_pixels=MAX_PIXELS).images
    except ImageError as error:
        assert_clear(error, path)
        return
    first = images[0].pixels
    assert (header.height, header.width, header.channels) == first.shape
    assert header.images == len(images)


@pytest.mark.slow
@FUZZED
@given(
    st.sampled_from([file for file in image_files() if can_band(Path(file.id))]),
    st.lists(EDITS, min_size=1, max_size=5),
)
def test_bands(tmp_path, file, edits):
    path = tmp_path / f"image{file.suffix}"
    path.write_bytes(edited(file.make(), edits))
    try:
        with open_bands(path, max_pixels=MAX_PIXELS) as reader:
            for start in range(0, reader.header.height, 100):
                stop = min(start + 100, reader.header.height)
                band = reader.read(start, stop)
                assert band.pixels.shape == (
                    stop - start,
                    reader.header.width,
                    reader.header.channels,
                )
    except ImageError as error:
        assert_clear(error, path)


def weights():
    """The same small network as safetensors and as pickles of both kinds."""
    torch.manual_seed(0)
    config = MambaIRConfig(upscale=2, embed_dim=4, d_state=2, depths=(1,), mlp_ratio=1.5)
    state = build_network(config).state_dict()
    contents = [save(state)]
    for zipped in (True, False):
        buffer = io.BytesIO()
        torch.save({"params": state}, buffer, _use_new_zipfile_serialization=zipped)
        contents.append(buffer.getvalue())
    return contents


@pytest.mark.slow
@FUZZED
@given(st.sampled_from(weights()), st.lists(EDITS, min_size=1, max_size=5))
def test_weights(tmp_path, content, edits):
    path = tmp_path / "weights.pth"
    path.write_bytes(edited(content, edits))
    try:
        load_checkpoint(path)
    except CheckpointError as error:
        assert_clear(error, path)
