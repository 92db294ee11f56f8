"""Every option that more than one command takes, declared once, and how a command receives them."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import MISSING, dataclass, fields
from typing import Annotated, Any, Literal, get_type_hints

import typer

from mambair_cli.cli.option_values import parse_bytes, parse_pixels, parse_shard, parse_tile

Precision = Literal["auto", "fp32", "tf32", "bf16", "fp16"]
MetadataMode = Literal["keep", "strip", "private"]


@dataclass
class Invocation:
    """What `main` must know of a command line even when the command fails.

    Attributes:
        debug: Whether to print tracebacks.
        resumes: Whether the command goes on with an earlier run; None if it cannot.
    """

    debug: bool = False
    resumes: bool | None = None


def _remember_debug(context: typer.Context, value: bool) -> bool:
    if value and isinstance(context.obj, Invocation):
        context.obj.debug = True
    return value


def remember_resume(context: typer.Context, value: bool) -> bool:
    """Callback of every `--resume`: should the command be interrupted, it is told how to go on."""
    if isinstance(context.obj, Invocation):
        context.obj.resumes = value
    return value


def complete_model(incomplete: str) -> list[str]:
    """Ids of the models that begin like what was typed, for the shell."""
    from mambair_cli.checkpoints import catalogue

    return [entry.id for entry in catalogue.entries() if entry.id.startswith(incomplete)]


def complete_variant(incomplete: str) -> list[str]:
    """Variants of the models that begin like what was typed, for the shell."""
    from mambair_cli.checkpoints import catalogue

    variants = dict.fromkeys(entry.variant for entry in catalogue.entries())
    return [variant for variant in variants if variant.startswith(incomplete)]


Debug = Annotated[
    bool,
    typer.Option(
        "--debug",
        help="Print tracebacks.",
        callback=_remember_debug,
        is_eager=True,
        rich_help_panel="Messages",
    ),
]
Quiet = Annotated[
    bool,
    typer.Option("-q", "--quiet", help="Print only errors.", rich_help_panel="Messages"),
]
Verbose = Annotated[
    bool,
    typer.Option("-v", "--verbose", help="Print more about each step.", rich_help_panel="Messages"),
]
Json = Annotated[
    bool,
    typer.Option(
        "--json",
        help="Print JSON on standard output, one object a line.",
        rich_help_panel="Messages",
    ),
]
Device = Annotated[
    str,
    typer.Option(
        "--device",
        metavar="auto|cpu|cuda|cuda:N|xpu|mps",
        help="Where to run.",
        rich_help_panel="Computation",
    ),
]
Devices = Annotated[
    str,
    typer.Option(
        "--device",
        metavar="auto|cpu|cuda|cuda:N,...|xpu|mps",
        help="Where to run. Several GPUs share the images: cuda:0,cuda:1.",
        rich_help_panel="Computation",
    ),
]
Scan = Annotated[
    str,
    typer.Option(
        "--scan",
        metavar="auto|triton|mamba-ssm|numba|torch|reference",
        help="Backend of the selective scan; `mambair doctor` says which ones run here.",
        rich_help_panel="Computation",
    ),
]


@dataclass(frozen=True)
class RestoreSettings:
    """What every restoring command takes; `takes_settings` turns each field into a parameter."""

    inputs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="IMAGE|FOLDER|GLOB|-...",
            help="Images, folders of images, patterns such as 'a/**/*.png', or - for standard "
            "input, whose result goes to standard output.",
            show_default=False,
        ),
    ] = None
    files_from: Annotated[
        str | None,
        typer.Option(
            "--files-from",
            metavar="FILE|-",
            help="Take further inputs from a file, or from standard input, one a line.",
            show_default=False,
            rich_help_panel="Files",
        ),
    ] = None
    null: Annotated[
        bool,
        typer.Option(
            "--null",
            help="Names in --files-from end with a NUL byte instead of a line break.",
            rich_help_panel="Files",
        ),
    ] = False
    output: Annotated[
        str | None,
        typer.Option(
            "-o",
            "--output",
            help="Folder for the results, or the result's file name for one image. "
            "Without it, results are written beside their sources.",
            show_default=False,
            rich_help_panel="Files",
        ),
    ] = None
    suffix: Annotated[
        str | None,
        typer.Option(
            "--suffix",
            help="Added to each name before its extension. By default it says what was done: _x4.",
            show_default=False,
            rich_help_panel="Files",
        ),
    ] = None
    name: Annotated[
        str | None,
        typer.Option(
            "--name",
            metavar="TEMPLATE",
            help="Names of the results, such as {stem}_x4.{ext}; fields are stem, name, ext, "
            "parent, index, task, model, scale, sigma and quality.",
            show_default=False,
            rich_help_panel="Files",
        ),
    ] = None
    format: Annotated[
        str | None,
        typer.Option(
            "--format",
            metavar="png|jpg|webp|tiff|...",
            help="Format of the results, by its extension. By default that of each source.",
            show_default=False,
            rich_help_panel="Files",
        ),
    ] = None
    quality_out: Annotated[
        int,
        typer.Option(
            "--quality-out",
            min=1,
            max=100,
            help="Quality of results in formats that lose something, such as JPEG and WebP.",
            rich_help_panel="Files",
        ),
    ] = 95
    recursive: Annotated[
        bool,
        typer.Option(
            "-r",
            "--recursive/--no-recursive",
            help="Whether to enter the folders inside a folder. By default yes.",
            show_default=False,
            rich_help_panel="Files",
        ),
    ] = True
    overwrite: Annotated[
        bool,
        typer.Option("--overwrite", help="Replace existing results.", rich_help_panel="Files"),
    ] = False
    resume: Annotated[
        bool,
        typer.Option(
            "--resume",
            help="Skip images already restored from the same file, weights and options.",
            callback=remember_resume,
            rich_help_panel="Files",
        ),
    ] = False
    retry_failed: Annotated[
        bool,
        typer.Option(
            "--retry-failed",
            help="Take only the images that failed in an earlier run.",
            rich_help_panel="Files",
        ),
    ] = False
    shard: Annotated[
        Any,
        typer.Option(
            "--shard",
            metavar="I/N",
            parser=parse_shard,
            help="Take part I of N, all of about the same size; N processes share a batch.",
            show_default=False,
            rich_help_panel="Files",
        ),
    ] = None
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="Say what would be written, how long it takes and what it needs; write nothing.",
            rich_help_panel="Files",
        ),
    ] = False
    metadata: Annotated[
        MetadataMode,
        typer.Option(
            "--metadata",
            help="What is kept of EXIF, XMP and IPTC: all, nothing, or all but position, serial "
            "numbers and owner. The colour profile is always kept.",
            rich_help_panel="Files",
        ),
    ] = "keep"
    max_pixels: Annotated[
        Any,
        typer.Option(
            "--max-pixels",
            metavar="N[M|G]",
            parser=parse_pixels,
            help="Refuse images of more pixels; 0 for no limit. By default 179M.",
            show_default=False,
            rich_help_panel="Files",
        ),
    ] = None
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            metavar="VARIANT",
            help="Variant of the model, such as tiny or light. By default the best for the device.",
            autocompletion=complete_variant,
            show_default=False,
            rich_help_panel="Model",
        ),
    ] = None
    weights: Annotated[
        str | None,
        typer.Option(
            "--weights",
            metavar="FILE|ID|hf://...",
            help="Weights to use: a .safetensors or .pth file, a model id, or a file on the "
            "Hugging Face Hub, hf://owner/repo/path.",
            autocompletion=complete_model,
            show_default=False,
            rich_help_panel="Model",
        ),
    ] = None
    ensemble: Annotated[
        bool,
        typer.Option(
            "--ensemble",
            help="Average the results of the eight flips and turns (MambaIR+): 8 times the work.",
            rich_help_panel="Model",
        ),
    ] = False
    device: Devices = "auto"
    precision: Annotated[
        Precision,
        typer.Option(
            "--precision", help="Number format of the network.", rich_help_panel="Computation"
        ),
    ] = "auto"
    scan: Scan = "auto"
    tile: Annotated[
        Any,
        typer.Option(
            "--tile",
            metavar="auto|N|0",
            parser=parse_tile,
            help="Side of the tiles in input pixels; 0 for the whole image at once.",
            rich_help_panel="Computation",
        ),
    ] = "auto"
    overlap: Annotated[
        int | None,
        typer.Option(
            "--overlap",
            min=0,
            metavar="N",
            help="Input pixels that neighbouring tiles share; 32 by default, less for small tiles.",
            rich_help_panel="Computation",
        ),
    ] = None
    max_memory: Annotated[
        Any,
        typer.Option(
            "--max-memory",
            metavar="N[M|G]",
            parser=parse_bytes,
            help="Bytes of main memory to stay below. By default what is free. Larger images are "
            "read, restored and written in bands.",
            show_default=False,
            rich_help_panel="Computation",
        ),
    ] = None
    engine: Annotated[
        Literal["local", "ray"],
        typer.Option(
            "--engine",
            help="Where the work runs: in this process, or on a Ray cluster.",
            rich_help_panel="Computation",
        ),
    ] = "local"
    ray_address: Annotated[
        str | None,
        typer.Option(
            "--ray-address",
            metavar="HOST:PORT",
            help="The Ray cluster to use. By default that of this machine, or a new one.",
            show_default=False,
            rich_help_panel="Computation",
        ),
    ] = None
    json: Json = False
    quiet: Quiet = False
    verbose: Verbose = False
    debug: Debug = False


def takes_settings(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the parameters of `RestoreSettings` beside its own.

    Args:
        command: A function whose first parameter is the settings; its other parameters are its own
            options and must be keyword-only.

    Returns:
        A function with one parameter for each field and each own option, as Typer reads them.
    """
    hints = get_type_hints(RestoreSettings, include_extras=True)
    shared = [
        inspect.Parameter(
            item.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=inspect.Parameter.empty if item.default is MISSING else item.default,
            annotation=hints[item.name],
        )
        for item in fields(RestoreSettings)
    ]
    _, *own = inspect.signature(command, eval_str=True).parameters.values()

    @functools.wraps(command)
    def flat(**values: Any) -> None:
        settings = RestoreSettings(
            **{item.name: values.pop(item.name) for item in fields(RestoreSettings)}
        )
        command(settings, **values)

    parameters = [shared[0], *own, *shared[1:]]
    flat.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    flat.__annotations__ = {item.name: item.annotation for item in parameters}
    return flat
