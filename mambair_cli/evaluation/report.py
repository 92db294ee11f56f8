"""What a benchmark found, beside the paper's numbers: as a table, Markdown, CSV and JSON."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from mambair_cli.disk import AppearedError, check_writable, write_whole
from mambair_cli.errors import OutputError, UsageError
from mambair_cli.evaluation.page import Page
from mambair_cli.evaluation.results import Run, conditions, facts
from mambair_cli.plain_json import to_json

SCHEMA_VERSION = 1
PAGE = ".html"
KINDS = (PAGE, ".md", ".csv", ".json")


def require_targets(paths: Sequence[Path], *, overwrite: bool) -> None:
    """Check that reports can be written, before anything is measured.

    Args:
        paths: The files.
        overwrite: Whether files that are there may be replaced.

    Raises:
        UsageError: A suffix names none of the `KINDS`.
        OutputError: A file cannot be written, or is there already.
    """
    for path in paths:
        if kind_of(path) not in KINDS:
            raise UsageError(
                f"{path}: reports cannot be written as {path.suffix or 'a file without suffix'}",
                f"use one of {', '.join(KINDS)}",
            )
        require_target(path, "--report", overwrite=overwrite)


def require_target(
    path: Path, option: str, *, overwrite: bool, sources: Sequence[Path] = ()
) -> None:
    """Check that a text can be written, before the work that makes it.

    Args:
        path: The file.
        option: What named it.
        overwrite: Whether a file that is there may be replaced.
        sources: Files that never are, by whatever link.

    Raises:
        UsageError: It is one of the sources.
        OutputError: It cannot be written, or is there already.
    """
    for source in sources:
        if path.exists() and source.exists() and path.samefile(source):
            raise UsageError(
                f"{path} would be written over the input {source}",
                f"choose another name with {option}",
            )
    try:
        check_writable(path)
    except OSError as error:
        raise _unwritable(path, option, error) from error
    if os.path.lexists(path) and not overwrite:
        raise _exists(path)


def write_text(path: Path, text: str, option: str, *, overwrite: bool) -> None:
    """Write a text, whole or not at all; as `require_target` but for the sources.

    Raises:
        OutputError: It cannot be written, or is there by now.
    """
    try:
        write_whole(path, text.encode(), replaces=overwrite)
    except AppearedError as error:
        raise _exists(path) from error
    except OSError as error:
        raise _unwritable(path, option, error) from error


def write_report(path: Path, runs: Sequence[Run], page: Page | None, *, overwrite: bool) -> None:
    """Write a report of the kind that the file's suffix names.

    Args:
        path: The file.
        runs: What was measured.
        page: The pictures, which a page needs.
        overwrite: Whether a file that is there may be replaced.

    Raises:
        OutputError: It cannot be written, or is there by now.
    """
    match kind_of(path):
        case ".html":
            assert page is not None
            text = page.render(runs)
        case ".md":
            text = as_markdown(runs)
        case ".csv":
            text = as_csv(runs)
        case _:
            text = as_json(runs)
    write_text(path, text, "--report", overwrite=overwrite)


def kind_of(path: Path) -> str:
    """Give the suffix of a report as `KINDS` has it."""
    return path.suffix.lower()


def _exists(path: Path) -> OutputError:
    return OutputError(f"{path} exists already", "use --overwrite to replace it")


def _unwritable(path: Path, option: str, error: OSError) -> OutputError:
    return OutputError(
        f"{path} cannot be written: {error.strerror}", f"choose another place with {option}"
    )


def as_json(runs: Sequence[Run]) -> str:
    """Write the whole report, images included, as one JSON document."""
    rows = [
        {
            **facts(run),
            "scores": [asdict(image) for image in run.result.images],
            "peers": [
                {"method": row.method, "psnr": row.psnr[run.result.dataset], "source": row.source}
                for row in run.peers
            ],
        }
        for run in runs
    ]
    return to_json({"version": SCHEMA_VERSION, "runs": rows}, indent=1) + "\n"


def as_csv(runs: Sequence[Run]) -> str:
    """Write one line for each run, and a header."""
    stream = io.StringIO()
    rows = [facts(run) for run in runs]
    writer = csv.DictWriter(stream, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return stream.getvalue()


def as_markdown(runs: Sequence[Run]) -> str:
    """Write a table of scores, the peers of each model, and what the numbers depend on."""
    head = "| data set | model | PSNR | SSIM | reported | difference | input | seconds |"
    lines = ["# Benchmark", "", head, "|---|---|---|---|---|---|---|---|"]
    lines += [f"| {' | '.join(cells(run))} |" for run in runs]
    for run in runs:
        if peers := run.peers:
            listed = ", ".join(f"{row.method} {row.psnr[run.result.dataset]:.2f}" for row in peers)
            lines += ["", f"{run.result.dataset}, {peers[0].source}: {listed}."]
    lines += ["", *(f"- {condition}" for condition in conditions(runs))]
    return "\n".join(lines) + "\n"


def cells(run: Run) -> list[str]:
    """Write one row of the table of scores, for people."""
    result, row = run.result, run.reported
    name, count = result.dataset, len(result.images)
    reported = "" if row is None else f"{row.psnr[name]:.2f}"
    if row is not None and name in row.ssim:
        reported += f" / {row.ssim[name]:.4f}"
    return [
        name if result.complete else f"{name} ({count} images)",
        run.label,
        f"{result.restored.psnr:.3f}",
        " ".join(
            [
                f"{result.restored.ssim:.4f}",
                *(f"{metric} {value:.4f}" for metric, value in result.further.items()),
            ]
        ),
        reported,
        "" if run.difference is None else f"{run.difference:+.3f}",
        f"{result.unrestored.psnr:.2f} / {result.unrestored.ssim:.4f}",
        f"{result.seconds:.1f}",
    ]
