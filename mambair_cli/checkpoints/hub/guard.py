"""What the answers of a Hub may not do to this machine, whoever sends them."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import httpx2
from huggingface_hub import get_session

from mambair_cli.checkpoints.reference import HubFile
from mambair_cli.errors import CheckpointError

SHA256 = re.compile(r"[0-9a-f]{64}")
# Of commits, and of small files.
GIT_ID = re.compile(r"[0-9a-f]{40}")
# huggingface_hub takes the first of them that there is for the digest.
DIGEST_HEADERS = ("X-Linked-ETag", "ETag")
# Requests for one address in one download. Each may bring a part of the content. What it is was
# asked for just before; where that fails now, huggingface_hub would go on with another client.
MAX_TRIES = {"HEAD": 1, "GET": 40}


def is_digest(text: str) -> bool:
    """Tell whether a text is a digest as the Hub states them: SHA-256, or Git's object id."""
    return bool(SHA256.fullmatch(text) or GIT_ID.fullmatch(text))


@contextmanager
def guarded(file: HubFile) -> Iterator[None]:
    """Bound what huggingface_hub makes of the answers while it downloads a file.

    It asks again without end as long as any byte comes, and names files by the digest that the
    answer states, which may be a path that leads anywhere.

    Args:
        file: What is downloaded.

    Raises:
        CheckpointError: The connection broke off too often.
    """
    asked: Counter[tuple[str, httpx2.URL]] = Counter()

    def count(request: httpx2.Request) -> None:
        limit = MAX_TRIES.get(request.method, math.inf)
        asked[request.method, request.url] += 1
        if asked[request.method, request.url] > limit:
            times = f" {limit} times" if limit > 1 else ""
            raise CheckpointError(
                f"{file.path} cannot be fetched from {file.repo}: the connection broke off{times}",
                "something on the way cuts it: try again later or on another network, or give a "
                "file of your own with --weights FILE",
            )

    client = get_session()
    hooks = client.event_hooks
    client.event_hooks = {
        "request": [*hooks["request"], count],
        "response": [*hooks["response"], _drop_odd_digests],
    }
    try:
        yield
    finally:
        client.event_hooks = hooks


def _drop_odd_digests(response: httpx2.Response) -> None:
    for name in DIGEST_HEADERS:
        if not is_digest(response.headers.get(name, "").removeprefix("W/").strip('"')):
            response.headers.pop(name, None)
