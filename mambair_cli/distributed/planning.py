"""Which files become which, where some of them have addresses."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from glob import has_magic
from pathlib import Path

from mambair_cli.batches.inputs import Source, find_images, is_url, resolve_inputs
from mambair_cli.batches.jobs import Job, extension_of, file_target, plan_jobs, target_of
from mambair_cli.batches.naming import NameTemplate
from mambair_cli.distributed import urls
from mambair_cli.distributed.urls import Url, address, as_place
from mambair_cli.errors import OutputError, UsageError
from mambair_cli.imaging.files import SUPPORTED_SUFFIXES


def plan_places(
    names: Sequence[str],
    listed: Sequence[str],
    *,
    output: Path | None,
    suffix: str,
    format: str | None,  # noqa: A002 - the name of the option
    recursive: bool,
    overwrite: bool,
    name: NameTemplate | None = None,
) -> list[Job]:
    """Finds the images to restore and where each result goes, as `plan_jobs` does.

    Args:
        names: Files, folders and patterns, as paths or as addresses.
        listed: Further ones, never patterns.
        output: As for `plan_jobs`, or a `Url`: a file if it has the suffix of an image and the
            input is one file, else what the results are put below.
        suffix: As for `plan_jobs`.
        format: As for `plan_jobs`.
        recursive: As for `plan_jobs`.
        overwrite: As for `plan_jobs`.
        name: As for `plan_jobs`.

    Returns:
        The jobs, at least one. No target is an input, and no two are the same.

    Raises:
        UsageError: As for `plan_jobs`, or a store cannot be asked.
    """
    names = [str(urls.place(each)) for each in names]
    listed = [str(urls.place(each)) for each in listed]
    if not any(map(is_url, (*names, *listed, str(output or "")))):
        return plan_jobs(
            resolve_inputs(names, listed),
            output=output,
            suffix=suffix,
            format=format,
            recursive=recursive,
            overwrite=overwrite,
            name=name,
        )
    extension = extension_of(format)
    template = NameTemplate.of_suffix(suffix) if name is None else name
    if output is not None and _names_a_file(output, names, listed):
        sources = _find(names, listed, None, "", recursive=recursive)
        pairs = [(sources[0].path, file_target(output, extension, name))]
        output = output.parent
    else:
        sources = _find(names, listed, output, suffix, recursive=recursive)
        pairs = [
            (source.path, target_of(source, output, template, extension, index))
            for index, source in enumerate(sources, start=1)
        ]
    _check_targets(pairs)
    present = set() if overwrite else _present(pairs, output)
    return [
        Job(
            source,
            target,
            target.parent if output is None else output,
            _refusal(target) if target in present else None,
        )
        for source, target in pairs
    ]


def _find(
    names: Sequence[str],
    listed: Sequence[str],
    output: Path | None,
    suffix: str,
    *,
    recursive: bool,
) -> list[Source]:
    found: dict[Path, Source] = {}
    for text in names:
        if is_url(text):
            sources = list(_below(text, output, suffix, recursive=recursive))
            if not sources:
                raise UsageError(f"{text} has no images", _supported())
        else:
            folder = None if output is None or address(output) else output
            inputs = resolve_inputs([text])
            sources = find_images(inputs, output=folder, suffix=suffix, recursive=recursive)
        for source in sources:
            found.setdefault(source.path, source)
    for text in listed:
        path = urls.place(text)
        found.setdefault(path, Source(path, path.parent))
    if not found:
        raise UsageError("no input was given", "name at least one image or directory")
    return list(found.values())


def _below(text: str, output: Path | None, suffix: str, *, recursive: bool) -> Iterator[Source]:
    """Yields the images that an address stands for: a file, a folder or a pattern."""
    fixed, pattern = _divided(text)
    root = Url.parse(fixed)
    if not pattern and urls.is_file(root):
        yield Source(as_place(root), as_place(root.parent))
        return
    if not pattern and not urls.is_directory(root):
        raise UsageError(f"no such file or directory: {text}", "check the spelling")
    candidates = urls.matching(root, pattern) if pattern else urls.below(root, recursive=recursive)
    excluded = None if output is None else address(output)
    found = [url for url in candidates if _is_candidate(url, root, excluded)]
    stems = {(url.parent, url.stem) for url in found}
    for url in found:
        original = (url.parent, url.stem.removesuffix(suffix))
        if not suffix or not url.stem.endswith(suffix) or original not in stems:
            yield Source(as_place(url), as_place(root))


def _divided(text: str) -> tuple[str, str]:
    """Divides an address before the first part with wildcards."""
    scheme, _, rest = text.partition("://")
    parts = rest.split("/")
    fixed = next((index for index, part in enumerate(parts) if has_magic(part)), len(parts))
    return f"{scheme}://{'/'.join(parts[:fixed])}", "/".join(parts[fixed:])


def _is_candidate(url: Url, root: Url, output: Url | None) -> bool:
    hidden = any(part.startswith(".") for part in url.relative_to(root).parts)
    within = output not in (None, root) and url.is_below(output)
    return not hidden and not within and url.suffix.lower() in SUPPORTED_SUFFIXES


def _names_a_file(output: Path, names: Sequence[str], listed: Sequence[str]) -> bool:
    if output.suffix.lower() not in SUPPORTED_SUFFIXES:
        return False
    one = [*names, *listed]
    if len(one) == 1 and not _divided(one[0])[1]:
        path = urls.place(one[0])
        url = address(path)
        if path.is_file() if url is None else urls.is_file(url):
            return True
    raise UsageError(
        f"{output} names one file, but more than one image may be written",
        f"give -o a directory, for example {output.parent / output.stem}/",
    )


def _check_targets(pairs: Sequence[tuple[Path, Path]]) -> None:
    sources = {source for source, _ in pairs}
    writers: dict[Path, Path] = {}
    for source, target in pairs:
        if target in sources:
            raise UsageError(
                f"the result would be written over the input {target}",
                "choose another -o, or a --suffix",
            )
        if target in writers:
            raise UsageError(
                f"{writers[target]} and {source} would both be written to {target}",
                "restore them into different directories with -o, or rename one",
            )
        writers[target] = source


def _present(pairs: Sequence[tuple[Path, Path]], output: Path | None) -> set[Path]:
    """Those targets that exist; a store is asked once for a folder, not once for a file."""
    targets = {target for _, target in pairs}
    folders = {target.parent for target in targets} if output is None else {output}
    found = {path for path in targets if address(path) is None and path.exists()}
    for folder in folders:
        if (url := address(folder)) is not None:
            below = urls.below(url, recursive=output is not None)
            found |= targets & {as_place(each) for each in below}
    return found


def _refusal(target: Path) -> OutputError:
    return OutputError(
        f"{target} exists already",
        "use --overwrite to replace it, or --resume to go on with an interrupted run",
    )


def _supported() -> str:
    return f"supported are {', '.join(sorted(SUPPORTED_SUFFIXES))}"
