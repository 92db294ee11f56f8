from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import pytest
import torch
from filelock import FileLock
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file
from torch.nn.functional import avg_pool2d

from mambair_cli.checkpoints.load import load_checkpoint
from mambair_cli.errors import (
    BackendError,
    CheckpointError,
    MambairError,
    OutputError,
    RecipeError,
    UsageError,
)
from mambair_cli.restoration.device import precision
from mambair_cli.training.config import parse_recipe
from mambair_cli.training.recipe_text import format_recipe
from mambair_cli.training.run import (
    Progress,
    Saved,
    Started,
    TrainEvent,
    TrainResult,
    Unreadable,
    Validated,
    train,
)
from mambair_cli.training.run_directory import RunDirectory, read_log

CHILD = """
import os, signal, sys
from pathlib import Path
import torch
from mambair_cli.training.config import load_recipe
from mambair_cli.training.run import Progress, train
torch.set_num_threads(1)
recipe, run, data = map(Path, sys.argv[1:])

def end(event):
    if isinstance(event, Progress) and event.iteration == 10:
        os.kill(os.getpid(), signal.SIGKILL)

train(
    load_recipe(recipe),
    run,
    resume=False,
    on_event=end,
    data_root=data,
    scan="reference",
)
"""


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Sums are the same to the last bit only with the same number of threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def _train(
    tables: dict[str, Any], root: Path, run: Path, *, resume: bool = False
) -> tuple[TrainResult, list[TrainEvent]]:
    events: list[TrainEvent] = []
    recipe = parse_recipe(tables)
    result = train(
        recipe, run, resume=resume, on_event=events.append, data_root=root, scan="reference"
    )
    return result, events


def _losses(run: Path) -> list[tuple[int, float]]:
    rows = read_log(RunDirectory(run).log)
    return [(row["iteration"], row["loss"]) for row in rows if "loss" in row]


def test_a_run_from_start_to_end(tables: dict[str, Any], data_root: Path, tmp_path: Path) -> None:
    result, events = _train(tables, data_root, tmp_path / "run")
    assert result.iterations == 6
    assert result.best_score is not None
    kinds = [type(event) for event in events]
    assert kinds.count(Progress) == 6
    assert kinds.count(Validated) == 2
    assert [event.iteration for event in events if isinstance(event, Saved)] == [0, 4, 6]
    started = next(event for event in events if isinstance(event, Started))
    assert (started.images, started.skipped_images, started.scan) == (2, 1, "reference")
    rows = read_log(tmp_path / "run" / "log.jsonl")
    assert [row["iteration"] for row in rows if "loss" in row] == [1, 2, 3, 4, 5, 6]
    assert [row["iteration"] for row in rows if "psnr" in row] == [3, 6]
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == [
        ".lock",
        "best.safetensors",
        "last.safetensors",
        "log.jsonl",
        "recipe.toml",
        "state.pt",
    ]


def test_the_weights_load_as_a_model(
    tables: dict[str, Any], data_root: Path, tmp_path: Path
) -> None:
    result, _ = _train(tables, data_root, tmp_path / "run")
    model, recipe = load_checkpoint(result.best), parse_recipe(tables)
    assert model.spec == recipe.spec
    assert model.network.config == recipe.network
    with safe_open(result.best, "pt") as file:
        assert float(file.metadata()["mambair.psnr"]) == pytest.approx(result.best_score, abs=1e-4)


def test_mambairv2_is_trained_resumed_loaded_and_tuned_further(
    tables: dict[str, Any], data_root: Path, tmp_path: Path
) -> None:
    tables["model"]["network"] = "MambaIRv2"
    tables["network"] = {
        "upscale": 2, "embed_dim": 8, "depths": [2], "num_heads": [2], "d_state": 2,
        "window_size": 4, "inner_rank": 3, "num_tokens": 5,
    }  # fmt: skip
    tables["optim"]["optimizer"] = "muon"
    whole, _ = _train(tables, data_root, tmp_path / "whole")
    _interrupt_at(5, tables, data_root, tmp_path / "broken")
    resumed, _ = _train(tables, data_root, tmp_path / "broken", resume=True)
    # Classes are drawn in training: the generator's state is part of a checkpoint.
    assert _losses(tmp_path / "broken") == _losses(tmp_path / "whole")
    _assert_same_weights(resumed.last, whole.last)
    model, recipe = load_checkpoint(whole.best), parse_recipe(tables)
    assert (model.spec, model.network.config) == (recipe.spec, recipe.network)
    tables["model"]["init"] = str(whole.best)
    _, events = _train(tables, data_root, tmp_path / "tuned")
    started = next(event for event in events if isinstance(event, Started))
    assert started.initial_tensors == started.tensors == len(load_file(whole.best))


def test_interrupted_and_resumed_gives_the_same_losses(
    tables: dict[str, Any], data_root: Path, tmp_path: Path
) -> None:
    whole, _ = _train(tables, data_root, tmp_path / "whole")
    _interrupt_at(5, tables, data_root, tmp_path / "broken")
    resumed, events = _train(tables, data_root, tmp_path / "broken", resume=True)
    started = next(event for event in events if isinstance(event, Started))
    assert started.iteration == 4
    assert _losses(tmp_path / "broken") == _losses(tmp_path / "whole")
    assert resumed.best_score == whole.best_score
    _assert_same_weights(resumed.last, whole.last)


def _interrupt_at(iteration: int, tables: dict[str, Any], root: Path, run: Path) -> None:
    def interrupt(event: TrainEvent) -> None:
        if isinstance(event, Progress) and event.iteration == iteration:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(
            parse_recipe(tables),
            run,
            resume=False,
            on_event=interrupt,
            data_root=root,
            scan="reference",
        )


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs POSIX signals")
@pytest.mark.usefixtures("one_thread")
def test_killed_and_resumed_gives_the_same_losses(
    tables: dict[str, Any], data_root: Path, tmp_path: Path
) -> None:
    tables["optim"]["iterations"] = 14
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(format_recipe(parse_recipe(tables)))
    _train_until_killed(recipe, tmp_path / "killed", data_root)
    assert 8 <= len(_losses(tmp_path / "killed")) <= 10
    resumed, events = _train(tables, data_root, tmp_path / "killed", resume=True)
    assert next(event for event in events if isinstance(event, Started)).iteration == 8
    whole, _ = _train(tables, data_root, tmp_path / "whole")
    assert _losses(tmp_path / "killed") == _losses(tmp_path / "whole")
    assert resumed.best_score == whole.best_score
    _assert_same_weights(resumed.last, whole.last)


def _train_until_killed(recipe: Path, run: Path, root: Path) -> None:
    command = [sys.executable, "-c", CHILD, str(recipe), str(run), str(root)]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(command, env=environment, check=False)
    assert done.returncode == -signal.SIGKILL


def _assert_same_weights(first: Path, second: Path) -> None:
    tensors, others = load_file(first), load_file(second)
    assert tensors.keys() == others.keys()
    assert all(torch.equal(tensor, others[name]) for name, tensor in tensors.items())


def test_a_longer_run_may_be_asked_for_but_not_another_one(
    tables: dict[str, Any], data_root: Path, tmp_path: Path
) -> None:
    _train(tables, data_root, tmp_path / "run")
    tables["optim"]["iterations"] = 8
    result, _ = _train(tables, data_root, tmp_path / "run", resume=True)
    assert result.iterations == 8
    tables["data"]["batch"] = 3
    with pytest.raises(UsageError) as caught:
        _train(tables, data_root, tmp_path / "run", resume=True)
    assert caught.value.message == (
        f"data.batch is 3 in the recipe but 2 in the run {tmp_path / 'run'}"
    )


def test_a_run_is_not_started_over_another(
    tables: dict[str, Any], data_root: Path, tmp_path: Path
) -> None:
    _train(tables, data_root, tmp_path / "run")
    with pytest.raises(UsageError, match=r"already holds a training run$"):
        _train(tables, data_root, tmp_path / "run")


def test_nothing_to_resume(tables: dict[str, Any], data_root: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"holds no training run to resume$"):
        _train(tables, data_root, tmp_path / "run", resume=True)
    assert not (tmp_path / "run").exists()


def test_two_processes_do_not_train_in_one_directory(
    tables: dict[str, Any], data_root: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    with RunDirectory(run).alone(), pytest.raises(UsageError) as caught:
        _train(tables, data_root, run)
    assert caught.value.message == f"another process trains in {run}"
    _train(tables, data_root, run)
    tables["optim"]["iterations"] = 8
    with RunDirectory(run).alone(), pytest.raises(UsageError, match="another process"):
        _train(tables, data_root, run, resume=True)
    assert _train(tables, data_root, run, resume=True)[0].iterations == 8


def test_a_file_system_without_locks(
    tables: dict[str, Any], data_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class NoLock(FileLock):
        def acquire(self, *_arguments: object, **_options: object) -> NoReturn:
            raise NotImplementedError("FileSystem does not appear to support flock")

    monkeypatch.setattr("mambair_cli.training.run_directory.FileLock", NoLock)
    assert _train(tables, data_root, tmp_path / "run")[0].best.is_file()


def test_a_damaged_checkpoint_is_named(
    tables: dict[str, Any], data_root: Path, tmp_path: Path
) -> None:
    _train(tables, data_root, tmp_path / "run")
    state = tmp_path / "run" / "state.pt"
    state.write_bytes(state.read_bytes()[:1000])
    with pytest.raises(CheckpointError, match=r"state\.pt is damaged: ") as caught:
        _train(tables, data_root, tmp_path / "run", resume=True)
    assert caught.value.hint


def test_initial_weights_are_taken_where_they_fit(
    tables: dict[str, Any], data_root: Path, tmp_path: Path
) -> None:
    result, _ = _train(tables, data_root, tmp_path / "x2")
    tables["model"] |= {"id": "test-sr-x3", "init": str(result.last)}
    tables["network"]["upscale"] = 3
    tables["data"]["patch"] = 6
    _, events = _train(tables, data_root, tmp_path / "x3")
    started = next(event for event in events if isinstance(event, Started))
    with safe_open(result.last, "pt") as file:
        names = list(file.keys())
    assert started.initial_tensors == len([n for n in names if not n.startswith("upsample.")])
    assert started.tensors == len(names)


def test_groups_that_the_initial_weights_lack_change_nothing(
    tables: dict[str, Any], data_root: Path, tmp_path: Path
) -> None:
    result, _ = _train(tables, data_root, tmp_path / "run")
    tables["model"]["init"] = str(result.last)
    tables["network"]["depths"] = [1, 2]
    tables["optim"] |= {"learning_rate": 0.0, "final_learning_rate": 0.0}
    deeper, _ = _train(tables, data_root, tmp_path / "deeper")
    networks = [load_checkpoint(each.last).network for each in (result, deeper)]
    assert len(networks[1].layers) == 2
    x = torch.rand(1, 3, 9, 13, generator=torch.Generator().manual_seed(0))
    before, after = (network(x) for network in networks)
    assert torch.allclose(before, after, atol=1e-6)


@pytest.mark.parametrize(("larger", "smaller"), [(4, 2), (8, 2)])
def test_a_smaller_scale_begins_with_the_mean_of_the_pixels_of_a_larger_one(
    tables: dict[str, Any], data_root: Path, tmp_path: Path, larger: int, smaller: int
) -> None:
    tables["network"]["upscale"], tables["data"]["patch"] = larger, 4
    result, _ = _train(tables, data_root, tmp_path / "larger")
    tables["model"] |= {"id": "test-of-smaller", "init": str(result.last)}
    tables["network"]["upscale"] = smaller
    tables["optim"] |= {"learning_rate": 0.0, "final_learning_rate": 0.0}
    reduced, events = _train(tables, data_root, tmp_path / "smaller")
    started = next(event for event in events if isinstance(event, Started))
    assert started.initial_tensors == started.tensors
    x = torch.rand(1, 3, 9, 13, generator=torch.Generator().manual_seed(0))
    before, after = (load_checkpoint(each.last).network(x) for each in (result, reduced))
    assert torch.allclose(avg_pool2d(before, larger // smaller), after, atol=1e-6)


def test_missing_initial_weights(tables: dict[str, Any], data_root: Path, tmp_path: Path) -> None:
    tables["model"]["init"] = str(tmp_path / "none.safetensors")
    with pytest.raises(CheckpointError, match=r"^no such weights file: .*none\.safetensors$"):
        _train(tables, data_root, tmp_path / "run")


def test_a_loss_that_is_not_finite_stops_the_run_and_keeps_the_checkpoint(
    tables: dict[str, Any], data_root: Path, tmp_path: Path
) -> None:
    tables["optim"] |= {"learning_rate": 1e30, "iterations": 20, "warmup": 0}
    with pytest.raises(MambairError, match=r"^the loss became (nan|inf) at iteration ") as caught:
        _train(tables, data_root, tmp_path / "run")
    assert caught.value.hint is not None
    state = torch.load(tmp_path / "run" / "state.pt", weights_only=True)
    assert state["iteration"] < 20


def test_validation_reads_the_layout_of_the_benchmark_sets(
    tables: dict[str, Any], data_root: Path, tmp_path: Path
) -> None:
    flat = data_root / "scored"
    (data_root / "set" / "HR").mkdir(parents=True)
    (flat / "c.png").rename(data_root / "set" / "HR" / "c.png")
    tables["validation"]["folders"] = ["set"]
    with pytest.raises(RecipeError, match=r"has no low-resolution partner"):
        _train(tables, data_root, tmp_path / "run")


VALIDATION = {
    "another ratio": ((40, 44), (10, 11), r"cx2\.png has 10x11 pixels: it is not .*c\.png"),
    "rounded up": ((41, 43), (21, 22), r"cx2\.png has 21x22 pixels: it is not .*c\.png"),
    "tiny": ((5, 7), None, r"c\.png cannot be scored: 4x6 pixels leave nothing"),
    "one pixel": ((1, 1), None, r"c\.png cannot be scored: 0x0 pixels leave nothing"),
}


@pytest.mark.parametrize("kind", VALIDATION)
def test_what_cannot_be_scored_is_refused_by_name_before_anything_is_trained(
    tables: dict[str, Any], data_root: Path, tmp_path: Path, kind: str
) -> None:
    size, low, message = VALIDATION[kind]
    folder = data_root / "set"
    high = folder / "HR" if low else folder
    high.mkdir(parents=True)
    Image.new("RGB", size).save(high / "c.png")
    if low:
        (folder / "LR_bicubic" / "X2").mkdir(parents=True)
        Image.new("RGB", low).save(folder / "LR_bicubic" / "X2" / "cx2.png")
    tables["validation"]["folders"] = ["set"]
    with pytest.raises(RecipeError, match=message):
        _train(tables, data_root, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_validation_reference_that_was_not_cropped(
    tables: dict[str, Any], data_root: Path, tmp_path: Path
) -> None:
    for folder, name, size in (("HR", "c", (62, 50)), ("LR_bicubic/X2", "cx2", (30, 24))):
        (data_root / "set" / folder).mkdir(parents=True)
        Image.new("RGB", size).save(data_root / "set" / folder / f"{name}.png")
    tables["validation"]["folders"] = ["set"]
    assert _train(tables, data_root, tmp_path / "run")[0].best_score is not None


def test_images_that_cannot_be_read_are_told_and_validated_without(
    tables: dict[str, Any], data_root: Path, tmp_path: Path
) -> None:
    scores = _train(tables, data_root, tmp_path / "before")[0].best_score
    damaged, text = data_root / "images" / "damaged.png", data_root / "scored" / "text.png"
    content = (data_root / "images" / "a.png").read_bytes()
    damaged.write_bytes(content[: len(content) // 2])
    text.write_text("not an image")
    result, events = _train(tables, data_root, tmp_path / "run")
    told = {event.path: event for event in events if isinstance(event, Unreadable)}
    assert set(told) == {damaged, text}
    assert told[text].reason.startswith(f"{text} is not a PNG, ")
    started = next(event for event in events if isinstance(event, Started))
    assert (started.images, started.unreadable_images) == (3, 1)
    assert result.best_score == pytest.approx(scores, abs=0.5)
    (data_root / "scored" / "c.png").unlink()
    with pytest.raises(RecipeError, match=r"^none of the 1 images can be read; the first: "):
        _train(tables, data_root, tmp_path / "none")


def test_a_run_without_validation_keeps_the_last_weights(
    tables: dict[str, Any], data_root: Path, tmp_path: Path
) -> None:
    tables["validation"]["folders"] = []
    result, _ = _train(tables, data_root, tmp_path / "run")
    assert result.best_score is None
    assert result.best == result.last


def test_denoising_and_jpeg_train_too(
    tables: dict[str, Any], data_root: Path, tmp_path: Path
) -> None:
    tables["network"] |= {"upscale": 1, "upsampler": ""}
    tables["optim"] |= {"iterations": 2, "loss": "charbonnier"}
    tables["model"]["task"] = "denoise"
    tables["data"]["noise_sigma"] = [10, 30]
    assert _train(tables, data_root, tmp_path / "denoise")[0].best_score is not None
    tables["model"]["task"] = "dejpeg"
    tables["network"]["in_chans"] = 1
    tables["data"] |= {"jpeg_quality": 10}
    del tables["data"]["noise_sigma"]
    assert _train(tables, data_root, tmp_path / "dejpeg")[0].best_score is not None


def test_the_run_directory_cannot_be_made(
    tables: dict[str, Any], data_root: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    tables["data"]["folders"] = ["nowhere"]  # which is found out later
    with pytest.raises(OutputError, match=r"^cannot write .*file.run: Not a directory$"):
        _train(tables, data_root, tmp_path / "file" / "run")
    with pytest.raises(UsageError, match=r"holds no training run to resume$"):
        _train(tables, data_root, tmp_path / "run", resume=True)


def test_a_log_is_kept_where_a_file_system_cannot_tell_what_is_on_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cannot(_: int) -> NoReturn:
        raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr(os, "fsync", cannot)
    directory = RunDirectory(tmp_path)
    directory.append_log([{"iteration": 1, "loss": 0.5}])
    assert read_log(directory.log) == [{"iteration": 1, "loss": 0.5}]


def test_a_row_cut_by_a_kill_is_dropped(tmp_path: Path) -> None:
    directory = RunDirectory(tmp_path)
    directory.append_log([{"iteration": i, "loss": 0.5} for i in (1, 2, 3)])
    with directory.log.open("a") as file:
        file.write('{"iteration": 4, "lo')
    directory.truncate_log(2)
    assert [row["iteration"] for row in read_log(directory.log)] == [1, 2]


def test_a_full_disk_leaves_the_old_state_and_no_other(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    directory = RunDirectory(tmp_path)
    directory.save_state({"step": torch.tensor(1)})
    old = directory.state.read_bytes()
    _, hard = limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**16, hard))
    try:
        with pytest.raises(OutputError, match=r"^cannot write .*state\.pt: File too large$"):
            directory.save_state({"step": torch.zeros(2**16)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert [path.name for path in tmp_path.iterdir()] == ["state.pt"]
    assert directory.state.read_bytes() == old


def test_what_a_killed_run_was_writing_is_removed(tmp_path: Path) -> None:
    directory = RunDirectory(tmp_path)
    (tmp_path / ".mambair-00ff.tmp").write_bytes(b"half a state")
    with directory.alone():
        pass
    assert {path.name for path in tmp_path.iterdir()} <= {".lock"}


def test_a_precision_that_the_gpu_lacks_is_refused_before_the_training(
    tables: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tables["optim"]["precision"] = "bf16"
    monkeypatch.setattr(precision, "_cuda_has_bf16", lambda _: False)
    with pytest.raises(BackendError) as caught:
        train(
            parse_recipe(tables),
            tmp_path / "run",
            resume=False,
            on_event=lambda _: None,
            data_root=tmp_path,
            device="cuda:1",
        )
    assert (
        caught.value.message == "precision bf16 cannot be used on cuda: this GPU only emulates it"
    )
    assert caught.value.hint == 'set precision = "fp32" under [optim]'
    assert not (tmp_path / "run").exists()
