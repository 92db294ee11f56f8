from __future__ import annotations

import codecs
import tomllib
from pathlib import Path
from typing import Any

import pytest

from mambair_cli.errors import RecipeError
from mambair_cli.networks.spec import MambaIRConfig, MambaIRv2Config
from mambair_cli.training.config import load_recipe, parse_recipe
from mambair_cli.training.degradations.blur import Blur
from mambair_cli.training.degradations.compression import Jpeg
from mambair_cli.training.parsing import Span
from mambair_cli.training.recipe_text import flatten, format_recipe

RECIPES = sorted((Path(__file__).parents[2] / "recipes").glob("*.toml"))


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_the_recipes_of_the_repository_are_valid(path: Path) -> None:
    recipe = load_recipe(path)
    assert recipe.model.id == path.stem
    assert recipe.spec.scale == recipe.network.upscale


def test_format_and_parse_are_inverse(tables: dict[str, Any]) -> None:
    tables["data"] |= {"noise_sigma": [0, 12.5], "jpeg_quality": 30, "folders": ['a "b"', "c\\d"]}
    recipe = parse_recipe(tables)
    assert recipe.data.noise_sigma == Span(0, 12.5)
    assert recipe.data.jpeg_quality == Span(30, 30)
    assert parse_recipe(tomllib.loads(format_recipe(recipe))) == recipe


def test_spec_names_the_level_that_a_restorer_is_for(tables: dict[str, Any]) -> None:
    tables["model"]["task"] = "denoise"
    tables["network"] |= {"upscale": 1, "upsampler": ""}
    tables["data"]["noise_sigma"] = 25
    spec = parse_recipe(tables).spec
    assert (spec.task, spec.scale, spec.sigma, spec.quality) == ("denoise", 1, 25, None)
    tables["data"]["noise_sigma"] = [0, 50]
    assert parse_recipe(tables).spec.sigma is None


V2 = {
    "upscale": 2,
    "embed_dim": 8,
    "depths": [1, 2],
    "num_heads": [2, 4],
    "d_state": 2,
    "window_size": 4,
    "inner_rank": 3,
    "num_tokens": 5,
    "mlp_ratio": 1.5,
}


def test_the_model_says_which_network_the_table_describes(tables: dict[str, Any]) -> None:
    assert isinstance(parse_recipe(tables).network, MambaIRConfig)
    tables["model"]["network"], tables["network"] = "MambaIRv2", V2
    recipe = parse_recipe(tables)
    assert isinstance(recipe.network, MambaIRv2Config)
    assert (recipe.network.num_heads, recipe.network.window_size) == ((2, 4), 4)
    assert parse_recipe(tomllib.loads(format_recipe(recipe))) == recipe
    for named in ("MambaIR3", ["MambaIRv2"], 2):
        tables["model"]["network"] = named
        with pytest.raises(RecipeError, match=r"network\.\w+|model\.network"):
            parse_recipe(tables)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("num_heads", [2], "network.num_heads = [2] does not fit network.depths = [1, 2]"),
        ("num_heads", [2, 3], "network.embed_dim = 8 cannot be divided among 3 heads"),
        ("num_heads", [2, 0], "network.num_heads[1] = 0 is out of range"),
        ("window_size", 0, "network.window_size = 0 is out of range"),
        ("inner_rank", 0, "network.inner_rank = 0 is out of range"),
        ("num_tokens", -1, "network.num_tokens = -1 is out of range"),
        ("convffn_kernel_size", 4, "network.convffn_kernel_size = 4 is not odd"),
        (
            "mlp_ratio",
            1.125,
            "network.embed_dim = 8 times network.mlp_ratio = 1.125 leaves 9 channels",
        ),
    ],
)
def test_impossible_shapes_of_mambairv2(
    tables: dict[str, Any], key: str, value: Any, message: str
) -> None:
    tables["model"]["network"], tables["network"] = "MambaIRv2", V2 | {key: value}
    with pytest.raises(RecipeError) as caught:
        parse_recipe(tables)
    assert caught.value.message == message
    assert caught.value.hint


STEPS = [
    {"kind": "blur", "sigma": [0.2, 2], "stretch": [1, 3], "chance": 0.8},
    {"kind": "resize", "factor": [0.5, 1.5], "methods": ["area"]},
    {"kind": "camera", "shot": [1e-4, 1e-3], "colour_grain": 1},
    {"kind": "fit"},
    {"kind": "noise", "sigma": 3},
    {"kind": "jpeg", "quality": [30, 95], "subsampling": ["4:2:0"], "restored_by": "mine"},
]


def test_steps_are_read_by_their_kind_and_written_again(tables: dict[str, Any]) -> None:
    tables["data"]["steps"] = STEPS
    recipe = parse_recipe(tables)
    assert recipe.data.steps[0] == Blur("blur", Span(0.2, 2), Span(1, 3), 0.8)
    assert recipe.data.steps[5] == Jpeg("jpeg", Span(30, 95), ("4:2:0",), "mine")
    assert recipe.spec.after == "dejpeg"
    assert parse_recipe(tomllib.loads(format_recipe(recipe))) == recipe


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"steps": [{"sigma": 1}]}, "data.steps[0] = {'sigma': 1} has no kind"),
        ({"steps": [{"kind": "jpg"}]}, "data.steps[0].kind = 'jpg' is not a choice"),
        ({"steps": [{"kind": "jpeg"}]}, "the recipe lacks data.steps[0].quality"),
        (
            {"steps": [{"kind": "fit"}, {"kind": "noise", "sigma": 999}]},
            "data.steps[1].sigma = 999 is out of range",
        ),
        ({"steps": STEPS[:2]}, "data.steps do not end in the size of the network's input"),
        ({"steps": STEPS[:1]}, "data.steps do not end in the size of the network's input"),
        ({"steps": STEPS, "noise_sigma": 5}, "data.noise_sigma and data.steps are both set"),
        (
            {"steps": [{"kind": "fit", "methods": []}]},
            "data.steps[0].methods is empty",
        ),
        ({"clipped": 2}, "data.clipped = 2 is out of range"),
    ],
)
def test_bad_steps_are_refused_by_name(
    tables: dict[str, Any], change: dict[str, Any], message: str
) -> None:
    tables["data"] |= change
    with pytest.raises(RecipeError) as caught:
        parse_recipe(tables)
    assert message in caught.value.message


def test_a_camera_sees_colours(tables: dict[str, Any]) -> None:
    tables["network"]["in_chans"] = 1
    tables["data"]["steps"] = STEPS
    with pytest.raises(RecipeError, match='"camera" needs colour'):
        parse_recipe(tables)


@pytest.mark.parametrize(
    ("data", "distillation", "message"),
    [
        ({}, {"teacher": "x"}, "distillation.teacher and distillation.folder are both set"),
        (
            {"noise_sigma": 5},
            {},
            "distillation.folder is for inputs that are only downscaled, data.noise_sigma is set",
        ),
        (
            {"steps": STEPS},
            {},
            "distillation.folder is for inputs that are only downscaled, data.steps is set",
        ),
    ],
)
def test_kept_results_need_inputs_that_are_always_the_same(
    tables: dict[str, Any], data: dict[str, Any], distillation: dict[str, Any], message: str
) -> None:
    tables["data"] |= data
    tables["distillation"] = {"folder": "kept"} | distillation
    with pytest.raises(RecipeError) as caught:
        parse_recipe(tables)
    assert caught.value.message == message
    assert caught.value.hint


def test_flatten(tables: dict[str, Any]) -> None:
    flat = flatten(parse_recipe(tables))
    assert flat["optim.iterations"] == 6
    assert flat["network.depths"] == (1,)


@pytest.mark.parametrize(
    ("table", "key", "value", "message"),
    [
        ("optim", "betas", [0.9], "optim.betas = [0.9] is not a pair"),
        ("optim", "iterations", 0, "optim.iterations = 0 is out of range"),
        ("optim", "iterations", 1.5, "optim.iterations = 1.5 is not a whole number"),
        ("optim", "iterations", True, "optim.iterations = True is not a whole number"),
        ("optim", "learning_rate", "fast", "optim.learning_rate = 'fast' is not a number"),
        ("optim", "learning_rate", float("nan"), "optim.learning_rate = nan is not finite"),
        ("optim", "schedule", "step", "optim.schedule = 'step' has no milestones"),
        ("optim", "final_learning_rate", 1, "optim.final_learning_rate = 1 is out of range"),
        ("data", "patch", 1, "data.patch = 1 is out of range"),
        ("data", "candidates", 0, "data.candidates = 0 is out of range"),
        ("data", "augment", 1, "data.augment = 1 is not true or false"),
        ("data", "folders", "images", "data.folders = 'images' is not a list"),
        ("data", "folders", [], "data.folders is empty"),
        ("data", "folders", [1], "data.folders[0] = 1 is not a string"),
        ("data", "jpeg_quality", [40, 10], "data.jpeg_quality = [40, 10] runs backwards"),
        ("data", "jpeg_quality", [10], "data.jpeg_quality = [10] is not a range"),
        ("data", "jpeg_quality", 101, "data.jpeg_quality = 101 is out of range"),
        ("distillation", "weight", 1.5, "distillation.weight = 1.5 is out of range"),
        ("distillation", "members", 9, "distillation.members = 9 is out of range"),
        ("model", "task", "denoise", "network.upscale = 2 does not fit model.task = 'denoise'"),
        ("network", "upscale", 5, "network.upscale = 5 is not supported"),
        ("network", "upsampler", "", "network.upsampler = '' does not fit model.task = 'sr'"),
        ("network", "in_chans", 4, "network.in_chans = 4 is not supported"),
        ("network", "depths", [], "network.depths is empty"),
    ],
)
def test_bad_values_are_refused_by_name(
    tables: dict[str, Any], table: str, key: str, value: object, message: str
) -> None:
    tables.setdefault(table, {})[key] = value
    with pytest.raises(RecipeError) as caught:
        parse_recipe(tables)
    assert caught.value.message == message
    assert caught.value.hint


def test_unknown_keys_are_refused_with_the_closest_match(tables: dict[str, Any]) -> None:
    tables["run"]["log_evry"] = 5
    with pytest.raises(RecipeError) as caught:
        parse_recipe(tables)
    assert caught.value.message == "unknown key run.log_evry in the recipe"
    assert caught.value.hint == (
        "did you mean log_every? allowed here: "
        "seed, checkpoint_every, checkpoint_seconds, log_every"
    )


def test_unknown_tables_are_refused(tables: dict[str, Any]) -> None:
    tables["optimizer"] = {}
    with pytest.raises(RecipeError, match=r"^unknown key optimizer in the recipe$") as caught:
        parse_recipe(tables)
    assert caught.value.hint is not None
    assert caught.value.hint.startswith("did you mean optim?")


def test_choices_are_listed(tables: dict[str, Any]) -> None:
    tables["optim"]["loss"] = "charbonier"
    with pytest.raises(RecipeError) as caught:
        parse_recipe(tables)
    assert caught.value.message == "optim.loss = 'charbonier' is not a choice"
    assert (
        caught.value.hint
        == 'did you mean charbonnier? allowed: "l1", "charbonnier", "l2", "l1_fft"'
    )


def test_missing_keys_are_named(tables: dict[str, Any]) -> None:
    del tables["data"]["folders"]
    with pytest.raises(RecipeError, match=r"^the recipe lacks data\.folders$"):
        parse_recipe(tables)


def test_a_task_needs_its_degradation(tables: dict[str, Any]) -> None:
    tables["model"]["task"] = "dejpeg"
    tables["network"] |= {"upscale": 1, "upsampler": ""}
    with pytest.raises(RecipeError, match=r"^model\.task = 'dejpeg' needs data\.jpeg_quality$"):
        parse_recipe(tables)


def test_a_value_where_a_table_belongs(tables: dict[str, Any]) -> None:
    tables["run"] = 5
    with pytest.raises(RecipeError, match=r"^run = 5 is not a table$"):
        parse_recipe(tables)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"No such file or directory$"):
        load_recipe(tmp_path / "none.toml")
    broken = tmp_path / "broken.toml"
    broken.write_text("[model\n")
    with pytest.raises(RecipeError, match=r"is not valid TOML: "):
        load_recipe(broken)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-be"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_a_recipe_as_editors_save_it(
    tables: dict[str, Any], tmp_path: Path, encoding: str, newline: str
) -> None:
    recipe = parse_recipe(tables)
    text = f"# Größe{newline}" + format_recipe(recipe).replace("\n", newline)
    mark = codecs.BOM_UTF16_BE if encoding == "utf-16-be" else b""
    path = tmp_path / "recipe.toml"
    path.write_bytes(mark + text.encode(encoding))
    assert load_recipe(path) == recipe


def test_a_recipe_in_another_encoding(tmp_path: Path) -> None:
    path = tmp_path / "recipe.toml"
    path.write_bytes("# Größe".encode("cp1252"))
    with pytest.raises(RecipeError, match="is not valid TOML") as caught:
        load_recipe(path)
    assert caught.value.hint == "save it as UTF-8"
