from __future__ import annotations

import json
import lzma
import re
import subprocess
import sys
from pathlib import Path

import pytest

from mambair_cli.checkpoints import catalogue
from mambair_cli.checkpoints.catalogue import choose, entries, find
from mambair_cli.errors import CheckpointError, UsageError
from mambair_cli.networks import build_network
from mambair_cli.networks.spec import MambaIRUNetConfig, ModelSpec
from mambair_cli.training.config import load_recipe

PACKED = Path(__file__).parents[1] / "data" / "full_size_tensors.json.xz"
PUBLISHED = json.loads(lzma.decompress(PACKED.read_bytes()))
GOLDEN = {
    "mambair-real-sr-x4": "classic_x4",
    "mambair-unet-denoise-real": "real_denoise_unet",
    **{
        f"mambair-{kind}-sr-x{s}": f"{kind}_x{s}"
        for kind in ("light", "classic")
        for s in (2, 3, 4)
    },
    **{f"mambair-base-denoise-s{level}": "denoise_color" for level in (15, 25, 50)},
    **{f"mambair-base-dejpeg-q{level}": "jpeg_gray" for level in (10, 30, 40)},
}
LEVEL = {"denoise": "s{0.sigma}", "dejpeg": "q{0.quality}", "denoise-real": "real"}


@pytest.mark.parametrize("entry", entries(), ids=lambda entry: entry.id)
def test_ids_follow_the_rule(entry):
    task = {"realsr": "sr", "denoise-real": "denoise"}.get(entry.task, entry.task)
    level = LEVEL.get(entry.task, "x{0.scale}").format(entry)
    assert entry.id == f"mambair-{entry.variant}-{task}-{level}"
    assert entry.bundled in (None, f"{entry.id}.safetensors")


def test_every_published_model_is_known():
    assert {entry.id for entry in entries() if entry.repo} == GOLDEN.keys()


@pytest.mark.parametrize("model_id", GOLDEN)
def test_configurations_and_parameters_are_the_published_ones(model_id):
    entry, golden = find(model_id), PUBLISHED[GOLDEN[model_id]]
    is_unet = isinstance(entry.config, MambaIRUNetConfig)
    assert is_unet == (golden["network"] == "MambaIRUNet")
    values = {k: tuple(v) if isinstance(v, list) else v for k, v in golden["config"].items()}
    assert entry.config == type(entry.config)(**values)
    assert entry.parameters == golden["parameters"]
    assert (entry.config.scale, entry.config.channels) == (entry.scale, entry.channels)


@pytest.mark.parametrize("entry", [entry for entry in entries() if entry.repo], ids=lambda e: e.id)
def test_patterns_find_their_own_files_only(entry):
    for other in entries():
        for file in other.files:
            found = re.search(entry.pattern, Path(file).name, re.IGNORECASE)
            assert bool(found) == (other.id == entry.id), file


@pytest.mark.parametrize(
    "entry", [entry for entry in entries() if entry.bundled], ids=lambda e: e.id
)
def test_bundled_models_have_the_network_of_their_recipe(entry):
    recipe = load_recipe(Path(__file__).parents[2] / "recipes" / f"{entry.id}.toml")
    assert recipe.network == entry.config
    assert sum(p.numel() for p in build_network(entry.config).parameters()) == entry.parameters


def test_entries_describe_themselves():
    entry = find("mambair-base-denoise-s25")
    assert entry.spec == ModelSpec("mambair-base-denoise-s25", "denoise", 1, 3, sigma=25)
    assert entry.page == "https://huggingface.co/cguoh/MambaIR"
    assert find("mambair-tiny-sr-x4").page is None


def test_unknown_model_names_the_closest():
    with pytest.raises(UsageError) as caught:
        find("mambair-clasic-sr-x2")
    assert caught.value.message == "unknown model 'mambair-clasic-sr-x2'"
    assert caught.value.hint.startswith("did you mean mambair-classic-sr-x2")
    assert all(entry.id in caught.value.hint for entry in entries())


@pytest.mark.parametrize(
    ("device_type", "better"), [("cpu", "mambair-light-sr-x4"), ("cuda", "mambair-classic-sr-x4")]
)
def test_bundled_weights_stand_in_with_a_notice(device_type, better):
    choice = choose("sr", scale=4, device_type=device_type)
    assert choice.entry.id == "mambair-tiny-sr-x4"
    assert choice.notices == (
        (
            f"using the bundled mambair-tiny-sr-x4: {better} is better but cannot be downloaded in "
            "this version; --weights FILE takes it"
        ),
    )


@pytest.mark.parametrize("variant", ["tiny", "mambair-tiny-sr-x4"])
def test_bundled_variant_by_name_needs_no_notice(variant):
    choice = choose("sr", scale=4, variant=variant)
    assert (choice.entry.id, choice.notices) == ("mambair-tiny-sr-x4", ())


def test_a_variant_that_needs_the_hub_is_an_error():
    with pytest.raises(CheckpointError) as caught:
        choose("sr", scale=4, variant="classic")
    assert caught.value.message == (
        "mambair-classic-sr-x4 is not bundled, and downloading is not available in this version"
    )
    assert caught.value.hint == (
        "get MambaIRv1_ckpt/MambaIR_classicSRx4.pth from https://huggingface.co/cguoh/MambaIR "
        "and give it with --weights FILE; bundled for this task: mambair-tiny-sr-x4"
    )


@pytest.mark.parametrize(
    ("device_type", "model_id"), [("cpu", "mambair-light-sr-x2"), ("cuda", "mambair-classic-sr-x2")]
)
def test_nothing_bundled_at_a_scale_is_an_error(device_type, model_id):
    with pytest.raises(CheckpointError, match=model_id):
        choose("sr", scale=2, device_type=device_type)


def test_tasks_of_one_scale_need_none():
    with pytest.raises(CheckpointError, match="mambair-real-sr-x4 is not bundled"):
        choose("realsr")
    with pytest.raises(CheckpointError, match="mambair-unet-denoise-real is not bundled") as caught:
        choose("denoise-real")
    assert "bundled for this task" not in caught.value.hint


@pytest.fixture
def all_bundled(monkeypatch):
    """The same catalogue, as if every file shipped with the package."""
    rows = tuple(
        catalogue.CatalogueEntry(
            **{**vars(entry), "bundled": f"{entry.id}.safetensors", "repo": None, "files": ()}
        )
        for entry in entries()
    )
    monkeypatch.setattr(catalogue, "entries", lambda: rows)


@pytest.mark.parametrize(
    ("task", "level", "asked", "chosen"),
    [
        ("denoise", "sigma", 15, 15),
        ("denoise", "sigma", 24.5, 25),
        ("denoise", "sigma", 20, 25),
        ("denoise", "sigma", 3, 15),
        ("denoise", "sigma", 75, 50),
        ("dejpeg", "quality", 40, 40),
        ("dejpeg", "quality", 20, 10),
        ("dejpeg", "quality", 35, 30),
        ("dejpeg", "quality", 95, 40),
    ],
)
@pytest.mark.usefixtures("all_bundled")
def test_levels_take_the_nearest_and_say_so(task, level, asked, chosen):
    choice = choose(task, **{level: asked})
    assert getattr(choice.entry.spec, level) == chosen
    listed = {"sigma": "15, 25, 50", "quality": "10, 30, 40"}[level]
    notice = f"{level} {asked:g}: using the nearest trained level {chosen} of {listed}"
    assert choice.notices == (() if asked == chosen else (notice,))


@pytest.mark.parametrize(
    ("device_type", "variant"), [("cpu", "light"), ("mps", "light"), ("cuda", "classic")]
)
@pytest.mark.usefixtures("all_bundled")
def test_variant_follows_the_device(device_type, variant):
    choice = choose("sr", scale=3, device_type=device_type)
    assert (choice.entry.variant, choice.notices) == (variant, ())


@pytest.mark.parametrize(
    ("task", "request_", "message", "hint"),
    [
        ("sr", {"scale": 5}, "no sr model for scale 5", "--scale takes one of: 2, 3, 4"),
        ("sr", {}, "sr needs a scale", "--scale takes one of: 2, 3, 4"),
        ("realsr", {"scale": 2}, "no realsr model for scale 2", "--scale takes one of: 4"),
        ("denoise", {}, "denoise needs a sigma", "--sigma takes one of: 15, 25, 50"),
        ("dejpeg", {}, "dejpeg needs a quality", "--quality takes one of: 10, 30, 40"),
        (
            "sr",
            {"scale": 4, "variant": "lite"},
            "no variant 'lite' for sr at scale 4",
            "did you mean light? known: tiny, light, classic",
        ),
        (
            "sr",
            {"scale": 2, "variant": "tiny"},
            "no variant 'tiny' for sr at scale 2",
            "known: light, classic",
        ),
    ],
)
def test_impossible_requests(task, request_, message, hint):
    with pytest.raises(UsageError) as caught:
        choose(task, **request_)
    assert (caught.value.message, caught.value.hint) == (message, hint)


def test_bundled_directory_of_a_repository():
    assert catalogue.bundled_directory() == Path(__file__).parents[2] / "weights"


def test_bundled_directory_of_an_installation(tmp_path, monkeypatch):
    package = tmp_path / "site-packages" / "mambair_cli"
    monkeypatch.setattr(catalogue, "__file__", str(package / "checkpoints" / "catalogue.py"))
    (package.parent / "weights").mkdir(parents=True)  # of some other distribution
    assert catalogue.bundled_directory() == package / "weights"


def test_the_catalogue_is_read_without_torch():
    program = (
        "import sys; from mambair_cli.checkpoints.catalogue import choose, entries; entries(); "
        "choose('sr', scale=4); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
