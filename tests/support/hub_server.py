"""A Hugging Face Hub on loopback: the protocol that huggingface_hub speaks, and its failures.

Like the Hub it has two origins: one answers for repositories, and redirects the content of files
to the other, a store that serves ranges.
"""

from __future__ import annotations

import functools
import hashlib
import json
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote

REPO = r"(?P<repo>(?:datasets/)?[\w.-]+/[\w.-]+)"


@dataclass
class Repository:
    """A model repository with one commit.

    Attributes:
        files: Path to content.
        reader: The only token that may read it; None for a public one.
        gated: Whether access has to be granted.
        revisions: Names of its commit.
    """

    files: dict[str, bytes]
    reader: str | None = None
    gated: bool = False
    revisions: tuple[str, ...] = ("main",)

    @property
    def commit(self) -> str:
        listed = sorted((path, digest_of(content)) for path, content in self.files.items())
        return hashlib.sha1(repr(listed).encode()).hexdigest()


@dataclass
class Request:
    """One request that a server got."""

    method: str
    path: str
    headers: Mapping[str, str]


@dataclass
class Hub:
    """What the servers know and do.

    Attributes:
        repositories: Name to repository.
        renamed: Old name of a repository to its new one.
        replies: Path of a request to status, headers and body that are sent instead.
        cuts: Bytes after which the next downloads end early, one each.
        stated: Digests that the next answers about files state instead of theirs, one each.
        ranges: Whether a part of a file can be asked for; all of it is sent otherwise.
        stalls: Whether downloads stop after their first bytes, without end.
        deaf: Whether no request is answered at all.
        disguises: Digest of a file to the content that is sent for it.
        large_files: Whether files are stored as Git LFS does; small ones are not.
        requests: What was asked, in order.
    """

    repositories: dict[str, Repository] = field(default_factory=dict)
    renamed: dict[str, str] = field(default_factory=dict)
    replies: dict[str, tuple[int, dict[str, str], bytes]] = field(default_factory=dict)
    cuts: list[int] = field(default_factory=list)
    stated: list[str] = field(default_factory=list)
    ranges: bool = True
    stalls: bool = False
    deaf: bool = False
    disguises: dict[str, bytes] = field(default_factory=dict)
    large_files: bool = True
    requests: list[Request] = field(default_factory=list)
    endpoint: str = ""
    store: str = ""
    released: threading.Event = field(default_factory=threading.Event)

    def add(self, name: str, files: Mapping[str, bytes], **options: Any) -> Repository:
        """Makes a repository."""
        self.repositories[name] = Repository(dict(files), **options)
        return self.repositories[name]

    def asked(self, method: str, part: str) -> list[Request]:
        """Requests by a method for paths with a part."""
        return [ask for ask in self.requests if ask.method == method and part in ask.path]

    def content(self, digest: str) -> bytes | None:
        """Content of a file by its digest."""
        for repository in self.repositories.values():
            for content in repository.files.values():
                if digest_of(content) == digest:
                    return self.disguises.get(digest, content)
        return None


class Handler(BaseHTTPRequestHandler):
    """What both origins share."""

    protocol_version = "HTTP/1.1"
    hub: Hub

    def log_message(self, *_: object) -> None:
        """Says nothing."""

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def do_PUT(self) -> None:
        self._answer()

    def _answer(self) -> None:
        path = unquote(self.path.partition("?")[0])
        if path == "/api/agent-harnesses":  # asked by huggingface_hub of its own accord, at times
            self.reply(404)
            return
        self.hub.requests.append(Request(self.command, path, dict(self.headers)))
        self.body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.hub.deaf:
            self.hub.released.wait()
            self.close_connection = True
        elif path in self.hub.replies:
            self.reply(*self.hub.replies[path])
        else:
            self.answer(path)

    def answer(self, path: str) -> None:
        raise NotImplementedError

    def reply(self, status: int, headers: Mapping[str, str] = {}, body: bytes = b"") -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def reply_json(self, value: object, status: int = 200) -> None:
        self.reply(status, {"Content-Type": "application/json"}, json.dumps(value).encode())

    def refuse(self, status: int, code: str, message: str = "", **headers: str) -> None:
        self.reply(
            status, {"X-Error-Code": code, "X-Error-Message": message or code, **headers}, b""
        )


class RepositoryHandler(Handler):
    """The origin that answers for repositories."""

    def answer(self, path: str) -> None:
        routes: dict[str, Callable[..., None]] = {
            rf"/{REPO}/resolve/(?P<revision>[^/]+|refs/pr/\d+)/(?P<file>.+)": self.resolve,
            rf"/api/models/{REPO}(?:/revision/(?P<revision>.+))?": self.model_info,
            rf"/api/models/{REPO}/tree/(?P<revision>.+)": self.tree,
            r"/api/repos/create": self.create,
            r"/api/validate-yaml": self.validate,
            rf"/api/models/{REPO}/preupload/(?P<revision>.+)": self.preupload,
            rf"/{REPO}\.git/info/lfs/objects/batch": self.batch,
            rf"/api/models/{REPO}/commit/(?P<revision>.+)": self.commit,
        }
        # The last that fits is the most special.
        for pattern, route in reversed(routes.items()):
            if found := re.fullmatch(pattern, path):
                route(**found.groupdict())
                return
        self.reply(404)

    def _repository(self, repo: str, revision: str | None) -> Repository | None:
        """A repository that may be read at a revision; otherwise None, and the refusal is sent."""
        given = self.headers.get("Authorization", "").removeprefix("Bearer ") or None
        if given == "expired":
            self.refuse(401, "", "Invalid credentials in Authorization header")
            return None
        repository = self.hub.repositories.get(repo)
        if repository is None or repository.reader not in {None, given}:
            self.refuse(401 if given is None else 404, "RepoNotFound", "Repository not found")
            return None
        if revision not in {None, repository.commit, *repository.revisions}:
            self.refuse(404, "RevisionNotFound", f"Invalid rev id: {revision}")
            return None
        return repository

    def resolve(self, repo: str, revision: str, file: str) -> None:
        if new := self.hub.renamed.get(repo):
            self.reply(307, {"Location": f"/{new}/resolve/{revision}/{file}"})
            return
        repository = self._repository(repo, revision)
        if repository is None:
            return
        stamp = {"X-Repo-Commit": repository.commit}
        if repository.gated:
            self.refuse(403, "GatedRepo", "Access is restricted", **stamp)
        elif file not in repository.files:
            self.refuse(404, "EntryNotFound", "Entry not found", **stamp)
        elif not self.hub.large_files:
            content = repository.files[file]
            self.reply(200, {**stamp, "ETag": f'"{git_blob(content)}"'}, content)
        else:
            content = repository.files[file]
            digest = digest_of(content)
            stated = self.hub.stated.pop(0) if self.hub.stated else digest
            linked = {"X-Linked-Etag": f'"{stated}"', "X-Linked-Size": str(len(content))}
            place = {"Location": f"{self.hub.store}/{digest}", "ETag": f'"{git_blob(content)}"'}
            self.reply(302, {**stamp, **linked, **place})

    def model_info(self, repo: str, revision: str | None) -> None:
        if repository := self._repository(repo, revision):
            siblings = [{"rfilename": path} for path in repository.files]
            known = {"id": repo, "modelId": repo, "sha": repository.commit, "tags": []}
            self.reply_json({**known, "private": False, "downloads": 0, "siblings": siblings})

    def tree(self, repo: str, revision: str) -> None:
        if repository := self._repository(repo, revision):
            self.reply_json(
                [
                    {
                        "type": "file",
                        "path": path,
                        "size": len(content),
                        "oid": git_blob(content),
                        "lfs": {
                            "oid": digest_of(content),
                            "size": len(content),
                            "pointerSize": 135,
                        },
                    }
                    for path, content in repository.files.items()
                ]
            )

    def create(self) -> None:
        asked = json.loads(self.body)
        name = f"{asked.get('organization') or 'me'}/{asked['name']}"
        status = 409 if name in self.hub.repositories else 200
        if status == 200:
            self.hub.add(name, {})
        self.reply_json({"url": f"{self.hub.endpoint}/{name}", "name": name}, status)

    def validate(self) -> None:
        self.reply_json({"errors": [], "warnings": []})

    def preupload(self, repo: str, revision: str) -> None:
        files = json.loads(self.body)["files"]
        modes = {True: "lfs", False: "regular"}
        self.reply_json(
            {
                "files": [
                    {
                        "path": file["path"],
                        "uploadMode": modes[file["path"].endswith(".safetensors")],
                        "shouldIgnore": False,
                    }
                    for file in files
                ]
            }
        )

    def batch(self, repo: str) -> None:
        objects = json.loads(self.body)["objects"]
        self.reply_json(
            {
                "transfer": "basic",
                "objects": [
                    {
                        **item,
                        "authenticated": True,
                        "actions": {"upload": {"href": f"{self.hub.store}/{repo}/{item['oid']}"}},
                    }
                    for item in objects
                ],
            }
        )

    def commit(self, repo: str, revision: str) -> None:
        import base64

        repository = self.hub.repositories[repo]
        for line in self.body.decode().splitlines():
            entry = json.loads(line)
            value = entry["value"]
            if entry["key"] == "file":
                repository.files[value["path"]] = base64.b64decode(value["content"])
            elif entry["key"] == "lfsFile":
                repository.files[value["path"]] = repository.files.pop(f"upload {value['oid']}")
        url = f"{self.hub.endpoint}/{repo}/commit/{repository.commit}"
        self.reply_json(
            {"success": True, "commitUrl": url, "commitOid": repository.commit, "hookOutput": ""}
        )


class StoreHandler(Handler):
    """The origin that holds the content of large files."""

    def answer(self, path: str) -> None:
        if self.command == "PUT":
            repo, _, digest = path[1:].rpartition("/")
            self.hub.repositories[repo].files[f"upload {digest}"] = self.body
            self.reply(200)
            return
        content = self.hub.content(path[1:])
        if content is None:
            self.reply(404)
            return
        start = 0
        found = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        if found and self.hub.ranges:
            start = int(found[1])
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(content) - start))
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.end_headers()
        end = self.hub.cuts.pop(0) if self.hub.cuts else len(content)
        if self.hub.stalls:
            self.wfile.write(content[start : start + 100])
            self.hub.released.wait()
            end = start
        self.wfile.write(content[start:end])
        self.close_connection = end < len(content)


@functools.cache
def digest_of(content: bytes) -> str:
    """The SHA-256 of a file."""
    return hashlib.sha256(content).hexdigest()


@functools.cache
def git_blob(content: bytes) -> str:
    """Git's object id of a file."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


@contextmanager
def serving() -> Iterator[Hub]:
    """Runs a Hub on two free ports of loopback."""
    hub = Hub()
    servers = []
    for kind in (RepositoryHandler, StoreHandler):
        server = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (kind,), {"hub": hub}))
        server.daemon_threads = True
        server.block_on_close = False
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        servers.append(server)
    hub.endpoint, hub.store = (f"http://127.0.0.1:{server.server_address[1]}" for server in servers)
    try:
        yield hub
    finally:
        hub.released.set()
        for server in servers:
            server.shutdown()
            server.server_close()
