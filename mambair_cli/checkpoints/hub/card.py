"""The model card of weights that are offered on the Hub."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass

from huggingface_hub import EvalResult, ModelCardData

from mambair_cli.checkpoints import catalogue
from mambair_cli.checkpoints.inspection import Inspection
from mambair_cli.checkpoints.reference import HubReference

# What the Hub calls the task, and offers a form for on the model's page.
PIPELINE = "image-to-image"
PAPERS = {"MambaIRv2": ("MambaIRv2", "2411.15269")}
FIRST_PAPER = ("MambaIR", "2402.15648")


@dataclass(frozen=True)
class Score:
    """What weights were measured to reach on a data set.

    Attributes:
        dataset: Its name.
        images: How many of its images were measured.
        psnr: In dB.
        ssim: Structural similarity.
        ensemble: Whether with the self-ensemble (MambaIR+).
        conditions: How it was measured, in a phrase.
    """

    dataset: str
    images: int
    psnr: float
    ssim: float
    ensemble: bool
    conditions: str


def model_card(
    found: Inspection, reference: HubReference, licence: str | None, scores: Sequence[Score] = ()
) -> str:
    """Write the model card of a weights file.

    Args:
        found: What the file holds.
        reference: What it can be asked for by.
        licence: SPDX identifier of its licence; None for that of the catalogue's model, if it is
            one.
        scores: What it was measured to reach.

    Returns:
        Markdown, with the header that the Hub reads.
    """
    entry = {entry.id: entry for entry in catalogue.entries()}.get(found.spec.id)
    licence = licence or (entry.licence if entry else None)
    header = ModelCardData(
        library_name="mambair",
        license=None if licence is None else licence.lower(),
        pipeline_tag=PIPELINE,
        tags=["mambair"],
        model_name=found.spec.id if scores else None,
        eval_results=[result for score in scores for result in _results(score)] or None,
    )
    paper, number = PAPERS.get(found.network, FIRST_PAPER)
    facts = "\n".join(f"| {name} | {value} |" for name, value in _facts(found))
    return "\n".join(
        [
            "---",
            header.to_yaml(),
            "---",
            f"# {found.spec.id}",
            "",
            f"Weights of {paper} ([arXiv {number}](https://arxiv.org/abs/{number})).",
            "",
            "| | |",
            "|---|---|",
            facts,
            "",
            *_table(scores),
            "## Use",
            "",
            f"    mambair {catalogue.command(found.spec)} photo.png --weights {reference}",
            "",
        ]
    )


def _results(score: Score) -> Iterator[EvalResult]:
    name = score.dataset + (", self-ensemble" if score.ensemble else "")
    for metric, value in (("PSNR", score.psnr), ("SSIM", score.ssim)):
        yield EvalResult(
            task_type=PIPELINE,
            dataset_type=score.dataset,
            dataset_name=name,
            metric_type=metric.lower(),
            metric_name=metric,
            metric_value=value,
        )


def _table(scores: Sequence[Score]) -> Iterator[str]:
    if not scores:
        return
    yield from ("## Scores", "", "| data set | images | PSNR | SSIM | measured |")
    yield "|---|---|---|---|---|"
    for score in scores:
        how = f"self-ensemble, {score.conditions}" if score.ensemble else score.conditions
        numbers = f"{score.images} | {score.psnr:.3f} | {score.ssim:.4f}"
        name = " ".join(score.dataset.replace("|", r"\|").split())
        yield f"| {name} | {numbers} | {how} |"
    yield ""


def _facts(found: Inspection) -> Iterator[tuple[str, object]]:
    for name, value in asdict(found.spec).items():
        if name != "id" and value is not None:
            yield name, value
    if found.known is not None:
        yield "trained on", found.known.trained_on
        for images, terms in found.known.terms.items():
            yield f"terms of {images}", terms
    yield "network", found.network
    yield "parameters", f"{found.parameters:,}"
    yield "format", f"safetensors, {', '.join(found.dtypes)}"
    yield "sha256", found.sha256
    for name in ("source", "source_repository", "source_revision", "source_sha256"):
        if value := found.metadata.get(f"mambair.{name}"):
            yield name.replace("_", " "), value
