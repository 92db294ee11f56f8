"""Where the Hub is asked, before huggingface_hub is imported: it fails at what is no address."""

from __future__ import annotations

import os
import re
from urllib.parse import urlsplit

from mambair_cli.errors import CheckpointError

VARIABLE = "HF_ENDPOINT"
SCHEMES = ("http", "https")


def require_address() -> None:
    """Check the address that takes the Hub's place.

    Raises:
        CheckpointError: `HF_ENDPOINT` is set to something else than the address of a web server.
    """
    address = os.environ.get(VARIABLE)
    if address is not None and not _is_address(address):
        shown = re.sub(r".*@", "***@", address)
        raise CheckpointError(
            f"{VARIABLE}={shown} is no address of a Hub",
            f"unset {VARIABLE}, or set it to a mirror such as https://huggingface.co",
        )


def _is_address(text: str) -> bool:
    try:
        parts = urlsplit(text)
        return parts.scheme in SCHEMES and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
