"""Scores of weights, read back from the report of a benchmark."""

from __future__ import annotations

import json
import reprlib
from pathlib import Path
from typing import Any

from mambair_cli.checkpoints.header import SOURCE_SHA256
from mambair_cli.checkpoints.hub.card import Score
from mambair_cli.checkpoints.inspection import inspect_checkpoint
from mambair_cli.errors import UsageError
from mambair_cli.evaluation.report import SCHEMA_VERSION
from mambair_cli.evaluation.results import PROTOCOLS

MEASURE = "measure them: mambair bench --weights FILE --dataset Set5 --report scores.json"


def scores_of(report: Path, weights: Path) -> list[Score]:
    """Read what a report says of a weights file.

    Args:
        report: What `mambair bench --report` wrote as JSON.
        weights: The file that was measured, or what it was converted to.

    Returns:
        A score for each data set.

    Raises:
        UsageError: The report is none, or is of other weights.
        CheckpointError: The weights cannot be read.
    """
    found = inspect_checkpoint(weights)
    digests = {found.sha256, found.metadata.get(SOURCE_SHA256)}
    runs = _runs(report)
    scores = [_score(report, run) for run in runs if run.get("sha256") in digests]
    if not scores:
        others = ", ".join(dict.fromkeys(str(run.get("model"))[:80] for run in runs)) or "nothing"
        raise UsageError(
            f"{report} has no score of {weights}, whose sha256 is {found.sha256[:12]}...; it "
            f"measured {others}",
            MEASURE,
        )
    return scores


def _runs(report: Path) -> list[dict[str, Any]]:
    try:
        content = json.loads(report.read_text("utf-8"))
        if content["version"] != SCHEMA_VERSION:
            version = reprlib.repr(content["version"])
            raise UsageError(f"{report} is a report of version {version}", MEASURE)
        runs = [dict(run) for run in content["runs"]]
    except OSError as error:
        raise UsageError(f"{report} cannot be read: {error.strerror or error}", MEASURE) from error
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        raise UsageError(f"{report} is no report of mambair bench as JSON", MEASURE) from error
    return runs


def _score(report: Path, run: dict[str, Any]) -> Score:
    try:
        conditions = f"{PROTOCOLS[run['protocol']]}; {run['precision']}"
        if not run["complete"]:
            conditions += "; not all images of the set"
        return Score(
            dataset=str(run["dataset"]),
            images=int(run["images"]),
            psnr=float(run["psnr"]),
            ssim=float(run["ssim"]),
            ensemble=bool(run["ensemble"]),
            conditions=conditions,
        )
    except (LookupError, ValueError, TypeError) as error:
        raise UsageError(f"{report} lacks a score where one should be: {error}", MEASURE) from error
