"""The Hugging Face Hub: what a repository holds, fetching one of its files, offering one.

The only module that opens connections. Addresses, credentials and folders are those of
huggingface_hub: `HF_ENDPOINT`, `HF_TOKEN`, `HF_HOME` and `HF_HUB_OFFLINE` keep their meaning.
"""

from __future__ import annotations

import errno
import io
import json
import logging
import re
import shutil
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
from huggingface_hub import (
    CommitOperationAdd,
    HfApi,
    constants,
    get_hf_file_metadata,
    hf_hub_download,
    hf_hub_url,
    snapshot_download,
    try_to_load_from_cache,
)
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
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

from mambair_cli.checkpoints.reference import HubReference, page
from mambair_cli.checkpoints.transfer import HubFile, Listener
from mambair_cli.disk import git_blob_of, sha256_of
from mambair_cli.errors import CheckpointError, MambairError

# Seconds without an answer, unless HF_HUB_ETAG_TIMEOUT says otherwise: a person is waiting.
ANSWER_SECONDS = 5
STEP_BYTES = 2**16
# Settings of huggingface_hub are changed for a while, which are those of the whole process.
ONE_AT_A_TIME = threading.RLock()
SHA256 = re.compile(r"[0-9a-f]{64}")
GIT_BLOB = re.compile(r"[0-9a-f]{40}")
MODEL_CARD = "README.md"
NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
LOG_IN = "give a token that may read it: set HF_TOKEN, or run: hf auth login"
CONNECT = (
    "check the connection and proxy, set HF_ENDPOINT to a mirror, or give a file of your own with "
    "--weights FILE"
)


def look_up(reference: HubReference, listener: Listener | None = None) -> HubFile | None:
    """Asks the Hub for a file.

    Args:
        reference: Which file.
        listener: Takes the place of huggingface_hub's own messages.

    Returns:
        What is known of it; None if the repository has no such file.

    Raises:
        CheckpointError: The Hub cannot be reached, or does not hand the file out.
    """
    address = hf_hub_url(
        reference.repo, reference.path, repo_type=reference.kind, revision=reference.revision
    )
    with _explained(reference), _told_to(listener):
        try:
            answer = get_hf_file_metadata(address, timeout=_patience())
        except EntryNotFoundError:
            return None
    digest = answer.etag or ""
    if answer.commit_hash is None or not (SHA256.fullmatch(digest) or GIT_BLOB.fullmatch(digest)):
        raise CheckpointError(*_no_hub())
    return HubFile(reference, answer.commit_hash, digest, answer.size)


def list_files(reference: HubReference, listener: Listener | None = None) -> list[str]:
    """Lists the files of a repository.

    Args:
        reference: Any file of it; its path is not looked at.
        listener: Takes the place of huggingface_hub's own messages.

    Returns:
        Their paths.

    Raises:
        CheckpointError: The Hub cannot be reached, or there is no such repository.
    """
    with _explained(reference), _told_to(listener):
        found = HfApi().model_info(reference.repo, revision=reference.revision, timeout=_patience())
    return sorted(sibling.rfilename for sibling in found.siblings or ())


def kept_files(reference: HubReference) -> list[str]:
    """Lists what huggingface_hub keeps of a repository on this machine; the Hub is not asked.

    Args:
        reference: Any file of it; its path is not looked at.

    Returns:
        Paths in the repository; none where nothing of that revision was ever downloaded.
    """
    folder = _kept_folder(reference)
    if folder is None:
        return []
    files = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return sorted(path.as_posix() for path in files)


def kept_file(reference: HubReference) -> HubFile:
    """Finds a file that huggingface_hub keeps.

    Args:
        reference: One of those that `kept_files` lists.

    Returns:
        The file, with the digest that it had when it was downloaded, as far as that is known.
    """
    folder = _kept_folder(reference)
    assert folder is not None
    path = folder / reference.path
    # A snapshot links to blobs that are named by their digest, where the system has links.
    blob = path.resolve().name
    digest = blob if SHA256.fullmatch(blob) else sha256_of(path)
    return HubFile(reference, folder.name, digest, path.stat().st_size)


def _kept_folder(reference: HubReference) -> Path | None:
    try:
        folder = snapshot_download(
            reference.repo, revision=reference.revision, local_files_only=True, allow_patterns=[]
        )
    except (LocalEntryNotFoundError, HFValidationError):
        return None
    return Path(folder)


def download(file: HubFile, listener: Listener | None = None) -> Path:
    """Fetches a file into huggingface_hub's folder, unless it is there, and checks its digest.

    An interrupted connection is taken up again where it ended.

    Args:
        file: The file, as `look_up` found it.
        listener: Is told of the progress; without it, huggingface_hub draws its own bar.

    Returns:
        The file on this machine.

    Raises:
        CheckpointError: It cannot be fetched, or is not what the Hub says that it is.
    """
    kept = try_to_load_from_cache(
        file.repo, file.path, revision=file.revision, repo_type=file.reference.kind
    )
    if isinstance(kept, str):
        return _verified(file, Path(kept))
    _require_room(file)
    if listener is not None:
        listener.started(file)
    try:
        with _explained(file.reference), _told_to(listener), _small_steps():
            path = hf_hub_download(
                file.repo,
                file.path,
                repo_type=file.reference.kind,
                revision=file.reference.revision,
                etag_timeout=_patience(),
                library_name="mambair",
                tqdm_class=None if listener is None else _reporting_to(listener),
            )
    finally:
        if listener is not None:
            listener.finished()
    return _verified(file, Path(path))


def upload(files: Mapping[str, Path], repo: str, *, private: bool, message: str) -> str:
    """Puts files into a model repository, which is made if there is none.

    Args:
        files: Path in the repository to the file on this machine; a model card that the repository
            has already is left as it is.
        repo: Owner and name of the repository.
        private: Whether a repository that is made is private.
        message: What the commit says.

    Returns:
        The commit.

    Raises:
        CheckpointError: The Hub cannot be reached, or does not take them.
    """
    api = HfApi(library_name="mambair")
    with _explained(HubReference(repo, next(iter(files)))), _no_bars():
        api.create_repo(repo, private=private, exist_ok=True)
        has_card = api.file_exists(repo, MODEL_CARD)
        operations = [
            CommitOperationAdd(path, local)
            for path, local in files.items()
            if not (has_card and path == MODEL_CARD)
        ]
        return str(api.create_commit(repo, operations, commit_message=message).oid)


def _patience() -> float:
    default = constants.DEFAULT_ETAG_TIMEOUT
    chosen = constants.HF_HUB_ETAG_TIMEOUT
    return ANSWER_SECONDS if chosen == default else chosen


def _verified(file: HubFile, path: Path) -> Path:
    digest_of = sha256_of if SHA256.fullmatch(file.digest) else git_blob_of
    found = digest_of(path)
    if found == file.digest:
        return path
    # huggingface_hub would take it for the file that was asked for.
    for copy in (path.resolve(), path):
        copy.unlink(missing_ok=True)
    raise CheckpointError(
        f"{file.path} from {file.repo} is not what the Hub says: its digest is {found} instead of "
        f"{file.digest}",
        "it was damaged or changed on the way, and has been deleted; try again",
    )


def _require_room(file: HubFile) -> None:
    folder = Path(constants.HF_HUB_CACHE)
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    if file.size is not None and free < file.size:
        raise CheckpointError(*_no_room(f"{file.path}, which takes {file.size / 1e6:.1f} MB"))


def _reporting_to(listener: Listener) -> type[tqdm]:
    class Reporting(tqdm):  # type: ignore[misc]
        """Passes on what huggingface_hub draws."""

        monitor_interval = 0

        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **{**options, "file": io.StringIO(), "leave": False})

        def display(self, *_: Any, **__: Any) -> bool:
            listener.progressed(int(self.n), None if self.total is None else int(self.total))
            return True

        def update_transfer(self, _: float) -> None:
            """Bytes on the wire, fewer than those of the file where the Hub knows parts of it."""

        def set_transfer_postfix_str(self, *_: Any, **__: Any) -> None:
            """The rate of those."""

    return Reporting


@contextmanager
def _small_steps() -> Iterator[None]:
    """Has huggingface_hub write what it receives in small steps; what is not written is lost."""
    with ONE_AT_A_TIME:
        before, constants.DOWNLOAD_CHUNK_SIZE = constants.DOWNLOAD_CHUNK_SIZE, STEP_BYTES
        try:
            yield
        finally:
            constants.DOWNLOAD_CHUNK_SIZE = before


@contextmanager
def _no_bars() -> Iterator[None]:
    before = are_progress_bars_disabled()
    disable_progress_bars()
    try:
        yield
    finally:
        # A bar that the environment forbids cannot be allowed again.
        if not before:
            enable_progress_bars()


@contextmanager
def _told_to(listener: Listener | None) -> Iterator[None]:
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
        """Passes on that the connection failed; the rest is for those who use the library."""
        if str(record.msg).startswith("Error while downloading"):
            reason = _first_line(record.getMessage()).rpartition(": ")[2]
            self._listener.troubled(reason.partition(" (")[0])


@contextmanager
def _explained(reference: HubReference) -> Iterator[None]:
    try:
        yield
    except MambairError:
        raise
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
        case json.JSONDecodeError():
            return _no_hub()
        case OSError() if error.errno in NO_ROOM:
            return _no_room(path)
    return f"{path} cannot be fetched from {repo}: {_first_line(error)}", CONNECT


def _no_hub() -> tuple[str, str]:
    return (
        f"{constants.ENDPOINT} does not answer like a Hugging Face Hub",
        "a log-in page of the network may answer in its place; " + CONNECT,
    )


def _no_room(what: str) -> tuple[str, str]:
    return (
        f"there is no room in {constants.HF_HUB_CACHE} for {what}",
        "make room there, or set HF_HOME to another folder",
    )


def _first_line(text: object) -> str:
    return str(text).strip().partition("\n")[0].rstrip(".")
