"""What cannot be done is refused with the exact reason, the right status, and nothing written."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import pytest
import torch

from mambair_cli.cli import restoring


def contents(folder: Path) -> set[Path]:
    return set(folder.rglob("*"))


@pytest.fixture
def refused(mambair, tmp_path):
    """Runs a command that must fail, and returns its error and hint lines."""

    def check(status: int, *arguments: object) -> tuple[str, str]:
        before = contents(tmp_path)
        outcome = mambair(*arguments)
        assert (outcome.status, outcome.out) == (status, ""), outcome.err
        assert contents(tmp_path) == before
        _, error = outcome.err.split("error: ")
        message, _, hint = error.partition("\n\nhint: ")
        return message.strip(), hint.strip()

    return check


def test_missing_file(refused, weights, tmp_path):
    message, _ = refused(2, "sr", tmp_path / "no.png", "--weights", weights / "sr-x4.safetensors")
    assert message == f"no such file or directory: {tmp_path / 'no.png'}"


def test_folder_without_images(refused, weights, tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "notes.txt").write_text("text")
    message, hint = refused(2, "sr", tmp_path / "in", "--weights", weights / "sr-x4.safetensors")
    assert message == f"{tmp_path / 'in'} has no images"
    assert ".png" in hint


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("empty.png", b"", "is empty (0 bytes)"),
        (
            "text.png",
            b"hello, I am a text file\n" * 9,
            "is not a PNG, JPEG, WebP, TIFF, BMP, GIF, AVIF, HEIC or JPEG XL image",
        ),
        (
            "failed Error.png",
            b"x",
            "is not a PNG, JPEG, WebP, TIFF, BMP, GIF, AVIF, HEIC or JPEG XL image",
        ),
    ],
)
def test_no_image(refused, weights, tmp_path, name, content, reason):
    path = tmp_path / name
    path.write_bytes(content)
    message, hint = refused(1, "sr", path, "--weights", weights / "sr-x4.safetensors")
    assert message == f"{path} {reason}"
    assert hint


def test_truncated_jpeg(refused, weights, make_image, tmp_path):
    path = make_image(tmp_path / "cut.jpg", 120, 90)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    message, _ = refused(1, "sr", path, "--weights", weights / "sr-x4.safetensors")
    assert message.startswith(f"{path} is damaged or cut short: ")


def test_unknown_model(refused, photo):
    message, hint = refused(2, "sr", photo, "--model", "clasic")
    assert message == "no variant 'clasic' for sr at scale 4"
    assert hint.startswith("did you mean classic?")


def test_unknown_weights(refused, photo, tmp_path):
    message, _ = refused(2, "sr", photo, "--weights", "mambair-light-sr-x5")
    assert message == "unknown model 'mambair-light-sr-x5'"
    missing = tmp_path / "no.safetensors"
    message, _ = refused(1, "sr", photo, "--weights", missing)
    assert message == f"no such weights file: {missing}"


def test_model_that_cannot_be_had(refused, photo):
    message, hint = refused(1, "sr", photo, "--model", "classic")
    assert message == (
        "MambaIRv1_ckpt/MambaIR_classicSRx4.pth from cguoh/MambaIR is not on this machine, "
        "and HF_HUB_OFFLINE is set"
    )
    assert "--weights FILE" in hint


def test_hub_reference(refused, photo):
    message, hint = refused(1, "sr", photo, "--weights", "hf://owner/repo/file.pth")
    assert message == "file.pth from owner/repo is not on this machine, and HF_HUB_OFFLINE is set"
    assert "--weights FILE" in hint


@pytest.mark.parametrize("scale", [0, 1, 0.5, -2])
def test_scale_that_does_not_enlarge(refused, photo, scale):
    message, _ = refused(2, "sr", photo, "--scale", scale)
    told = f"invalid value for '--scale': '{scale}' is no number above 1, such as 2 or 1.5"
    assert message == told


@pytest.mark.parametrize("scale", [5, 9])
def test_scale_without_model(refused, photo, scale):
    message, hint = refused(2, "sr", photo, "--scale", scale)
    assert message == f"no sr model for scale {scale}"
    assert hint == "--scale takes one of: 2, 3, 4"


def test_wrong_scale_for_the_weights(refused, weights, photo):
    message, hint = refused(
        2, "sr", "--scale", 4, photo, "--weights", weights / "sr-x2.safetensors"
    )
    assert message == "test-sr-x2 enlarges 2 times, but scale 4 was asked for"
    assert hint.startswith("use --scale 2")


@pytest.mark.parametrize(
    ("command", "file", "does", "right"),
    [
        ("sr", "denoise-s25", "test-denoise-s25 does not enlarge", "denoise"),
        ("realsr", "dejpeg-q30", "test-dejpeg-q30 does not enlarge", "dejpeg"),
        ("dejpeg", "sr-x4", "test-sr-x4 enlarges 4 times", "sr"),
    ],
)
def test_weights_of_another_kind(refused, weights, photo, command, file, does, right):
    path = weights / f"{file}.safetensors"
    message, hint = refused(2, command, photo, "--weights", path)
    assert message == f"{does}: it cannot be used by mambair {command}"
    assert hint == f"use it with: mambair {right} --weights {path}"


def test_checkpoint_of_another_network(refused, photo, tmp_path):
    path = tmp_path / "swin.pth"
    torch.save({"params": {"layers.0.attn.qkv.weight": torch.zeros(3, 2)}}, path)
    message, _ = refused(1, "sr", photo, "--weights", path)
    assert message.startswith(f"{path}: these are weights of SwinIR or HAT")


class _RunsCode:
    def __reduce__(self):
        return os.mkdir, ("hacked",)


@pytest.mark.skipif(os.name == "nt", reason="the function has another name")
def test_malicious_pickle(refused, photo, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "evil.pth"
    path.write_bytes(pickle.dumps({"params": _RunsCode()}, protocol=2))
    message, _ = refused(1, "sr", photo, "--weights", path)
    assert message == f"{path} was refused: it wants to run posix.mkdir, and weights need no code"


def test_unwritable_output(refused, weights, photo, tmp_path):
    (tmp_path / "file").write_text("in the way")
    message, hint = refused(
        1, "sr", photo, "-o", tmp_path / "file" / "out", "--weights", weights / "sr-x4.safetensors"
    )
    assert str(tmp_path / "file" / "out") in message
    assert "-o" in hint


def test_output_that_is_the_input_through_a_link(refused, weights, photo, tmp_path):
    (tmp_path / "link").symlink_to(photo.parent)
    before = photo.read_bytes()
    message, hint = refused(
        2, "sr", photo, "-o", tmp_path / "link", "--suffix", "",
        "--weights", weights / "sr-x4.safetensors", "--overwrite",
    )  # fmt: skip
    assert message.startswith(f"the result would be written over the input {photo}")
    assert "-o" in hint
    assert photo.read_bytes() == before


def test_two_sources_for_one_result(refused, weights, make_image, tmp_path):
    make_image(tmp_path / "in" / "a.png")
    make_image(tmp_path / "in" / "a.bmp")
    message, _ = refused(
        2, "sr", tmp_path / "in", "-o", tmp_path / "out", "--format", "png",
        "--weights", weights / "sr-x4.safetensors",
    )  # fmt: skip
    assert "would both be written to" in message


def test_existing_result(refused, weights, photo, make_image):
    target = make_image(photo.with_name("photo_x4.png"))
    before = target.read_bytes()
    message, hint = refused(1, "sr", photo, "--weights", weights / "sr-x4.safetensors")
    assert message == f"{target} exists already"
    assert "--overwrite" in hint
    assert target.read_bytes() == before


def test_unknown_format(refused, weights, photo):
    message, _ = refused(
        2, "sr", photo, "--format", "psd", "--weights", weights / "sr-x4.safetensors"
    )
    assert message == "format 'psd' cannot be written"


@pytest.mark.parametrize(
    ("option", "value", "status", "message"),
    [
        ("--device", "tpu", 2, "unknown device 'tpu'"),
        ("--scan", "cubin", 1, "unknown scan backend 'cubin'"),
        ("--precision", "fp16", 1, "precision fp16 cannot be used on cpu: "),
    ],
)
def test_computation_that_cannot_be_had(refused, weights, photo, option, value, status, message):
    device = () if option == "--device" else ("--device", "cpu")
    found, hint = refused(
        status, "sr", photo, option, value, *device, "--weights", weights / "sr-x4.safetensors"
    )
    assert found.startswith(message)
    assert hint


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_missing_device_is_no_silent_cpu_run(refused, weights, photo):
    message, hint = refused(
        1, "sr", photo, "--device", "cuda", "--weights", weights / "sr-x4.safetensors"
    )
    assert message == "device 'cuda' is not available: torch finds no CUDA device"
    assert "mambair doctor" in hint


@pytest.mark.parametrize("arguments", [("--tile", 16, "--overlap", 32), ("--tile", 1)])
def test_tiles_that_cannot_work(refused, weights, photo, arguments):
    message, _ = refused(2, "sr", photo, *arguments, "--weights", weights / "sr-x4.safetensors")
    assert "tile" in message or "overlap" in message


def test_no_kernels_are_compiled_for_an_image_of_unknown_quality(refused, photo, monkeypatch):
    monkeypatch.setattr(restoring, "load_kernels", None)
    message, hint = refused(1, "dejpeg", photo)
    assert message == (
        f"{photo} does not say with which JPEG quality it was once saved, and no blocks of one are "
        "found in it"
    )
    assert hint == "give it: --quality 10, 30 or 40"


def test_contradictory_noise(refused, photo):
    message, _ = refused(2, "denoise", "--real", "--sigma", 25, photo)
    assert message == "--real and --sigma 25 exclude each other"


def test_one_bad_file_does_not_stop_the_rest(mambair, weights, make_image, tmp_path):
    folder = tmp_path / "in"
    make_image(folder / "a.png")
    (folder / "b.png").write_bytes(b"")
    make_image(folder / "c.png")
    outcome = mambair("sr", folder, "--weights", weights / "sr-x2.safetensors")
    assert outcome.status == 1
    assert outcome.lines == [str(folder / "a_x2.png"), str(folder / "c_x2.png")]
    assert f"failed: {folder / 'b.png'} is empty (0 bytes)" in outcome.err
    assert "2 restored, 1 failed in " in outcome.err
    assert f"error: 1 of 3 images failed:\n  {folder / 'b.png'} is empty (0 bytes)\n\nhint: " in (
        outcome.err
    )
    quiet = mambair("sr", folder, "--overwrite", "-q", "--weights", weights / "sr-x2.safetensors")
    assert quiet.status == 1
    assert quiet.err.startswith("error: 1 of 3 images failed:")


def test_nothing_half_written_when_the_format_cannot_hold_the_image(
    refused, weights, make_image, tmp_path
):
    cutout = make_image(tmp_path / "cutout.png", mode="RGBA")
    message, hint = refused(
        1, "sr", cutout, "--format", "jpg", "--weights", weights / "sr-x2.safetensors"
    )
    assert "JPEG has no transparency" in message
    assert "--format png" in hint


@pytest.mark.parametrize(
    ("option", "value", "told"),
    [
        ("--strength", "1.1", "it has to be at most 1"),
        ("--strength", "-0.1", "it has to be at least 0"),
        ("--strength", "nan", "it has to be at most 1"),
        ("--strength", "half", "it is no number"),
        ("--overlap", "1.5", "it is no whole number"),
    ],
)
def test_numbers_that_are_none_are_told_in_our_words(refused, option, value, told):
    message, hint = refused(2, "sr", "a.png", option, value)
    assert message == f"invalid value for '{option}': {told}"
    assert hint == "see what it takes with: mambair sr --help"
