from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import get_args

import pytest
import torch
from published_networks import FULL_SIZE, config_of

from mambair_cli.checkpoints import catalogue
from mambair_cli.checkpoints.catalogue import (
    UNKNOWN,
    CatalogueEntry,
    PublishedScore,
    entries,
    find,
)
from mambair_cli.errors import UsageError
from mambair_cli.networks import build_network
from mambair_cli.networks.spec import ModelSpec, Task
from mambair_cli.training.config import load_recipe

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
    **{
        f"mambairv2-{kind}-sr-x{s}": f"v2_{kind}_x{s}"
        for kind in ("light", "small", "base", "large")
        for s in (2, 3, 4)
    },
    "mambairv2-base-denoise-s15": "v2_denoise_color",
    **{f"mambairv2-base-dejpeg-q{level}": "v2_jpeg_gray" for level in (10, 30, 40)},
}
LEVEL = {"denoise": "s{0.sigma}", "dejpeg": "q{0.quality}", "denoise-real": "real"}


def test_ids_follow_the_rule():
    ruled = []
    for entry in entries():
        # The published weights for photographs are a variant of their own.
        real = "sr" if entry.variant == "real" else "real-sr"
        task = {"realsr": real, "denoise-real": "denoise"}.get(entry.task, entry.task)
        blind = entry.task == "dejpeg" and entry.quality is None
        level = "color" if blind else LEVEL.get(entry.task, "x{0.scale}").format(entry)
        family = "mambairv2" if entry.variant.startswith("v2-") else "mambair"
        ruled.append(f"{family}-{entry.variant.removeprefix('v2-')}-{task}-{level}")
    assert [entry.id for entry in entries()] == ruled
    bundled = [entry for entry in entries() if entry.bundled]
    assert [entry.bundled for entry in bundled] == [f"{entry.id}.safetensors" for entry in bundled]


def test_every_published_model_is_known():
    assert {entry.id for entry in entries() if entry.repo} == GOLDEN.keys()


@pytest.mark.parametrize("model_id", GOLDEN)
def test_configurations_and_parameters_are_the_published_ones(model_id):
    entry, golden = find(model_id), FULL_SIZE[GOLDEN[model_id]]
    assert entry.config == config_of(golden)
    assert entry.parameters == golden["parameters"]
    assert (entry.config.scale, entry.config.channels) == (entry.scale, entry.channels)
    with torch.device("meta"):
        network = build_network(entry.config)
    shapes = {key: list(tensor.shape) for key, tensor in network.state_dict().items()}
    made = {"relative_position_index_SA"}
    assert shapes == {key: shape for key, shape in golden["tensors"].items() if key not in made}
    assert sum(parameter.numel() for parameter in network.parameters()) == golden["parameters"]


# Published files whose digests are known before they are fetched.
PINNED = ("mambairv2-small-sr-x4", "mambairv2-large-sr-x4")


def test_what_every_row_says():
    wrong = [
        entry
        for entry in entries()
        if not (
            entry.task in get_args(Task)
            and (entry.sigma is None) == (entry.task != "denoise")
            and (entry.quality is None) == (entry.task != "dejpeg" or entry.channels == 3)
            and (entry.degradation == "bicubic downscaling") == (entry.task == "sr")
            and entry.licence == "Apache-2.0"
            and entry.trained_on
            and bool(entry.sha256) == bool(entry.bundled or entry.id in PINNED)
        )
    ]
    assert not wrong


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"network": "clasic"}, "clasic"),
        ({"repo": None}, "mambair-light-sr-x4"),
        ({"parameters": 0}, "mambair-light-sr-x4"),
        ({"megabytes": 39.6}, "mambair-light-sr-x4"),
    ],
)
def test_a_wrong_row_is_noticed(change, said):
    with pytest.raises(AssertionError, match=said):
        replace(find("mambair-light-sr-x4"), **change)


def test_a_row_with_an_unknown_key_is_noticed():
    with pytest.raises(TypeError, match="licence_url"):
        CatalogueEntry(**vars(find("mambair-light-sr-x4")), licence_url="")


@pytest.mark.parametrize("values", [{"psnr": {}}, {"psnr": {"Set5": 3}}, {"psnr": {"Set5": 300}}])
def test_a_wrong_score_is_noticed(values):
    with pytest.raises(AssertionError):
        PublishedScore("a table", **values)


def test_scores_of_the_authors_with_their_sources():
    plain, ensemble = find("mambair-classic-sr-x4").published
    assert (plain.psnr["Set5"], plain.ssim["Set5"], plain.ensemble) == (33.03, 0.9046, False)
    assert (ensemble.psnr["Set5"], ensemble.ensemble) == (33.13, True)
    assert plain.source == "Table 3, p. 11"
    assert find("mambair-base-denoise-s25").published[0].psnr["CBSD68"] == 32.24
    silent = {entry.id for entry in entries() if not entry.published}
    assert find("mambairv2-base-denoise-s15").published[0].psnr["Urban100"] == 35.42
    unstated = {"mambair-real-sr-x4"} | {
        f"mambairv2-{kind}-sr-x{s}" for kind in ("small", "large") for s in (2, 3, 4)
    }
    assert silent == {entry.id for entry in entries() if entry.bundled} | unstated


def test_expected_sizes_are_the_published_ones():
    sizes = {entry.id: entry.megabytes for entry in entries() if entry.variant == "classic"}
    assert list(sizes.values()) == [82.0, 82.8, 82.6]
    assert find("mambair-unet-denoise-real").megabytes == 107.5


def test_patterns_find_their_own_files_only():
    published = [entry for entry in entries() if entry.repo]
    found = [
        (file, entry.id)
        for other in entries()
        for file in other.files
        for entry in published
        if re.search(entry.pattern, Path(file).name, re.IGNORECASE)
    ]
    assert found == [(file, entry.id) for entry in entries() for file in entry.files]


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


def test_bundled_directory_of_a_repository():
    assert catalogue.bundled_directory() == Path(__file__).parents[2] / "weights"


def test_bundled_directory_of_an_installation(tmp_path, monkeypatch):
    package = tmp_path / "site-packages" / "mambair_cli"
    monkeypatch.setattr(catalogue, "__file__", str(package / "checkpoints" / "catalogue.py"))
    (package.parent / "weights").mkdir(parents=True)  # of some other distribution
    assert catalogue.bundled_directory() == package / "weights"


def test_the_catalogue_is_read_without_torch():
    program = (
        "import sys; from mambair_cli.checkpoints.catalogue import entries; entries(); "
        "from mambair_cli.checkpoints.choice import choose; "
        "choose('sr', scale=4); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_notice_names_what_bundled_weights_were_trained_on():
    notice = (Path(__file__).parents[2] / "NOTICE").read_text()
    for entry in entries():
        for name, terms in entry.terms.items() if entry.bundled else ():
            (told,) = re.findall(rf"^  {name}: (.+(?:\n    .+)*)", notice, re.MULTILINE)
            assert ("no terms are known" if terms == UNKNOWN else terms) in " ".join(told.split())
