"""The node of ComfyUI, in a stand-in for it, and the stand-in beside the real one if it is here."""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
import inspect
import json
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
import torch
from comfy_host import ARGUMENTS, PROGRESS, ComfyExtension, ComfyNode, Host
from PIL import Image

import mambair_cli as mambair
from mambair_cli.batches.models import Model
from mambair_cli.checkpoints import cache, catalogue

FOLDER = Path(__file__).parents[2] / "integrations" / "comfyui"
DEFAULTS = {
    "task": "sr",
    "model": "tiny",
    "scale": "2",
    "strength": 1.0,
    "tile": 0,
    "ensemble": False,
    "sigma": 0.0,
    "quality": 0,
    "weights": "",
}


@pytest.fixture
def host(monkeypatch) -> Host:
    """ComfyUI's modules."""
    host = Host()
    for name, module in host.modules().items():
        monkeypatch.setitem(sys.modules, name, module)
    return host


@pytest.fixture
def extension(host, monkeypatch):
    """The extension, loaded as ComfyUI loads a folder of nodes."""
    name = "custom_nodes_mambair"
    place = FOLDER / "__init__.py"
    found = importlib.util.spec_from_file_location(
        name, place, submodule_search_locations=[str(FOLDER)]
    )
    module = importlib.util.module_from_spec(found)
    monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.delitem(sys.modules, f"{name}.nodes", raising=False)
    found.loader.exec_module(module)
    assert host.progress == []
    made = module.comfy_entrypoint()
    return asyncio.run(made) if inspect.isawaitable(made) else made


@pytest.fixture
def node(extension):
    (node,) = asyncio.run(extension.get_node_list())
    return node


@pytest.fixture
def run(node):
    """Runs the node as ComfyUI does: one value for each input, by name."""

    def run(image, **changes):
        return node.execute(image=image, **DEFAULTS | changes).result

    return run


def bundled(name: str) -> Path:
    return catalogue.bundled_directory() / f"{name}.safetensors"


def batch(count=1, height=9, width=14, channels=3):
    return torch.rand(count, height, width, channels, generator=torch.manual_seed(1))


def test_the_extension_is_one(extension, node):
    assert isinstance(extension, ComfyExtension)
    assert issubclass(node, ComfyNode)


def test_the_schema_is_what_execute_takes(node):
    schema = node.define_schema()
    assert (schema.display_name, schema.node_id) == ("Restore with MambaIR", "MambaIRRestore")
    inputs = {declared.id: declared for declared in schema.inputs}
    parameters = inspect.signature(node.execute).parameters
    assert list(inputs) == list(parameters)
    assert [name for name, one in inputs.items() if one.optional] == ["mask"]
    assert [output.kind for output in schema.outputs] == ["Image.Output", "Mask.Output"]
    assert all(one.tooltip for name, one in inputs.items() if name != "image")
    for name, one in inputs.items():
        if one.kind == "Combo.Input":
            assert one.default in one.options, name
    assert inputs["task"].options == ["fix", "sr", "realsr", "denoise", "denoise-real", "dejpeg"]
    assert set(inputs["model"].options) >= {"best", "tiny", "light", "classic", "v2-large"}
    assert set(inputs["model"].options) >= {entry.id for entry in catalogue.entries()}
    assert (inputs["strength"].min, inputs["strength"].max) == (0.0, 1.0)


def test_a_batch_is_enlarged_as_images_are(run):
    images = batch(2)
    restored, mask = run(images)
    assert (restored.shape, restored.dtype, restored.device.type) == (
        (2, 18, 28, 3),
        torch.float32,
        "cpu",
    )
    model = mambair.load_model("mambair-tiny-sr-x2", device="cpu", precision="auto")
    for image, result in zip(images, restored, strict=True):
        expected = mambair.restore(image.numpy(), model).clip(0, 1)
        np.testing.assert_array_equal(result.numpy(), expected)
    assert torch.equal(mask, torch.zeros(2, 18, 28))
    assert isinstance(model, Model)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_gray_and_opacity_stay(run, channels):
    image = batch(channels=channels)
    if channels in (2, 4):
        image[..., -1] = 1
    restored, _ = run(image)
    assert restored.shape == (1, 18, 28, channels)
    if channels in (2, 4):
        assert (restored[..., -1] == 1).all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_floating_point_comes_out_as_float32(run, dtype):
    restored, _ = run(batch().to(dtype))
    assert restored.dtype == torch.float32


def test_results_lie_between_black_and_white(run):
    edges = torch.zeros(1, 12, 16, 3)
    edges[:, :, 8:] = 1
    restored, _ = run(edges)
    assert (restored.min(), restored.max()) == (0, 1)


def test_strength_tile_and_ensemble_are_heeded(run):
    image = batch(height=24, width=30)
    whole, _ = run(image)
    half, _ = run(image, strength=0.5)
    none, _ = run(image, strength=0.0)
    assert torch.allclose(half, (whole + none) / 2, atol=0.02)
    assert not torch.equal(run(image, tile=16)[0], whole)
    assert not torch.equal(run(image, ensemble=True)[0], whole)


@pytest.mark.parametrize(
    ("task", "more"),
    [
        ("denoise", {"sigma": 25.0}),
        ("denoise", {"sigma": 0.0}),
        ("denoise-real", {}),
        ("dejpeg", {"quality": 10}),
        ("realsr", {}),
        ("fix", {}),
    ],
)
def test_every_task(run, task, more):
    noise = torch.randn(1, 40, 48, 3, generator=torch.manual_seed(2)) * 0.1
    image = (torch.linspace(0, 1, 48).expand(1, 40, 48)[..., None] + noise).clamp(0, 1)
    restored, _ = run(image, task=task, **more)
    scale = 4 if task == "realsr" else 1
    assert restored.shape == (1, 40 * scale, 48 * scale, 3)
    if scale == 1:
        assert not torch.equal(restored, image)


def test_what_is_clean_is_left_alone(run):
    image = torch.linspace(0, 1, 64).expand(1, 48, 64)[..., None].expand(-1, -1, -1, 3).contiguous()
    restored, _ = run(image, task="denoise")
    assert torch.equal(restored, image)


def test_weights_of_ones_own(run):
    path = bundled("mambair-tiny-sr-x4")
    restored, _ = run(batch(), scale="4", weights=f" {path} ", model="best")
    assert restored.shape == (1, 36, 56, 3)


def test_progress_covers_the_batch(run, host):
    run(batch(3, 40, 48), tile=24)
    values = [value for value, _ in host.progress]
    assert {of for _, of in host.progress} == {3}
    assert values == sorted(values)
    assert (values[0], values[-1]) == (0, 3)
    assert {1, 2} <= set(values)
    assert any(value % 1 for value in values)
    assert host.freed[-1] == "cache"
    assert host.freed[0][1] == "cpu"


@pytest.mark.parametrize("after", [0, 1, 4])
def test_cancelling_ends_the_work(run, host, after):
    host.cancel_after = after
    cancelled = sys.modules["comfy"].model_management.InterruptProcessingException
    with pytest.raises(cancelled):
        run(batch(3, 40, 48), tile=24)
    assert len(host.progress) == after
    assert host.freed[-1] == "cache"


MASKS = {
    "one": torch.rand(1, 9, 14),
    "for each": torch.rand(2, 9, 14),
    "of two axes": torch.rand(9, 14),
}


@pytest.mark.parametrize("kind", MASKS)
def test_masks_come_out_at_the_size_of_the_result(run, kind):
    mask = MASKS[kind]
    _, resized = run(batch(2), mask=mask)
    assert resized.shape == (2, 18, 28)
    assert resized.min() >= 0
    assert resized.max() <= 1
    means = resized.mean((1, 2)) - mask.reshape(-1, 9, 14).mean((1, 2))
    assert means.abs().max() < 0.02


def test_hard_masks_stay_hard_and_empty_ones_fit_any_size(run):
    hard = torch.zeros(1, 9, 14)
    hard[:, 3:6, 4:9] = 1
    _, resized = run(batch(), mask=hard)
    assert set(resized.unique().tolist()) == {0, 1}
    _, empty = run(batch(), mask=torch.zeros(1, 64, 64))
    assert torch.equal(empty, torch.zeros(1, 18, 28))


ODD = {
    "a mask of another image": (
        lambda: {"mask": torch.rand(1, 64, 48)},
        "the mask has 48x64 pixels, and the image 14x9 (give the mask of this image, or none)",
    ),
    "masks of another number": (
        lambda: {"mask": torch.rand(3, 9, 14)},
        "there are 3 masks for 1 images",
    ),
    "a model of another task": (
        lambda: {"task": "denoise", "sigma": 25.0, "model": "classic"},
        "no variant 'classic' for denoise at scale 1 (",
    ),
    "a missing file": (lambda: {"weights": "nothing.safetensors"}, "no such weights file: nothing"),
    "weights that do not enlarge": (
        lambda: {
            "weights": str(catalogue.bundled_directory() / "mambair-tiny-denoise-s25.safetensors")
        },
        "mambair-tiny-denoise-s25 does not enlarge",
    ),
    "weights for what is to be found": (
        lambda: {"task": "fix", "weights": str(bundled("mambair-tiny-denoise-s25"))},
        "fix takes several models, and --weights names one (use it for its task",
    ),
    "no blocks": (lambda: {"task": "dejpeg"}, "no blocks of one are found in it (give it: "),
    "a tile that cannot be": (lambda: {"tile": 1}, "tile"),
}


@pytest.mark.parametrize("kind", ODD)
def test_errors_say_what_helps(run, host, kind):
    changes, message = ODD[kind]
    with pytest.raises(RuntimeError) as caught:
        run(batch(), **changes())
    assert message in str(caught.value)
    assert host.freed[-1] == "cache"


NO_IMAGES = {
    "another shape": (torch.rand(9, 14, 3), "(9, 14, 3) is no batch of images"),
    "none": (torch.rand(0, 9, 14, 3), "(0, 9, 14, 3) is no batch of images"),
    "channels first": (torch.rand(1, 3, 9, 14), "images of 14 channels of torch.float32 are not"),
    "whole numbers": (torch.zeros(1, 9, 14, 3).byte(), "of torch.uint8 are not supported"),
    "no numbers": (torch.full((1, 9, 14, 3), torch.nan), "must lie in [0, 1]"),
    "no tensor": (np.zeros((1, 9, 14, 3), np.float32), "ndarray is no batch of images"),
}


@pytest.mark.parametrize("kind", NO_IMAGES)
def test_what_is_no_batch_of_images(run, kind):
    image, message = NO_IMAGES[kind]
    with pytest.raises(RuntimeError) as caught:
        run(image)
    assert message in str(caught.value)


def test_loading_has_other_nodes_open_mambair(extension, monkeypatch):
    called = []
    monkeypatch.setattr("mambair_cli.spandrel.install", lambda: called.append(1))
    asyncio.run(extension.on_load())
    assert called == [1]


def test_loading_without_spandrel_is_told_and_goes_on(extension, monkeypatch, caplog):
    monkeypatch.setitem(sys.modules, "spandrel", None)
    asyncio.run(extension.on_load())
    assert "Load Upscale Model does not open MambaIR: the package spandrel is not" in caplog.text


def test_a_download_is_told(run, hub, caplog):
    caplog.set_level("INFO")
    hub.add("me/x2", {"model.safetensors": bundled("mambair-tiny-sr-x2").read_bytes()})
    restored, _ = run(batch(), weights="hf://me/x2")
    assert restored.shape == (1, 18, 28, 3)
    assert "downloading model.safetensors from me/x2, 0.6 MB" in caplog.text


def test_cancelling_ends_a_download(run, host, hub):
    hub.add("me/x2", {"model.safetensors": bundled("mambair-tiny-sr-x2").read_bytes()})
    host.cancel_after = 1
    with pytest.raises(sys.modules["comfy"].model_management.InterruptProcessingException):
        run(batch(), weights="hf://me/x2")
    assert cache.pins() == []
    assert len(host.progress) == 1
    assert hub.asked("HEAD", "resolve")


def test_the_metadata_is_what_the_registry_asks_for():
    project = tomllib.loads((FOLDER / "pyproject.toml").read_text())
    main = tomllib.loads((FOLDER.parents[1] / "pyproject.toml").read_text())["project"]
    assert project["project"]["name"].replace("-", "").isalpha()
    assert "comfyui" not in project["project"]["name"].lower()
    assert project["project"]["license"] == {"text": main["license"]}
    assert project["project"]["requires-python"] == main["requires-python"]
    assert project["tool"]["comfy"].keys() >= {"PublisherId", "DisplayName"}
    (requirement,) = (FOLDER / "requirements.txt").read_text().split()
    assert requirement.startswith("mambair>=")


def test_an_image_goes_round_as_a_file_would(run, tmp_path):
    """What Load Image makes of a file, and Save Image of a result."""
    pixels = np.random.default_rng(3).integers(0, 256, (9, 14, 3), np.uint8)
    image = torch.from_numpy(pixels.astype(np.float32) / 255)[None]
    restored, _ = run(image)
    Image.fromarray((restored[0].numpy() * 255).astype(np.uint8)).save(tmp_path / "x.png")
    assert Image.open(tmp_path / "x.png").size == (28, 18)
    assert json.dumps(list(restored.shape)) == "[1, 18, 28, 3]"


def test_the_stand_in_takes_what_comfyui_takes():
    """Where ComfyUI is on the path: `PYTHONPATH=ComfyUI pytest tests/integrations`."""
    if importlib.util.find_spec("comfy_api") is None:
        pytest.skip("ComfyUI is not here")
    latest = importlib.import_module("comfy_api.latest")
    for kind, arguments in ARGUMENTS.items():
        real = latest.io
        for name in kind.split("."):
            real = getattr(real, name)
        assert set(arguments.split()) <= set(inspect.signature(real).parameters), kind
    progress = latest.ComfyAPI.Execution.set_progress
    assert list(inspect.signature(progress).parameters)[1:] == PROGRESS.split()
