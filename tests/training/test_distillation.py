from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image, ImageChops
from safetensors.torch import load_file
from torch import Tensor, nn

from mambair_cli.errors import CheckpointError, RecipeError
from mambair_cli.evaluation.degrade import crop_to_multiple
from mambair_cli.restoration.ensemble import self_ensemble
from mambair_cli.training.config import DistillationTable, OptimTable, parse_recipe
from mambair_cli.training.data import Batch
from mambair_cli.training.distillation import KeptTeacher, Teacher, load_teacher
from mambair_cli.training.images import list_images, read_pixels
from mambair_cli.training.loop import Trainer
from mambair_cli.training.run import TrainResult, train

CPU = torch.device("cpu")


def _train(tables: dict[str, Any], root: Path, run: Path, *, resume: bool = False) -> TrainResult:
    return train(
        parse_recipe(tables),
        run,
        resume=resume,
        on_event=lambda _: None,
        data_root=root,
        scan="reference",
    )


def _lopsided() -> nn.Module:
    """Enlarges twice by a kernel without any symmetry."""
    torch.manual_seed(1)
    convolution = nn.Conv2d(3, 12, 3, padding=1).requires_grad_(requires_grad=False)
    return nn.Sequential(convolution, nn.PixelShuffle(2))


def test_a_teacher_of_all_members_is_the_self_ensemble() -> None:
    network, low = _lopsided(), torch.rand(2, 3, 5, 7)
    taught = Teacher(network, DistillationTable(members=8), seed=0)(Batch(low, low), 3)
    torch.testing.assert_close(taught, self_ensemble(partial(map, network), low, 4))
    assert not torch.allclose(taught, network(low), atol=1e-3)


def test_fewer_members_are_drawn_anew_by_seed_and_iteration() -> None:
    network, low = _lopsided(), torch.rand(1, 3, 5, 7)
    teacher = Teacher(network, DistillationTable(members=2), seed=4)
    drawn = [teacher(Batch(low, low), iteration) for iteration in range(400)]
    assert torch.equal(drawn[7], teacher(Batch(low, low), 7))
    assert not torch.equal(drawn[7], drawn[8])
    mean = torch.stack(drawn).mean(0)
    expected = self_ensemble(partial(map, network), low, 4)
    torch.testing.assert_close(mean, expected, rtol=0, atol=0.05)


class _Fixed(nn.Module):
    """Answers with one value everywhere, whatever it is shown."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self.value = nn.Parameter(torch.tensor(value))

    def forward(self, x: Tensor) -> Tensor:
        return self.value.expand_as(x)


@pytest.mark.parametrize(("weight", "loss"), [(0.0, 0.25), (0.5, 0.1875), (1.0, 0.125)])
def test_the_weight_divides_the_loss(weight: float, loss: float) -> None:
    teacher = Teacher(_Fixed(0.625), DistillationTable(weight=weight), seed=0)
    trainer = Trainer(_Fixed(0.5), OptimTable(), teacher)
    batch = Batch(torch.zeros(1, 3, 4, 6), torch.full((1, 3, 4, 6), 0.25))
    assert trainer.step(batch, 0).loss.item() == pytest.approx(loss)


def test_kept_results_take_the_place_of_the_teachers() -> None:
    trainer = Trainer(_Fixed(0.5), OptimTable(), KeptTeacher(DistillationTable(weight=0.75)))
    sides = (torch.full((1, 3, 4, 6), value) for value in (0.0, 0.25, 0.625))
    assert trainer.step(Batch(*sides), 0).loss.item() == pytest.approx(0.15625)


@pytest.fixture
def taught(tables: dict[str, Any], data_root: Path, tmp_path: Path) -> dict[str, Any]:
    """A recipe with a teacher that an earlier run made."""
    teacher = _train(tables, data_root, tmp_path / "teacher").last
    return tables | {"distillation": {"teacher": str(teacher), "members": 2}}


def _same_weights(first: TrainResult, second: TrainResult) -> bool:
    tensors, others = load_file(first.last), load_file(second.last)
    return all(torch.equal(tensor, others[name]) for name, tensor in tensors.items())


def test_a_run_with_a_teacher_goes_on_as_if_never_interrupted(
    taught: dict[str, Any], data_root: Path, tmp_path: Path
) -> None:
    # A rate that does not depend on the length: a shorter run is the beginning of a longer one.
    taught["optim"] |= {"schedule": "step", "milestones": [100]}
    uncut = _train(taught, data_root, tmp_path / "uncut")
    shorter = taught | {"optim": taught["optim"] | {"iterations": 3}}
    _train(shorter, data_root, tmp_path / "cut")
    cut = _train(taught, data_root, tmp_path / "cut", resume=True)
    assert _same_weights(cut, uncut)
    untaught = {name: table for name, table in taught.items() if name != "distillation"}
    assert not _same_weights(_train(untaught, data_root, tmp_path / "untaught"), uncut)


def test_no_teacher_unless_named(tables: dict[str, Any]) -> None:
    assert load_teacher(parse_recipe(tables), CPU, "reference") is None


@pytest.mark.parametrize(
    ("table", "key", "value", "message"),
    [
        ("network", "upscale", 3, "has scale 2, the network 3"),
        ("network", "in_chans", 1, "has channels 3, the network 1"),
    ],
)
def test_a_teacher_of_another_shape_is_refused(
    taught: dict[str, Any], table: str, key: str, value: int, message: str
) -> None:
    taught[table][key] = value
    with pytest.raises(RecipeError) as caught:
        load_teacher(parse_recipe(taught), CPU, "reference")
    name = taught["distillation"]["teacher"]
    assert caught.value.message == f"distillation.teacher = {name!r} {message}"
    assert caught.value.hint == "name weights for the same task, or leave distillation out"


def test_a_missing_teacher_is_named(
    tables: dict[str, Any], data_root: Path, tmp_path: Path
) -> None:
    tables["distillation"] = {"teacher": str(tmp_path / "none.safetensors")}
    with pytest.raises(CheckpointError, match=r"^no such weights file: .*none\.safetensors$"):
        _train(tables, data_root, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_run_learns_from_kept_results(
    tables: dict[str, Any], data_root: Path, tmp_path: Path
) -> None:
    """Results that are the references themselves teach what the references do."""
    for path in list_images(data_root / "images"):
        result = data_root / "kept" / "images" / path.name
        result.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(crop_to_multiple(read_pixels(path, 3), 2)).save(result)
    kept = tables | {"distillation": {"folder": "kept", "weight": 0.5}}
    assert _same_weights(
        _train(kept, data_root, tmp_path / "kept"), _train(tables, data_root, tmp_path / "plain")
    )
    inverted = ImageChops.invert(Image.open(data_root / "kept/images/a.png"))
    inverted.save(data_root / "kept" / "images" / "a.png")
    assert not _same_weights(
        _train(kept, data_root, tmp_path / "other"), _train(tables, data_root, tmp_path / "plain2")
    )
