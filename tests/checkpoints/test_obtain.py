"""From a reference to a file, with huggingface_hub against a Hub on loopback."""

from __future__ import annotations

import errno
import hashlib
import io
import json
import logging
import os
import pickle
import traceback
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from filelock import FileLock
from hub_server import Hub, Repository, git_blob
from huggingface_hub import close_session, constants, file_download, hf_hub_download
from huggingface_hub.utils._xet_progress_reporting import XetDownloadProgressReporter
from safetensors import safe_open
from safetensors.torch import load_file, save

from mambair_cli.checkpoints import cache, catalogue, convert
from mambair_cli.checkpoints.catalogue import find
from mambair_cli.checkpoints.choice import Choice, choose
from mambair_cli.checkpoints.hub.session import reporting_to
from mambair_cli.checkpoints.inspection import inspect_checkpoint
from mambair_cli.checkpoints.load import load_checkpoint
from mambair_cli.checkpoints.obtain import fetch, obtain, resolve
from mambair_cli.checkpoints.reference import HubReference
from mambair_cli.errors import CheckpointError, OutputError, UsageError

LIGHT = "mambair-light-sr-x4"
FOLDER = "MambaIRv1_ckpt"
FILE = f"{FOLDER}/MambaIR_lightSRx4.pth"
REPO = "cguoh/MambaIR"


class Heard:
    """Notes what a listener is told."""

    def __init__(self):
        self.told = []

    def waiting(self, name):
        self.told.append(("waiting", name))

    def started(self, file):
        self.told.append(("started", file.path, file.size))

    def progressed(self, done, total):
        self.told.append(("progressed", done, total))

    def troubled(self, reason):
        self.told.append(("troubled", reason))

    def finished(self):
        self.told.append(("finished",))


def pickled(content: object) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


@pytest.fixture(scope="session")
def tiny():
    """Tensors of the smallest x4 network."""
    return load_file(catalogue.bundled_directory() / "mambair-tiny-sr-x4.safetensors")


@pytest.fixture(scope="session")
def published(tiny) -> bytes:
    """A file as the authors publish theirs."""
    return pickled({"params": tiny})


@pytest.fixture
def entry(monkeypatch):
    """The light x4 model, as if it were published with the smallest network."""
    small = {"network": "tiny", "parameters": 145_622, "megabytes": 0.61}
    rows = tuple(replace(row, **small) if row.id == LIGHT else row for row in catalogue.entries())
    monkeypatch.setattr(catalogue, "entries", lambda: rows)
    return find(LIGHT)


def left_over(folder: Path) -> list[str]:
    """Files below a folder that are neither locks nor empty tags."""
    return sorted(
        str(path.relative_to(folder))
        for path in folder.rglob("*")
        if path.is_file() and path.suffix != ".lock"
    )


def refused(wanted, kind=CheckpointError, listener=None):
    """What a fetch that must fail says; nothing may be left where the loader looks."""
    with pytest.raises(kind) as caught:
        fetch(wanted, listener)
    assert left_over(cache.home()) == []
    assert cache.pins() == []
    partial = [name for name in left_over(Path(constants.HF_HUB_CACHE)) if "incomplete" in name]
    assert partial == []
    return caught.value.message, caught.value.hint


def test_published_weights_are_fetched_converted_and_pinned(hub: Hub, entry, published, tiny):
    repository = hub.add(REPO, {FILE: published})
    heard = Heard()
    pin = fetch(entry, heard)
    assert pin.path == cache.home() / "models" / f"{LIGHT}.safetensors"
    assert (pin.repo, pin.file, pin.revision) == (REPO, FILE, repository.commit)
    assert pin.source_sha256 == hashlib.sha256(published).hexdigest()
    assert heard.told[0] == ("started", FILE, len(published))
    assert heard.told[-2:] == [("progressed", len(published), len(published)), ("finished",)]
    with safe_open(pin.path, "pt") as file:
        said = file.metadata()
    assert said["mambair.source_repository"] == REPO
    assert said["mambair.source_revision"] == repository.commit
    assert said["mambair.source_sha256"] == pin.source_sha256
    loaded = load_checkpoint(pin.path)
    assert (loaded.spec, loaded.network.config) == (entry.spec, entry.config)
    assert all(torch.equal(value, tiny[key]) for key, value in loaded.network.state_dict().items())


def test_what_was_fetched_needs_no_hub(hub: Hub, entry, published):
    hub.add(REPO, {FILE: published})
    path = fetch(entry).path
    hub.requests.clear()
    assert resolve(LIGHT) == path
    assert hub.requests == []


def test_fetched_again_when_asked_or_gone(hub: Hub, entry, published, tiny):
    repository = hub.add(REPO, {FILE: published})
    pin = fetch(entry)
    repository.files[FILE] = pickled({"params_ema": tiny})
    assert fetch(entry) == pin
    newer = fetch(entry, again=True)
    assert newer.revision == repository.commit != pin.revision
    assert cache.find(LIGHT) == newer
    newer.path.unlink()
    assert cache.find(LIGHT) is None
    assert fetch(entry).revision == newer.revision


def test_a_renamed_file_is_found_by_its_pattern(hub: Hub, entry, published):
    files = {
        "README.md": b"# MambaIR",
        "MambaIRv2_ckpt/mambairv2_lightSR_x4.pth": b"another network",
        f"{FOLDER}/MambaIR_LIGHT_SR_x2.pth": b"another scale",
        f"{FOLDER}/MambaIR_LIGHT_SR_x4.pth": published,
    }
    hub.add(REPO, files)
    assert fetch(entry).file == f"{FOLDER}/MambaIR_LIGHT_SR_x4.pth"
    assert hub.asked("GET", "/api/models/cguoh/MambaIR")


def test_a_file_that_is_not_there_lists_those_that_are(hub: Hub, entry):
    hub.add(REPO, {"README.md": b"", "a/classic_x4.pth": b"", "b/real.safetensors": b""})
    assert refused(entry) == (
        f"{REPO} has no {FILE}; its weights files are:\n  a/classic_x4.pth\n  b/real.safetensors",
        f"name one of them: --weights hf://{REPO}/PATH (https://huggingface.co/{REPO})",
    )
    hub.repositories[REPO].files.clear()
    message, _ = refused(entry)
    assert message == f"{REPO} has no {FILE}; its weights files are: none"


def test_safetensors_are_used_as_they_are(hub: Hub):
    content = (catalogue.bundled_directory() / "mambair-tiny-sr-x4.safetensors").read_bytes()
    hub.add("me/weights", {"nets/x4.safetensors": content}, revisions=("main", "v1"))
    pin = fetch(HubReference.parse("hf://me/weights@v1/nets/x4.safetensors"))
    assert pin.path.is_relative_to(constants.HF_HUB_CACHE)
    assert pin.path.read_bytes() == content
    assert left_over(cache.home()) == ["hub/me/weights@v1/nets/x4.safetensors.json"]
    assert resolve("hf://me/weights@v1/nets/x4.safetensors") == pin.path


@pytest.fixture
def choice(entry):  # noqa: ARG001 - it changes the catalogue
    """The choice of the light x4 model, on a device where it is the best."""
    return choose("sr", scale=4, device_type="mps")


def test_a_choice_that_can_be_had(hub: Hub, choice, published):
    hub.add(REPO, {FILE: published})
    assert obtain(choice) == (cache.converted_of(LIGHT), None)


def test_the_bundled_weights_stand_in(hub: Hub, choice):
    hub.add(REPO, {"a.pth": b"", "b.pth": b""})
    path, notice = obtain(choice)
    assert path.name == "mambair-tiny-sr-x4.safetensors"
    assert notice == (
        f"using the bundled mambair-tiny-sr-x4: {LIGHT} cannot be had: {REPO} has no {FILE}; its "
        "weights files are"
    )


def test_what_was_fetched_before_stands_in_first(hub: Hub, choice, published):
    hub.add(REPO, {FILE: published})
    fetch(choice.entry)
    classic = Choice(find("mambair-classic-sr-x4"), (), (choice.entry, *choice.stand_ins))
    path, notice = obtain(classic)
    assert path == cache.converted_of(LIGHT)
    assert notice.startswith(f"using {LIGHT}: mambair-classic-sr-x4 cannot be had: {REPO} has no ")


@pytest.mark.usefixtures("hub")
def test_nothing_stands_in_for_a_variant_that_was_named():
    with pytest.raises(CheckpointError, match=f"there is no public model repository {REPO}"):
        obtain(choose("sr", scale=4, variant="light"))


def test_any_repository_can_be_named(hub: Hub, published):
    repository = hub.add("me/weights", {"nets/x4.pth": published})
    path = resolve("hf://me/weights/nets/x4.pth")
    assert path == cache.home() / "hub" / "me" / "weights" / "nets" / "x4.pth.safetensors"
    assert load_checkpoint(path).spec.id == "x4"
    (pin,) = cache.pins()
    assert (pin.name, pin.revision) == ("hf://me/weights/nets/x4.pth", repository.commit)


def test_a_renamed_repository_is_followed(hub: Hub, published):
    hub.add("new/name", {"x4.pth": published})
    hub.renamed["old/name"] = "new/name"
    assert fetch(HubReference("old/name", "x4.pth")).repo == "old/name"


def test_small_files_are_checked_by_their_git_id(hub: Hub, published):
    hub.large_files = False
    hub.add("me/weights", {"x4.pth": published})
    assert fetch(HubReference("me/weights", "x4.pth")).source_size == len(published)


def test_a_private_repository_needs_its_token(hub: Hub, published, monkeypatch):
    hub.add("me/private", {"x4.pth": published}, reader="hf_right")
    reference = HubReference("me/private", "x4.pth")
    assert refused(reference) == (
        "there is no public model repository me/private",
        "give a token that may read it: set HF_TOKEN, or run: hf auth login",
    )
    monkeypatch.setenv("HF_TOKEN", "expired")
    message, _ = refused(reference)
    assert message == "the Hub answers 401 for x4.pth from me/private"
    monkeypatch.setenv("HF_TOKEN", "hf_right")
    fetch(reference)
    # The store of the content is another host: it must not learn the token.
    assert all("Authorization" not in ask.headers for ask in hub.asked("GET", "/"))


def test_a_gated_repository(hub: Hub, published):
    hub.add("me/gated", {"x4.pth": published}, gated=True)
    assert refused(HubReference("me/gated", "x4.pth")) == (
        "me/gated is handed out only to those who were granted access",
        (
            "ask for it at https://huggingface.co/me/gated, then give a token that may read it: "
            "set HF_TOKEN, or run: hf auth login"
        ),
    )


def test_a_revision_that_is_not_there(hub: Hub, published):
    hub.add("me/weights", {"x4.pth": published})
    message, _ = refused(HubReference("me/weights", "x4.pth", "v9"))
    assert message == "me/weights has no revision v9"


@pytest.mark.parametrize("status", [403, 418, 429, 503])
def test_other_refusals(hub: Hub, published, status):
    hub.add("me/weights", {"x4.pth": published})
    hub.replies["/me/weights/resolve/main/x4.pth"] = (status, {}, b"")
    message, _ = refused(HubReference("me/weights", "x4.pth"))
    assert message == f"the Hub answers {status} for x4.pth from me/weights"


def test_a_web_page_in_place_of_the_hub(hub: Hub):
    page = b"<!DOCTYPE html><title>404 not found</title>"
    answer = (200, {"Content-Type": "text/html"}, page)
    hub.replies["/me/weights/resolve/main/x4.pth"] = answer
    message, _ = refused(HubReference("me/weights", "x4.pth"))
    assert message == f"{hub.endpoint} does not answer like a Hugging Face Hub"


def test_a_mirror_that_states_no_digest(hub: Hub):
    headers = {"X-Repo-Commit": "c" * 40, "ETag": '"5d41402abc4b2a76b9719d911017c592-2"'}
    hub.replies["/me/weights/resolve/main/x4.pth"] = (200, headers, b"content")
    message, _ = refused(HubReference("me/weights", "x4.pth"))
    assert message == f"{hub.endpoint} does not answer like a Hugging Face Hub"


def test_what_huggingface_hub_has_is_not_downloaded_again(hub: Hub, published):
    hub.add("me/weights", {"x4.pth": published})
    reference = HubReference("me/weights", "x4.pth")
    cache.remove(fetch(reference))
    hub.requests.clear()
    heard = Heard()
    fetch(reference, heard)
    assert [ask.method for ask in hub.requests] == ["HEAD"]
    assert heard.told == []


def test_a_folder_without_locks(hub: Hub, published, monkeypatch):
    hub.add("me/weights", {"x4.pth": published})

    class NoLock(FileLock):
        def acquire(self, *_arguments, **_options):
            raise NotImplementedError("FileSystem does not appear to support flock")

    monkeypatch.setattr("mambair_cli.checkpoints.obtain.FileLock", NoLock)
    assert fetch(HubReference("me/weights", "x4.pth")).is_there


def test_a_web_page_in_place_of_the_list(hub: Hub):
    hub.add(REPO, {})
    hub.replies[f"/api/models/{REPO}"] = (200, {}, b"<!DOCTYPE html><title>404 not found</title>")
    message, _ = refused(find(LIGHT))
    assert message == f"{hub.endpoint} does not answer like a Hugging Face Hub"


def test_a_web_page_in_place_of_the_content(hub: Hub, published):
    hub.add("me/weights", {"x4.pth": published})
    digest = hashlib.sha256(published).hexdigest()
    hub.replies[f"/{digest}"] = (200, {}, b"<!DOCTYPE html><title>404 not found</title>")
    message, _ = refused(HubReference("me/weights", "x4.pth"))
    assert message.startswith("x4.pth cannot be fetched from me/weights: Consistency check failed")


def test_content_that_is_not_what_the_hub_says(hub: Hub, published):
    hub.add("me/weights", {"x4.pth": published})
    digest = hashlib.sha256(published).hexdigest()
    other = bytes(reversed(published))
    hub.disguises[digest] = other
    reference = HubReference("me/weights", "x4.pth")
    assert refused(reference) == (
        (
            "x4.pth from me/weights is not what the Hub says: its digest is "
            f"{hashlib.sha256(other).hexdigest()} instead of {digest}"
        ),
        "it was damaged or changed on the way, and has been deleted; try again",
    )
    hub.disguises.clear()
    assert fetch(reference).source_sha256 == digest


def test_one_bar_where_huggingface_hub_draws_two(capfd):
    heard = Heard()
    with XetDownloadProgressReporter(
        reconstruction_desc="x4.pth: reconstructing",
        transfer_desc="x4.pth: downloading",
        total=1000,
        log_level=logging.WARNING,
        tqdm_class=reporting_to(heard),
    ) as reporter:
        for done in (400, 1000):
            report = SimpleNamespace(
                total_bytes_completed=done,
                total_transfer_bytes_completed=done // 2,
                total_bytes_completion_rate=1.0,
                total_transfer_bytes_completion_rate=1.0,
                total_bytes=1000,
            )
            reporter.update_progress(report)
    assert heard.told[0] == ("progressed", 0, 1000)
    assert heard.told[-1] == ("progressed", 1000, 1000)
    assert {total for _, _, total in heard.told} == {1000}
    assert capfd.readouterr() == ("", "")


def test_a_cut_download_goes_on_where_it_ended(hub: Hub, published):
    hub.add("me/weights", {"x4.pth": published})
    hub.cuts = [70_000, 200_000]
    heard = Heard()
    fetch(HubReference("me/weights", "x4.pth"), heard)
    digest = hashlib.sha256(published).hexdigest()
    ranges = [ask.headers.get("Range") for ask in hub.asked("GET", digest)]
    assert ranges == [None, f"bytes={2**16}-", f"bytes={3 * 2**16}-"]
    assert [told[0] for told in heard.told].count("troubled") == 2
    assert ("progressed", len(published), len(published)) in heard.told


def test_a_stalled_download_ends_with_a_message(hub: Hub, published, monkeypatch, capfd):
    monkeypatch.setattr(constants, "HF_HUB_DOWNLOAD_TIMEOUT", 0.1)
    hub.add("me/weights", {"x4.pth": published})
    hub.stalls = True
    heard = Heard()
    message, hint = refused(HubReference("me/weights", "x4.pth"), listener=heard)
    assert message == f"cannot reach {hub.endpoint}: no answer in time"
    assert "HF_ENDPOINT" in hint
    assert [told[0] for told in heard.told].count("troubled") == 6
    assert heard.told[-1] == ("finished",)
    assert capfd.readouterr().err == ""


def test_a_hub_that_does_not_answer(hub: Hub, published, monkeypatch):
    hub.add("me/weights", {"x4.pth": published})
    hub.deaf = True
    monkeypatch.setattr(constants, "HF_HUB_ETAG_TIMEOUT", 0.1)
    message, _ = refused(HubReference("me/weights", "x4.pth"))
    assert message == f"cannot reach {hub.endpoint}: no answer in time"
    assert len(hub.requests) == 1


@pytest.mark.usefixtures("hub")
def test_a_hub_that_is_not_there(monkeypatch):
    address = "http://127.0.0.1:1/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", address)
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:1")
    message, hint = refused(find(LIGHT))
    assert message == "cannot reach http://127.0.0.1:1: Connection refused"
    assert "--weights FILE" in hint


@pytest.mark.parametrize("file", ["x4.pth", "x4.safetensors"])
def test_offline_takes_what_huggingface_hub_keeps(hub: Hub, published, tiny, monkeypatch, file):
    content = published if file.endswith("pth") else save(tiny)
    repository = hub.add("me/weights", {file: content})
    reference = HubReference("me/weights", file)
    cache.remove(fetch(reference))
    hub.requests.clear()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    pin = fetch(reference)
    assert pin.revision == repository.commit
    assert pin.source_sha256 == hashlib.sha256(content).hexdigest()
    assert hub.requests == []


def test_offline_finds_a_renamed_file_among_what_is_kept(hub: Hub, entry, published, monkeypatch):
    renamed = f"{FOLDER}/light_x4_final.pth"
    hub.add(REPO, {renamed: published, f"{FOLDER}/classic_x4.pth": published})
    for name in (renamed, f"{FOLDER}/classic_x4.pth"):
        hf_hub_download(REPO, name)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert fetch(entry).file == renamed


def test_offline_with_nothing_kept(hub: Hub, entry, published, monkeypatch):
    hub.add(REPO, {FILE: published})
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert refused(entry) == (
        f"{FILE} from {REPO} is not on this machine, and HF_HUB_OFFLINE is set",
        "unset HF_HUB_OFFLINE, or give a file with --weights FILE",
    )
    assert hub.requests == []


class Hostile:
    def __reduce__(self):
        return os.system, ("touch /tmp/owned",)


def test_a_pickle_that_wants_to_run_code(hub: Hub):
    hub.add("me/weights", {"x4.pth": pickle.dumps({"params": Hostile()})})
    message, _ = refused(HubReference("me/weights", "x4.pth"))
    assert "x4.pth was refused: it wants to run" in message
    assert "system" in message


def test_a_safetensors_file_with_a_lying_header(hub: Hub, tiny):
    content = save(tiny)
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    header["conv_first.weight"]["data_offsets"][1] += 4 * 10**9
    lying = json.dumps(header).encode()
    hub.add("me/weights", {"x4.safetensors": len(lying).to_bytes(8, "little") + lying + content})
    message, _ = refused(HubReference("me/weights", "x4.safetensors"))
    assert "x4.safetensors is damaged or was cut short" in message


def test_metadata_that_contradicts_the_tensors(hub: Hub, tiny):
    config = {"network": "MambaIR", "upscale": 2, "embed_dim": 40}
    content = save(tiny, {"mambair.config": json.dumps(config)})
    hub.add("me/weights", {"x4.safetensors": content})
    message, _ = refused(HubReference("me/weights", "x4.safetensors"))
    assert "its metadata contradicts its tensors: upscale 2 instead of 4" in message


def test_another_network_than_the_catalogue_says(hub: Hub, published):
    hub.add(REPO, {FILE: published})
    message, _ = refused(find(LIGHT))
    assert message.startswith(f"{FILE} from {REPO} holds another network than {LIGHT}: ")
    assert "embed_dim=40" in message


def test_version_1_where_version_2_is_expected(hub: Hub, published):
    wanted = find("mambairv2-light-sr-x4")
    hub.add(REPO, {wanted.files[0]: published})
    message, _ = refused(wanted)
    assert message.startswith(
        f"{wanted.files[0]} from {REPO} holds another network than {wanted.id}: MambaIRConfig("
    )
    assert "instead of MambaIRv2Config(" in message


def test_another_file_than_the_one_whose_digest_is_known(hub: Hub, entry, published):
    hub.add(REPO, {FILE: published})
    known = hashlib.sha256(published).hexdigest()
    message, hint = refused(replace(entry, sha256="0" * 64))
    assert message == (
        f"{FILE} from {REPO} is not the file that is known as {LIGHT}: "
        f"its sha256 is {known}, that of the known one {'0' * 64}"
    )
    assert hint.endswith(f"--weights hf://{REPO}/{FILE}")
    pinned = replace(entry, sha256=known)
    assert fetch(pinned).source_sha256 == known


def test_a_converted_file_is_known_by_the_digest_of_its_original(
    hub: Hub, entry, published, monkeypatch
):
    hub.add(REPO, {FILE: published})
    path = fetch(entry).path
    for digest, expected in ((hashlib.sha256(published).hexdigest(), LIGHT), ("0" * 64, None)):
        row = replace(entry, sha256=digest)
        monkeypatch.setattr(catalogue, "entries", lambda row=row: (row,))
        known = inspect_checkpoint(path).known
        assert (known.id if known else None) == expected


def test_no_room_is_noticed_before_the_download(hub: Hub, published, monkeypatch):
    hub.add("me/weights", {"x4.pth": published})
    free = type("Usage", (), {"free": 1000})
    monkeypatch.setattr("mambair_cli.checkpoints.hub.repository.shutil.disk_usage", lambda _: free)
    assert refused(HubReference("me/weights", "x4.pth")) == (
        (
            f"there is no room in {constants.HF_HUB_CACHE} for x4.pth, which takes "
            f"{len(published) / 1e6:.1f} MB"
        ),
        "make room there, or set HF_HOME to another folder",
    )
    assert hub.asked("GET", "/") == []


def test_a_disk_that_fills_up_during_the_download(hub: Hub, published, monkeypatch):
    hub.add("me/weights", {"x4.pth": published})
    write = file_download.http_get

    def full(_url, temp_file, **_options):
        temp_file.write(published[:1000])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(file_download, "http_get", full)
    message, _ = refused(HubReference("me/weights", "x4.pth"))
    assert message == f"there is no room in {constants.HF_HUB_CACHE} for x4.pth"
    monkeypatch.setattr(file_download, "http_get", write)
    fetch(HubReference("me/weights", "x4.pth"))


def test_a_disk_that_fills_up_during_the_conversion(hub: Hub, published, monkeypatch):
    hub.add("me/weights", {"x4.pth": published})

    def full(_path, _content):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(convert, "write_whole", full)
    message, hint = refused(HubReference("me/weights", "x4.pth"), OutputError)
    assert message == (
        f"{cache.home()}/hub/me/weights/x4.pth.safetensors cannot be written: "
        "No space left on device"
    )
    assert hint == "check that its folder exists and is writable"


def test_a_folder_that_cannot_be_written(hub: Hub, published, monkeypatch, tmp_path):
    hub.add("me/weights", {"x4.pth": published})
    (tmp_path / "file").touch()
    monkeypatch.setenv("MAMBAIR_HOME", str(tmp_path / "file"))
    with pytest.raises(OutputError) as caught:
        fetch(HubReference("me/weights", "x4.pth"))
    assert caught.value.message.startswith(f"{tmp_path / 'file'} cannot be written: ")


@pytest.mark.parametrize(
    "text",
    [
        "hf://",
        "hf://me",
        "hf://me/weights//",
        "hf://me/weights@",
        "hf://datasets/me",
        "hf://datasets/me/images/x.pth",
        "hf://me/weights@/x.pth",
        "hf://me/weights/../x.pth",
        "hf://../../x.pth",
        "hf://me/weights//x.pth",
        "hf://me/weights/a\\..\\x.pth",
        "hf://o/--help/x",
        "hf://-o/r/x",
        "hf://o/a..b/x",
        "hf://o/r.git/x",
        "hf://ö/r/x",
        f"hf://o/{'r' * 97}/x",
    ],
)
def test_references_that_are_none(text):
    with pytest.raises(UsageError):
        resolve(text)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("hf://me/weights/a/x.pth", ("me/weights", "a/x.pth", None)),
        ("hf://me/weights@v1.0/x.pth", ("me/weights", "x.pth", "v1.0")),
        ("hf://me/weights@refs/pr/3/x.pth", ("me/weights", "x.pth", "refs/pr/3")),
        ("hf://me/weights@a%2Fb/x.pth", ("me/weights", "x.pth", "a/b")),
        ("hf://me/weights", ("me/weights", "", None)),
        ("hf://me/weights@a%2Fb", ("me/weights", "", "a/b")),
    ],
)
def test_references_are_read_and_written(text, parts):
    reference = HubReference.parse(text)
    assert (reference.repo, reference.path, reference.revision) == parts
    assert str(reference) == text


def test_resolve_takes_a_file(saved, state, monkeypatch):
    path = saved(state)
    assert resolve(str(path)) == path
    monkeypatch.chdir(path.parent)
    assert resolve("weights.pth") == Path("weights.pth")
    monkeypatch.setenv("HOME", str(path.parent))
    assert resolve("~/weights.pth") == path


def test_resolve_takes_a_bundled_model(tmp_path, monkeypatch):
    monkeypatch.setattr(catalogue, "bundled_directory", lambda: tmp_path)
    path = tmp_path / "mambair-tiny-sr-x4.safetensors"
    with pytest.raises(CheckpointError) as caught:
        resolve("mambair-tiny-sr-x4")
    assert caught.value.message == f"the bundled weights {path} are missing"
    path.touch()
    assert resolve("mambair-tiny-sr-x4") == path


def test_resolve_names_what_is_unknown(tmp_path):
    with pytest.raises(UsageError, match="unknown model 'mambair-tiny-sr-x8'"):
        resolve("mambair-tiny-sr-x8")
    too_long = "a" * 300
    with pytest.raises(UsageError, match=f"unknown model '{too_long}'"):
        resolve(too_long)
    paths = ("no.pth", "no", "no/no.pth", f"{too_long}.pth")
    for missing in ("no such.safetensors", *(str(tmp_path / path) for path in paths)):
        with pytest.raises(CheckpointError, match="no such weights file"):
            resolve(missing)


def test_a_download_that_is_always_cut_ends(hub: Hub, published):
    hub.add("me/weights", {"x4.pth": published})
    hub.cuts, hub.ranges = [2**17] * 100, False
    message, hint = refused(HubReference("me/weights", "x4.pth"))
    assert message == (
        "x4.pth cannot be fetched from me/weights: the connection broke off 40 times"
    )
    assert "--weights FILE" in hint
    assert len(hub.asked("GET", hashlib.sha256(published).hexdigest())) == 40


@pytest.mark.parametrize("path", ["../../../../../{name}", "{folder}/{name}", "..", "a/b"])
def test_a_digest_that_is_a_path_leads_nowhere(hub: Hub, published, tmp_path, path):
    victim = tmp_path / "victim.txt"
    victim.write_text("mine")
    hub.add("me/weights", {"x4.pth": published})
    digest = hashlib.sha256(published).hexdigest()
    hub.stated = [digest, path.format(folder=tmp_path, name=victim.name)]
    assert fetch(HubReference("me/weights", "x4.pth")).source_sha256 == digest
    blobs = Path(constants.HF_HUB_CACHE).rglob("blobs/*")
    assert [blob.name for blob in blobs] == [git_blob(published)]
    assert victim.read_text() == "mine"
    assert {place.name for place in tmp_path.iterdir()} <= {"victim.txt", "home", "hf"}


def test_a_commit_that_is_a_path_is_none(hub: Hub, published, monkeypatch):
    hub.add("me/weights", {"x4.pth": published})
    monkeypatch.setattr(Repository, "commit", "../../../../victim")
    message, _ = refused(HubReference("me/weights", "x4.pth"))
    assert message == f"{hub.endpoint} does not answer like a Hugging Face Hub"


def test_what_lies_outside_the_cache_is_not_deleted(hub: Hub, published, tmp_path):
    repository = hub.add("me/weights", {"x4.pth": published})
    reference = HubReference("me/weights", "x4.pth")
    mine = tmp_path / "mine.pth"
    mine.write_bytes(b"mine")
    kept = Path(hf_hub_download("me/weights", "x4.pth"))
    kept.unlink()
    kept.symlink_to(mine)
    with pytest.raises(CheckpointError, match="not what the Hub says"):
        fetch(reference)
    assert mine.read_bytes() == b"mine"
    assert not kept.is_symlink()
    assert fetch(reference).revision == repository.commit


@pytest.mark.parametrize(
    "address",
    ["", "not a url", "file:///etc", "http://", "http://[::1", "ftp://a", "http://me:p/w@host"],
)
def test_an_endpoint_that_is_none(monkeypatch, address):
    monkeypatch.setenv("HF_ENDPOINT", address)
    with pytest.raises(CheckpointError) as caught:
        fetch(HubReference("me/weights", "x4.pth"))
    shown = address.replace("http://me:p/w", "***")
    assert caught.value.message == f"HF_ENDPOINT={shown} is no address of a Hub"


@pytest.mark.usefixtures("hub")
def test_passwords_of_endpoints_and_proxies_are_masked(monkeypatch):
    address = "http://me:pa@ss@127.0.0.1:1"
    template = address + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "ENDPOINT", address)
    message, _ = refused(find(LIGHT))
    assert message == "cannot reach http://***@127.0.0.1:1: Connection refused"


@pytest.mark.usefixtures("hub")
@pytest.mark.parametrize("proxy", ["http://me:secret/x@host", "ftp://me:secret@127.0.0.1"])
def test_a_proxy_that_is_none(monkeypatch, proxy):
    close_session()
    monkeypatch.setenv("ALL_PROXY", proxy)
    monkeypatch.delenv("NO_PROXY", raising=False)
    with pytest.raises(CheckpointError) as caught:
        fetch(find(LIGHT))
    close_session()
    hint = caught.value.hint
    assert "secret" not in "".join(traceback.format_exception(caught.value)).replace("[secure]", "")
    assert "proxy" in hint or "PROXY" in hint


@pytest.mark.parametrize("file", ["x4.pth", "x4.safetensors"])
def test_fetched_weights_that_changed_are_not_used(hub: Hub, published, tiny, file):
    content = published if file.endswith("pth") else save(tiny)
    hub.add("me/weights", {file: content})
    reference = HubReference("me/weights", file)
    path = fetch(reference).path
    assert fetch(reference).path == path
    altered = bytearray(path.read_bytes())
    altered[len(altered) // 2 :][:8] = bytes(8)
    altered[-8:] = bytes(8)
    path.write_bytes(altered)
    with pytest.raises(CheckpointError) as caught:
        resolve(str(reference))
    assert caught.value.message == f"{reference} is not what was fetched: {path} has changed"
    assert caught.value.hint == f"fetch it again: mambair models pull --force {reference}"


def test_nothing_stands_in_for_weights_that_changed(hub: Hub, choice, published):
    hub.add(REPO, {FILE: published})
    path, _ = obtain(choice)
    assert path.parent != catalogue.bundled_directory()  # no test may touch those
    path.write_bytes(bytes(path.stat().st_size))
    with pytest.raises(CheckpointError, match="is not what was fetched"):
        obtain(choice)


@pytest.mark.parametrize("value", [5, None, "../../../../../victim", "a\0b", "hf://o/r/other.pth"])
def test_a_record_under_another_name_is_none(hub: Hub, published, value):
    hub.add("me/weights", {"x4.pth": published})
    record = cache.record_of(fetch(HubReference("me/weights", "x4.pth")).name)
    record.write_text(json.dumps({**json.loads(record.read_text()), "name": value}))
    assert cache.pins() == []
