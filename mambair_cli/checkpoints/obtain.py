"""From a reference to a file: bundled, fetched before, or fetched from the Hub now."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from mambair_cli.checkpoints import cache, catalogue
from mambair_cli.checkpoints.cache import Pin
from mambair_cli.checkpoints.catalogue import CatalogueEntry
from mambair_cli.checkpoints.hub.address import require_address
from mambair_cli.checkpoints.locate import fetch_config, locate
from mambair_cli.checkpoints.reference import (
    HUB,
    WEIGHTS_SUFFIXES,
    HubReference,
    is_of_folder,
    page,
    require_file,
    weights_in,
)
from mambair_cli.disk import sha256_of
from mambair_cli.errors import CheckpointError, OutputError

if TYPE_CHECKING:
    from mambair_cli.checkpoints.choice import Choice
    from mambair_cli.checkpoints.reference import HubFile, Listener

UNNOTICED_SECONDS = 0.5


def resolve(reference: str, listener: Listener | None = None, *, again: bool = False) -> Path:
    """Find the weights file that a user means, fetching it where need be.

    Args:
        reference: A model id, `hf://owner/repo[@revision][/path]`, or the path of a file or folder.
        listener: Is told of a download.
        again: Fetch even what was fetched before; its repository may have changed.

    Returns:
        Path of the file.

    Raises:
        UsageError: It looks like a model id, and there is no such model; or a wrong reference.
        CheckpointError: It is no file, or cannot be fetched.
        OutputError: What was fetched cannot be kept.
    """
    if reference.startswith(HUB):
        return fetch(HubReference.parse(reference), listener, again=again).path
    if any(entry.id == reference for entry in catalogue.entries()):
        return path_of(catalogue.find(reference), listener, again=again)
    # The functions of os.path answer where those of Path raise: no home, a name too long.
    path = weights_in(Path(os.path.expanduser(reference)))  # noqa: PTH111
    is_name = path.name == reference and path.suffix.lower() not in WEIGHTS_SUFFIXES
    if is_name and not os.path.exists(path):  # noqa: PTH110
        catalogue.find(reference)
    require_file(path)
    return path


def path_of(
    entry: CatalogueEntry, listener: Listener | None = None, *, again: bool = False
) -> Path:
    """Find the weights file of a known model, fetching it where need be.

    Args:
        entry: The model.
        listener: Is told of a download.
        again: Fetch it even if it was fetched before.

    Returns:
        Path of the file.

    Raises:
        CheckpointError: It cannot be fetched.
        OutputError: What was fetched cannot be kept.
    """
    if entry.bundled is None:
        return fetch(entry, listener, again=again).path
    path = catalogue.bundled_directory() / entry.bundled
    if not path.is_file():
        raise CheckpointError(
            f"the bundled weights {path} are missing", "install mambair again: it is incomplete"
        )
    return path


def canonical(name: str) -> str:
    """Check a name of weights that are bundled or can be fetched.

    Args:
        name: A model id, or an `hf://` reference.

    Returns:
        The one spelling that they are kept under.

    Raises:
        UsageError: It is no such name.
    """
    return str(HubReference.parse(name)) if name.startswith(HUB) else catalogue.find(name).id


def find(name: str) -> Path | None:
    """Find weights that can be used without the Hub.

    Args:
        name: A model id, or an `hf://` reference.

    Returns:
        Path of the file; None where it is neither bundled nor was fetched before.

    Raises:
        UsageError: It is no such name.
    """
    name = canonical(name)
    if not name.startswith(HUB) and catalogue.find(name).bundled:
        return path_of(catalogue.find(name))
    pin = cache.find(name)
    return None if pin is None else pin.path


def obtain(choice: Choice, listener: Listener | None = None) -> tuple[Path, str | None]:
    """Find the weights file of a chosen model, or that of one that may stand in for it.

    Args:
        choice: The model, and what may stand in.
        listener: Is told of a download.

    Returns:
        Path of the file; and, where another stands in, a line that says so and why.

    Raises:
        CheckpointError: The model cannot be fetched, and nothing at hand may stand in; or what is
            at hand has changed since it was fetched.
        OutputError: What was fetched cannot be kept, and nothing at hand may stand in.
    """
    if find(choice.entry.id):
        return path_of(choice.entry), None
    try:
        return path_of(choice.entry, listener), None
    except (CheckpointError, OutputError) as error:
        for entry in choice.stand_ins:
            if find(entry.id) is None:
                continue
            path = path_of(entry)
            reason = error.message.splitlines()[0].rstrip(":")
            kind = "the bundled " if entry.bundled else ""
            notice = f"using {kind}{entry.id}: {choice.entry.id} cannot be had: {reason}"
            return path, notice
        raise


def fetch(
    wanted: CatalogueEntry | HubReference, listener: Listener | None = None, *, again: bool = False
) -> Pin:
    """Return what was fetched before, or fetch it: download, check, convert, keep, record.

    Args:
        wanted: A published model, or a file of a repository.
        listener: Is told of a download.
        again: Fetch it even if it was fetched before; its repository may have changed.

    Returns:
        The record of the file.

    Raises:
        CheckpointError: It cannot be fetched, is no weights file, holds another network than the
            catalogue says, or has changed since it was fetched.
        OutputError: It cannot be kept.
    """
    name = wanted.id if isinstance(wanted, CatalogueEntry) else str(wanted)
    if not again and (pin := _kept(name)):
        return pin
    with _alone(name, listener):
        if not again and (pin := _kept(name)):
            return pin
        require_address()
        from mambair_cli.checkpoints.hub import repository as hub

        file, is_kept = locate(wanted, listener)
        source = hub.download(file, listener)
        if not is_kept:
            fetch_config(file, source, listener)
        pin = _taken_in(name, wanted, file, source)
        cache.keep(pin)
        return pin


def _kept(name: str) -> Pin | None:
    pin = cache.find(name)
    if pin is not None:
        cache.require_unchanged(pin)
    return pin


@contextmanager
def _alone(name: str, listener: Listener | None) -> Iterator[None]:
    """Make other processes wait that want the same; they find it fetched then."""
    record = cache.record_of(name)
    lock = FileLock(record.with_suffix(".lock"))
    try:
        record.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=UNNOTICED_SECONDS)
    except Timeout:
        if listener is not None:
            listener.waiting(name)
        lock.acquire()
    except NotImplementedError:
        # A file system without locks: the work may be done twice, and is right all the same.
        pass
    except OSError as error:
        raise cache.cannot_keep(error) from error
    try:
        yield
    finally:
        lock.release()


def _require_known(entry: CatalogueEntry, file: HubFile, digest: str) -> None:
    """Refuse another file than the one whose digest the catalogue has."""
    if entry.sha256 not in (None, digest):
        raise CheckpointError(
            f"{file.path} from {file.repo} is not the file that is known as {entry.id}: "
            f"its sha256 is {digest}, that of the known one {entry.sha256}",
            "its authors may have replaced it; if you trust it: "
            f"--weights {HUB}{file.repo}/{file.path}",
        )


def _taken_in(name: str, wanted: CatalogueEntry | HubReference, file: HubFile, source: Path) -> Pin:
    from mambair_cli.checkpoints import header
    from mambair_cli.checkpoints.convert import store
    from mambair_cli.checkpoints.load import identify, open_checkpoint

    digest = sha256_of(source)
    if isinstance(wanted, CatalogueEntry):
        _require_known(wanted, file, digest)
    raw, network, found = open_checkpoint(source)
    spec = found
    if isinstance(wanted, CatalogueEntry):
        if network.config != wanted.config:
            raise CheckpointError(
                f"{file.path} from {file.repo} holds another network than {wanted.id}: "
                f"{network.config} instead of {wanted.config}",
                f"its authors may have changed it; see {page(file.repo)}",
            )
        spec = wanted.spec
    elif is_of_folder(PurePosixPath(file.path)) and header.SPEC not in raw.metadata:
        # The folder that it lies in here is named by its commit.
        folder = PurePosixPath(file.repo, file.path).parent.name
        spec = identify(Path(f"{folder}.safetensors"), network.config)
    if raw.format == "safetensors" and spec == found:
        weights = source
    else:
        weights = cache.converted_of(name)
        store(
            weights,
            raw,
            network,
            spec,
            {
                header.SOURCE: file.path,
                header.SOURCE_SHA256: digest,
                header.SOURCE_REPOSITORY: file.repo,
                header.SOURCE_REVISION: file.revision,
            },
        )
    return Pin(
        name=name,
        repo=file.repo,
        revision=file.revision,
        file=file.path,
        source_sha256=digest,
        source_size=source.stat().st_size,
        weights=str(weights) if weights == source else weights.name,
        sha256=digest if weights == source else sha256_of(weights),
        size=weights.stat().st_size,
    )
