"""Every option that more than one command takes, declared once, and how a command receives them."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from dataclasses import MISSING, Field, dataclass, fields
from typing import Annotated, Any, Literal, get_type_hints

import typer

from mambair_cli.cli.option_values import parse_bytes, parse_pixels, parse_shard, parse_tile
from mambair_cli.cli.preferences import Invocation, is_preferred, variable_of

Precision = Literal["auto", "fp32", "tf32", "bf16", "fp16"]
MetadataMode = Literal["keep", "strip", "private"]


def _remember_debug(context: typer.Context, value: bool) -> bool:
    if value and isinstance(context.obj, Invocation):
        context.obj.debug = True
    return value


def remember_resume(context: typer.Context, value: bool) -> bool:
    """Remember `--resume`: should the command be interrupted, it is told how to go on."""
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


def _panel(title: str) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Return what declares the options of one panel of the help, and those that are preferences.

    Those have a variable, and may stand in the file of preferences.
    """
    declare = functools.partial(typer.Option, rich_help_panel=title, show_default=False)

    def prefer(*names: str, **details: Any) -> Any:
        option = next(name for name in names if name.startswith("--")).partition("/")[0]
        return declare(*names, envvar=variable_of(option), show_envvar=False, **details)

    return declare, prefer


_of_files, _preferred_of_files = _panel("Files")
_of_model, _preferred_of_model = _panel("Model")
_of_computation, _preferred_of_computation = _panel("Computation")
_of_messages, _ = _panel("Messages")

Debug = Annotated[
    bool, _of_messages("--debug", help="Print tracebacks.", callback=_remember_debug, is_eager=True)
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace an existing file.")]
Quiet = Annotated[bool, _of_messages("-q", "--quiet", help="Print only errors and warnings.")]
Verbose = Annotated[bool, _of_messages("-v", "--verbose", help="Print more about each step.")]
Json = Annotated[
    bool, _of_messages("--json", help="Print JSON on standard output, one object a line.")
]
Device = Annotated[
    str,
    _preferred_of_computation(
        "--device",
        show_default=True,
        metavar="auto|cpu|cuda|cuda:N|xpu|mps",
        help="Where to run.",
    ),
]
Devices = Annotated[
    str,
    _preferred_of_computation(
        "--device",
        show_default=True,
        metavar="auto|cpu|cuda|cuda:N,...|xpu|mps",
        help="Where to run. Several GPUs share the images: cuda:0,cuda:1.",
    ),
]
Scan = Annotated[
    str,
    _preferred_of_computation(
        "--scan",
        show_default=True,
        metavar="auto|triton|mamba-ssm|numba|torch|reference",
        help="Backend of the selective scan; `mambair doctor` says which ones run here.",
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
        _of_files(
            "--files-from",
            metavar="FILE|-",
            help="Take further inputs from a file, or from standard input, one a line.",
        ),
    ] = None
    null: Annotated[
        bool,
        _of_files(
            "--null", help="Names in --files-from end with a NUL byte instead of a line break."
        ),
    ] = False
    output: Annotated[
        str | None,
        _of_files(
            "-o",
            "--output",
            help="Folder for the results, or the result's file name for one image; - for standard "
            "output. "
            "Without it, results are written beside their sources.",
        ),
    ] = None
    suffix: Annotated[
        str | None,
        _preferred_of_files(
            "--suffix",
            help="Added to each name before its extension. By default it says what was done: _x4.",
        ),
    ] = None
    name: Annotated[
        str | None,
        _preferred_of_files(
            "--name",
            metavar="TEMPLATE",
            help="Names of the results, such as {stem}_x4.{ext}; fields are stem, name, ext, "
            "parent, index, task, model, scale, sigma and quality.",
        ),
    ] = None
    format: Annotated[
        str | None,
        _preferred_of_files(
            "--format",
            metavar="png|jpg|webp|tiff|...",
            help="Format of the results, by its extension. By default that of each source.",
        ),
    ] = None
    quality_out: Annotated[
        int | None,
        _preferred_of_files(
            "--quality-out",
            metavar="1-100",
            min=1,
            max=100,
            help="Quality of results in formats that lose something, such as JPEG and WebP. By "
            "default 95, and without losses where the source is so in the same format.",
        ),
    ] = None
    stream: Annotated[
        Literal["y4m"] | None,
        _of_files(
            "--stream",
            help="Restore the frames of a video as they come: standard input and output are "
            "YUV4MPEG2 streams, which ffmpeg reads and writes.",
        ),
    ] = None
    recursive: Annotated[
        bool,
        _preferred_of_files(
            "-r",
            "--recursive/--no-recursive",
            help="Whether to enter the folders inside a folder. By default yes.",
        ),
    ] = True
    overwrite: Annotated[bool, _of_files("--overwrite", help="Replace existing results.")] = False
    resume: Annotated[
        bool,
        _of_files(
            "--resume",
            help="Skip images already restored from the same file, weights and options.",
            callback=remember_resume,
        ),
    ] = False
    retry_failed: Annotated[
        bool,
        _of_files("--retry-failed", help="Take only the images that failed in an earlier run."),
    ] = False
    shard: Annotated[
        Any,
        _of_files(
            "--shard",
            metavar="I/N",
            parser=parse_shard,
            help="Take part I of N, all of about the same size; N processes share a batch.",
        ),
    ] = None
    dry_run: Annotated[
        bool,
        _of_files(
            "--dry-run",
            help="Say what would be written, how long it takes and what it needs; write nothing.",
        ),
    ] = False
    metadata: Annotated[
        MetadataMode,
        _preferred_of_files(
            "--metadata",
            show_default=True,
            help="What is kept of EXIF, XMP and IPTC: all, nothing, or all but position, serial "
            "numbers and owner. The colour profile is always kept.",
        ),
    ] = "keep"
    accept_damaged: Annotated[
        bool,
        _of_files(
            "--accept-damaged",
            help="Restore damaged JPEG, PNG and TIFF files as far as they are there.",
        ),
    ] = False
    max_pixels: Annotated[
        Any,
        _preferred_of_files(
            "--max-pixels",
            metavar="N[M|G]",
            parser=parse_pixels,
            help="Refuse images of more pixels; 0 for no limit. By default 179M.",
        ),
    ] = None
    model: Annotated[
        str | None,
        _preferred_of_model(
            "--model",
            metavar="VARIANT",
            help="Variant of the model, such as tiny or light. By default the best for the device.",
            autocompletion=complete_variant,
        ),
    ] = None
    weights: Annotated[
        str | None,
        _of_model(
            "--weights",
            metavar="FILE|ID|hf://...",
            help="Weights to use: a .safetensors or .pth file, a folder of one, a model id, or a "
            "file or repository on the Hugging Face Hub, hf://owner/repo/path or hf://owner/repo.",
            autocompletion=complete_model,
        ),
    ] = None
    ensemble: Annotated[
        bool,
        _preferred_of_model(
            "--ensemble",
            help="Average the results of the eight flips and turns (MambaIR+): 8 times the work.",
        ),
    ] = False
    strength: Annotated[
        float,
        _preferred_of_model(
            "--strength",
            show_default=True,
            min=0,
            max=1,
            metavar="0..1",
            help="How much of the change is kept: 0 leaves the image as it is, or enlarges it "
            "bicubically, 0.5 is half of each.",
        ),
    ] = 1.0
    device: Devices = "auto"
    precision: Annotated[
        Precision,
        _preferred_of_computation(
            "--precision", show_default=True, help="Number format of the network."
        ),
    ] = "auto"
    scan: Scan = "auto"
    tile: Annotated[
        Any,
        _preferred_of_computation(
            "--tile",
            show_default=True,
            metavar="auto|N|0",
            parser=parse_tile,
            help="Side of the tiles in input pixels; 0 for the whole image at once.",
        ),
    ] = "auto"
    overlap: Annotated[
        int | None,
        _preferred_of_computation(
            "--overlap",
            min=0,
            metavar="N",
            help="Input pixels that neighbouring tiles share; 32 by default, less for small tiles.",
        ),
    ] = None
    max_memory: Annotated[
        Any,
        _preferred_of_computation(
            "--max-memory",
            metavar="N[M|G]",
            parser=parse_bytes,
            help="Bytes of main memory to stay below. By default what is free. Larger images are "
            "read, restored and written in bands.",
        ),
    ] = None
    engine: Annotated[
        Literal["local", "ray"],
        _of_computation(
            "--engine",
            show_default=True,
            help="Where the work runs: in this process, or on a Ray cluster.",
        ),
    ] = "local"
    ray_address: Annotated[
        str | None,
        _of_computation(
            "--ray-address",
            metavar="HOST:PORT",
            help="The Ray cluster to use. By default that of this machine, or a new one.",
        ),
    ] = None
    json: Json = False
    quiet: Quiet = False
    verbose: Verbose = False
    debug: Debug = False
    preferred: frozenset[str] = frozenset()
    """Names of the fields that say what the user wants always, not what was asked for now."""


# All but the last are options.
_OPTIONS = fields(RestoreSettings)[:-1]


def takes_settings(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options of the settings that it takes, beside its own.

    Args:
        command: A function whose positional parameters are settings: dataclasses whose fields are
            options, the first with the inputs before all others. Its keyword-only parameters are
            its own options.

    Returns:
        A function with one parameter for each field and each own option, as Typer reads them.
    """
    parameters = inspect.signature(command, eval_str=True).parameters.values()
    own = [each for each in parameters if each.kind is inspect.Parameter.KEYWORD_ONLY]
    _, *others = [each.annotation for each in parameters if each not in own]

    @functools.wraps(command)
    def flat(context: typer.Context, **values: Any) -> None:
        taken = _taken(_OPTIONS, values)
        preferred = frozenset(name for name in taken if is_preferred(context, name))
        settings = RestoreSettings(**taken, preferred=preferred)
        command(settings, *(kind(**_taken(fields(kind), values)) for kind in others), **values)

    context = inspect.Parameter(
        "context", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=typer.Context
    )
    inputs, *shared = _parameters(RestoreSettings, _OPTIONS)
    of_others = [each for kind in others for each in _parameters(kind, fields(kind))]
    listed = [context, inputs, *own, *of_others, *shared]
    flat.__signature__ = inspect.Signature(listed)  # type: ignore[attr-defined]
    flat.__annotations__ = {item.name: item.annotation for item in listed}
    return flat


def _taken(options: Sequence[Field[Any]], values: dict[str, Any]) -> dict[str, Any]:
    return {item.name: values.pop(item.name) for item in options}


def _parameters(settings: type, options: Sequence[Field[Any]]) -> list[inspect.Parameter]:
    hints = get_type_hints(settings, include_extras=True)
    return [
        inspect.Parameter(
            item.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=inspect.Parameter.empty if item.default is MISSING else item.default,
            annotation=hints[item.name],
        )
        for item in options
    ]
