"""The Hugging Face Hub: list what a repository holds, fetch one of its files, offer one.

The only module that asks the Hub for anything. Addresses, credentials and folders are those of
huggingface_hub: `HF_ENDPOINT`, `HF_TOKEN`, `HF_HOME` and `HF_HUB_OFFLINE` keep their meaning.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

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
    HFValidationError,
    LocalEntryNotFoundError,
)

from mambair_cli.checkpoints.hub.guard import GIT_ID, SHA256, guarded, is_digest
from mambair_cli.checkpoints.hub.session import (
    explained,
    no_bars,
    no_hub,
    no_room,
    reporting_to,
    small_steps,
    told_to,
)
from mambair_cli.checkpoints.reference import HubFile, HubReference, Listener
from mambair_cli.disk import git_blob_of, sha256_of
from mambair_cli.errors import CheckpointError

# Seconds without an answer, unless HF_HUB_ETAG_TIMEOUT says otherwise: a person is waiting.
ANSWER_SECONDS = 5
MODEL_CARD = "README.md"


def look_up(reference: HubReference, listener: Listener | None = None) -> HubFile | None:
    """Ask the Hub for a file.

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
    with explained(reference), told_to(listener):
        try:
            answer = get_hf_file_metadata(address, timeout=_patience())
        except EntryNotFoundError:
            return None
    digest = answer.etag or ""
    commit = answer.commit_hash or ""
    if not (GIT_ID.fullmatch(commit) and is_digest(digest)):
        raise CheckpointError(*no_hub())
    return HubFile(reference, commit, digest, answer.size)


def list_files(reference: HubReference, listener: Listener | None = None) -> list[str]:
    """List the files of a repository.

    Args:
        reference: Any file of it; its path is not looked at.
        listener: Takes the place of huggingface_hub's own messages.

    Returns:
        Their paths.

    Raises:
        CheckpointError: The Hub cannot be reached, or there is no such repository.
    """
    with explained(reference), told_to(listener):
        found = HfApi().model_info(reference.repo, revision=reference.revision, timeout=_patience())
    return sorted(sibling.rfilename for sibling in found.siblings or ())


def kept_files(reference: HubReference) -> list[str]:
    """List what huggingface_hub keeps of a repository on this machine; the Hub is not asked.

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
    """Find a file that huggingface_hub keeps.

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
    """Fetch a file into huggingface_hub's folder, unless it is there, and check its digest.

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
        with explained(file.reference), told_to(listener), small_steps(), guarded(file):
            path = hf_hub_download(
                file.repo,
                file.path,
                repo_type=file.reference.kind,
                revision=file.reference.revision,
                etag_timeout=_patience(),
                library_name="mambair",
                tqdm_class=None if listener is None else reporting_to(listener),
            )
    finally:
        if listener is not None:
            listener.finished()
    return _verified(file, Path(path))


def upload(files: Mapping[str, Path], repo: str, *, private: bool, message: str) -> bool:
    """Put files into a model repository, and make it if there is none.

    Args:
        files: Path in the repository to the file on this machine; a model card that the repository
            has already is left as it is.
        repo: Owner and name of the repository.
        private: Whether a repository that is made is private.
        message: What the commit says.

    Returns:
        Whether there was a model card.

    Raises:
        CheckpointError: The Hub cannot be reached, or does not take them.
    """
    api = HfApi(library_name="mambair")
    with explained(HubReference(repo, next(iter(files)))), no_bars():
        api.create_repo(repo, private=private, exist_ok=True)
        has_card = api.file_exists(repo, MODEL_CARD)
        operations = [
            CommitOperationAdd(path, local)
            for path, local in files.items()
            if not (has_card and path == MODEL_CARD)
        ]
        api.create_commit(repo, operations, commit_message=message)
    return has_card


def _patience() -> float:
    default = constants.DEFAULT_ETAG_TIMEOUT
    chosen = constants.HF_HUB_ETAG_TIMEOUT
    return ANSWER_SECONDS if chosen == default else chosen


def _verified(file: HubFile, path: Path) -> Path:
    digest_of = sha256_of if SHA256.fullmatch(file.digest) else git_blob_of
    found = digest_of(path)
    if found == file.digest:
        return path
    _delete(path)
    raise CheckpointError(
        f"{file.path} from {file.repo} is not what the Hub says: its digest is {found} instead of "
        f"{file.digest}",
        "it was damaged or changed on the way, and has been deleted; try again",
    )


def _delete(path: Path) -> None:
    """Delete a file that huggingface_hub keeps, which would take it for what was asked for.

    What its name links to is deleted only where that lies among what is kept.
    """
    content = path.resolve()
    path.unlink(missing_ok=True)
    if content.is_relative_to(Path(constants.HF_HUB_CACHE).resolve()):
        content.unlink(missing_ok=True)


def _require_room(file: HubFile) -> None:
    folder = Path(constants.HF_HUB_CACHE)
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    if file.size is not None and free < file.size:
        raise CheckpointError(*no_room(f"{file.path}, which takes {file.size / 1e6:.1f} MB"))
