"""Around a request to the Hub: who is told of its progress, and what its failures mean."""

from __future__ import annotations

import errno
import io
import json
import logging
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx2
from huggingface_hub import constants
from huggingface_hub.errors import (
    FileMetadataError,
    GatedRepoError,
    HfHubHTTPError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.utils.tqdm import (
    are_progress_bars_disabled,
    disable_progress_bars,
    enable_progress_bars,
)
from tqdm import tqdm

from mambair_cli.checkpoints import cache
from mambair_cli.checkpoints.reference import HubReference, Listener, page
from mambair_cli.errors import CheckpointError, MambairError

# Where there is no home, huggingface_hub's folder would be one called `~`.
if constants.HF_HUB_CACHE.startswith("~"):
    constants.HF_HUB_CACHE = str(cache.home() / "hub")

STEP_BYTES = 2**16
# Settings of huggingface_hub are changed for a while, which are those of the whole process.
ONE_AT_A_TIME = threading.RLock()
NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
LOG_IN = "give a token that may read it: set HF_TOKEN, or run: hf auth login"
CONNECT = (
    "check the connection and proxy, set HF_ENDPOINT to a mirror, or give a file of your own with "
    "--weights FILE"
)
PROXIES = "check the addresses of proxies: HTTPS_PROXY, HTTP_PROXY, ALL_PROXY"


def reporting_to(listener: Listener) -> type[tqdm]:
    """Make the kind of bar that passes on what huggingface_hub draws."""

    class Reporting(tqdm):  # type: ignore[misc]
        """Passes on what huggingface_hub draws."""

        monitor_interval = 0

        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **{**options, "file": io.StringIO(), "leave": False})

        def display(self, *_: Any, **__: Any) -> bool:
            listener.progressed(int(self.n), None if self.total is None else int(self.total))
            return True

        def update_transfer(self, _: float) -> None:
            """Ignore bytes on the wire: fewer than the file has where the Hub knows parts of it."""

        def set_transfer_postfix_str(self, *_: Any, **__: Any) -> None:
            """Ignore the rate of those."""

    return Reporting


@contextmanager
def small_steps() -> Iterator[None]:
    """Have huggingface_hub write what it receives in small steps; what is not written is lost."""
    with ONE_AT_A_TIME:
        before, constants.DOWNLOAD_CHUNK_SIZE = constants.DOWNLOAD_CHUNK_SIZE, STEP_BYTES
        try:
            yield
        finally:
            constants.DOWNLOAD_CHUNK_SIZE = before


@contextmanager
def no_bars() -> Iterator[None]:
    """Keep huggingface_hub from drawing."""
    before = are_progress_bars_disabled()
    disable_progress_bars()
    try:
        yield
    finally:
        # A bar that the environment forbids cannot be allowed again.
        if not before:
            enable_progress_bars()


@contextmanager
def told_to(listener: Listener | None) -> Iterator[None]:
    """Tell a listener, if there is one, what huggingface_hub would log."""
    if listener is None:
        yield
        return
    log = logging.getLogger("huggingface_hub")
    with ONE_AT_A_TIME:
        handlers, log.handlers = log.handlers, [_Telling(listener)]
        try:
            yield
        finally:
            log.handlers = handlers


class _Telling(logging.Handler):
    def __init__(self, listener: Listener) -> None:
        super().__init__(logging.WARNING)
        self._listener = listener

    def emit(self, record: logging.LogRecord) -> None:
        """Pass on that the connection failed; the rest is for those who use the library."""
        if str(record.msg).startswith("Error while downloading"):
            reason = _first_line(record.getMessage()).rpartition(": ")[2]
            self._listener.troubled(reason.partition(" (")[0])


@contextmanager
def explained(reference: HubReference) -> Iterator[None]:
    """Turn what a request raises into an error that says what to do.

    Raises:
        CheckpointError: The request failed.
    """
    try:
        yield
    except MambairError:
        raise
    except httpx2.InvalidURL:  # which quotes what may be a part of a password
        what = f"cannot reach {constants.ENDPOINT}: the address of a proxy or redirect is none"
        raise CheckpointError(what, PROXIES) from None
    # A ValueError is a name that cannot be, or an answer that is not what the Hub answers.
    except (httpx2.HTTPError, OSError, ValueError) as error:
        raise _explanation(reference, error) from error


def _explanation(reference: HubReference, error: Exception) -> CheckpointError:
    # Behind "not found on this machine" is the reason why the Hub did not answer.
    origin = error.__cause__ if isinstance(error, LocalEntryNotFoundError) else error
    if isinstance(origin, HfHubHTTPError):
        return CheckpointError(*_refusal(reference, origin))
    return CheckpointError(*_failure(reference, origin or error))


def _refusal(reference: HubReference, error: HfHubHTTPError) -> tuple[str, str]:
    repo, status = reference.repo, error.response.status_code
    match error:
        case GatedRepoError():
            what = f"{repo} is handed out only to those who were granted access"
            return what, f"ask for it at {page(repo)}, then {LOG_IN}"
        case RepositoryNotFoundError():
            return f"there is no public {reference.kind} repository {repo}", LOG_IN
        case RevisionNotFoundError():
            what = f"{repo} has no revision {reference.revision}"
            return what, f"see those it has at {page(repo)}"
    what = f"the Hub answers {status} for {reference.path} from {repo}"
    if status in {401, 403}:
        return what, LOG_IN
    return what, "try again later" if status >= 429 else CONNECT


def _failure(reference: HubReference, error: BaseException) -> tuple[str, str]:
    path, repo = reference.path, reference.repo
    match error:
        case OfflineModeIsEnabled():
            what = f"{path} from {repo} is not on this machine, and HF_HUB_OFFLINE is set"
            return what, "unset HF_HUB_OFFLINE, or give a file with --weights FILE"
        case httpx2.TimeoutException():
            return f"cannot reach {constants.ENDPOINT}: no answer in time", CONNECT
        case httpx2.TransportError():
            said = re.sub(r"^\[Errno -?\d+\] ", "", str(error)) or type(error).__name__
            return f"cannot reach {constants.ENDPOINT}: {said}", CONNECT
        case json.JSONDecodeError() | FileMetadataError():
            return no_hub()
        case OSError() if error.errno in NO_ROOM:
            return no_room(path)
    return f"{path} cannot be fetched from {repo}: {_first_line(error)}", CONNECT


def no_hub() -> tuple[str, str]:
    """Say, as message and hint, that what answers is no Hub."""
    return (
        f"{constants.ENDPOINT} does not answer like a Hugging Face Hub",
        "a log-in page of the network may answer in its place; " + CONNECT,
    )


def no_room(what: str) -> tuple[str, str]:
    """Say, as message and hint, that the folder of downloads has no room."""
    return (
        f"there is no room in {constants.HF_HUB_CACHE} for {what}",
        "make room there, or set HF_HOME to another folder",
    )


def _first_line(text: object) -> str:
    return str(text).strip().partition("\n")[0].rstrip(".")
