"""`mambair models pull|path|verify|remove|push`: published weights on this machine and the Hub."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

import typer

from mambair_cli.cli.console import Messages, counted, joined_hints, print_data, print_json
from mambair_cli.cli.download import DownloadDisplay
from mambair_cli.cli.options import Debug, Json, Quiet, complete_model
from mambair_cli.errors import CheckpointError, MambairError, UsageError

Names = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="ID...",
        help="Model ids, or hf://owner/repo/path, hf://owner/repo, also with owner/repo@revision.",
        autocompletion=complete_model,
        show_default=False,
    ),
]
All = Annotated[bool, typer.Option("--all", help="All of them.")]
TASKS = ("sr", "realsr", "denoise", "denoise-real", "dejpeg")


def pull(
    names: Names = None,
    all_: All = False,
    task: Annotated[
        str | None,
        typer.Option("--task", metavar="|".join(TASKS), help="All of a task.", show_default=False),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Fetch again what is here: it may have changed.")
    ] = False,
    json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,  # noqa: ARG001 - read by its callback
) -> None:
    """Fetch published weights, and print where they are."""
    from mambair_cli.checkpoints import cache, catalogue
    from mambair_cli.checkpoints.obtain import canonical, resolve

    messages = Messages(quiet=quiet, as_json=json)
    known = [entry for entry in catalogue.entries() if entry.repo and task in {None, entry.task}]
    if task is not None and not known:
        raise UsageError(f"unknown task {task!r}", "known: " + ", ".join(TASKS))
    if bool(names) == (all_ or task is not None):
        raise UsageError("say which models", "give ids, or --task, or --all")
    wanted = list(dict.fromkeys(map(canonical, names or [entry.id for entry in known])))
    ahead = [entry for entry in known if entry.id in wanted and (force or not cache.find(entry.id))]
    if len(ahead) > 1:
        megabytes = sum(entry.megabytes for entry in ahead)
        messages.notice(f"{counted(len(ahead), 'model')} to fetch, about {megabytes:,.0f} MB")

    def fetch(name: str) -> None:
        path = resolve(name, DownloadDisplay(messages), again=force)
        messages.event("fetched", id=name, path=str(path))
        if not json:
            print_data(str(path))

    _each(wanted, fetch, messages)


def path(
    name: Annotated[
        str, typer.Argument(metavar="ID", help="Model id.", autocompletion=complete_model)
    ],
    debug: Debug = False,  # noqa: ARG001 - read by its callback
) -> None:
    """Print where the weights of a model are, without fetching them."""
    from mambair_cli.checkpoints.obtain import find

    found = find(name)
    if found is None:
        raise CheckpointError(f"{name} was not fetched", f"fetch it: mambair models pull {name}")
    print_data(str(found))


def verify(
    json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,  # noqa: ARG001 - read by its callback
) -> None:
    """Read all fetched weights again, and compare them with the digests they had."""
    from mambair_cli.checkpoints import cache

    messages = Messages(quiet=quiet, as_json=json)
    pins = cache.pins()
    if not pins:
        messages.notice(f"nothing was fetched to {cache.home()}")
    damaged = []
    for pin in pins:
        with messages.waiting(f"reading {pin.name} ..."):
            damage = cache.damage(pin)
        if damage is not None:
            damaged.append(pin.name)
        if json:
            print_json({"id": pin.name, "path": str(pin.path), "damage": damage})
        else:
            print_data(f"{pin.name}: {damage or 'ok'}")
    if damaged:
        raise CheckpointError(
            f"{len(damaged)} of {len(pins)} fetched files are damaged",
            f"fetch them again: mambair models pull --force {' '.join(damaged)}",
        )


def remove(
    names: Names = None,
    all_: All = False,
    quiet: Quiet = False,
    debug: Debug = False,  # noqa: ARG001 - read by its callback
) -> None:
    """Delete fetched weights. What huggingface_hub downloaded stays in its own folder."""
    from mambair_cli.checkpoints import cache
    from mambair_cli.checkpoints.obtain import canonical

    messages = Messages(quiet=quiet)
    if bool(names) == all_:
        raise UsageError("say which models", "give ids, or --all")
    pins = {pin.name: pin for pin in cache.pins()}
    wanted = list(dict.fromkeys(map(canonical, names or pins)))

    def delete(name: str) -> None:
        if name not in pins:
            raise CheckpointError(f"{name} was not fetched", "mambair models list names what was")
        cache.remove(pins[name])
        messages.notice(f"removed {name}")

    _each(wanted, delete, messages)


def push(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="A weights file: .safetensors or .pth.")
    ],
    repo: Annotated[
        str, typer.Argument(metavar="OWNER/REPO", help="Model repository; made if there is none.")
    ],
    private: Annotated[
        bool, typer.Option("--private", help="Make a private repository, if it is made.")
    ] = False,
    licence: Annotated[
        str | None,
        typer.Option(
            "--licence",
            metavar="SPDX",
            help="Licence of the weights, such as Apache-2.0, for the model card.",
            show_default=False,
        ),
    ] = None,
    scores: Annotated[
        list[Path] | None,
        typer.Option(
            "--scores",
            metavar="REPORT.json",
            help="Report of `mambair bench` on these weights, for the model card; repeatable.",
            show_default=False,
        ),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option(
            "--name",
            metavar="PATH.safetensors",
            help="Name in a repository of several models. By default the repository is the folder "
            "of one: model.safetensors and config.json.",
            show_default=False,
        ),
    ] = None,
    quiet: Quiet = False,
    debug: Debug = False,  # noqa: ARG001 - read by its callback
) -> None:
    """Upload weights to the Hugging Face Hub: safetensors, configuration and a model card."""
    from mambair_cli.checkpoints import publish
    from mambair_cli.evaluation.scores import scores_of

    messages = Messages(quiet=quiet)
    measured = [score for report in scores or () for score in scores_of(report, file)]
    with messages.waiting(f"uploading {file} to {repo} ..."):
        pushed = publish.push(
            file, repo, name=name, private=private, licence=licence, scores=measured
        )
    if pushed.kept_card:
        messages.notice(f"the model card of {repo} was left as it is")
    print_data(str(pushed.reference))


def _each(names: Sequence[str], act: Callable[[str], None], messages: Messages) -> None:
    """Do something for each name; a failure does not keep it from the others.

    Raises:
        MambairError: Some failed.
    """
    errors: dict[str, MambairError] = {}
    for name in names:
        try:
            act(name)
        except MambairError as error:
            messages.event("failed", id=name, error=error.message, hint=error.hint)
            if len(names) == 1:
                raise
            errors[name] = error
            messages.failure(f"failed: {name}: {error.message}")
    if errors:
        raise MambairError(
            f"{len(errors)} of {len(names)} models failed: {', '.join(errors)}",
            joined_hints(errors.values()),
        )
