"""What of folders is left out, and of which kind it is, as people are told."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from mambair_cli.batches.naming import OWN_PREFIX
from mambair_cli.batches.notices import FOLLOWED, LEFT_OUT, Notice, Told, by_kind
from mambair_cli.batches.urls import Place
from mambair_cli.imaging.formats import format_of_content

HIDDEN, LEADS_BACK = "hidden", "links that lead back"
BROKEN_LINK, CAMERA_RAW, VIDEO = "broken links", "camera raw", "videos"
RESULT, NO_IMAGE = "results of earlier runs", "not images"
# Images that are taken where they are named.
OTHER_NAME = "images under other suffixes"
LINKED_FOLDER = "linked folders"
_KINDS_NAMED = 8
_LABELS = {FOLLOWED: "followed", LEFT_OUT: "left out"}
_SINGULAR = {
    LEADS_BACK: "link that leads back",
    BROKEN_LINK: "broken link",
    VIDEO: "video",
    RESULT: "result of an earlier run",
    NO_IMAGE: "not an image",
    OTHER_NAME: "image under another suffix",
    LINKED_FOLDER: "linked folder",
}

# What systems leave in folders of photographs.
_LITTER = {".ds_store", "thumbs.db", "desktop.ini", ".nomedia", ".picasa.ini", "@eadir", "__macosx"}
_CAMERA_RAW = re.compile(
    r"\.(3fr|ari|arw|cap|cr2|cr3|crw|dcr|dng|eip|erf|fff|gpr|iiq|k25|kdc|mef|mos|mrw|nef"
    r"|nrw|orf|pef|raf|raw|rw2|rwl|sr2|srf|srw|x3f)"
)
_VIDEOS = re.compile(r"\.(3gp|avi|insv|m2ts|m4v|mkv|mov|mp4|mpeg|mpg|mts|webm|wmv)")
# Images that are not read; each is named by its suffix.
_IMAGES = re.compile(
    r"\.(ai|bpg|cdr|cur|dcm|dds|dib|djvu|emf|eps|exr|fit|fits|flif|hdr|icns|ico|j2c|j2k"
    r"|jls|jng|jp2|jpc|jpf|jpm|jpx|jxr|kra|miff|mng|nii|ora|pam|pbm|pcx|pfm|pgm|pnm"
    r"|ppm|psb|psd|qoi|ras|sgi|svg|svgz|tga|wbmp|wdp|wmf|xbm|xcf|xpm)"
)


def is_litter(place: Place) -> bool:
    """Whether nobody would miss a file or folder: the system's own, and ours."""
    return place.name.lower() in _LITTER or place.name.startswith(OWN_PREFIX)


def kind_of(place: Place) -> str:
    """Say of what kind a visible file is whose suffix is none of those that are read."""
    if isinstance(place, Path) and not place.is_file():
        return BROKEN_LINK if place.is_symlink() else NO_IMAGE
    suffix = place.suffix.lower()
    if _CAMERA_RAW.fullmatch(suffix):
        return CAMERA_RAW
    if _VIDEOS.fullmatch(suffix):
        return VIDEO
    if _IMAGES.fullmatch(suffix):
        return suffix
    named_otherwise = isinstance(place, Path) and format_of_content(place) is not None
    return OTHER_NAME if named_otherwise else NO_IMAGE


def lines(notices: Iterable[Notice]) -> list[str]:
    """Say in a line each which links were followed, and what was left out."""
    kinds = by_kind(notices)
    found = {kind: [told for told in kinds if told.first.kind == kind] for kind in _LABELS}
    return [f"{_LABELS[kind]}: {_listing(some)}" for kind, some in found.items() if some]


def _listing(kinds: Iterable[Told]) -> str:
    """Say how many files there are of each kind, the most first."""
    ordered = sorted(kinds, key=lambda told: -len(told.files))
    parts = []
    for told in ordered[:_KINDS_NAMED]:
        count, text = len(told.files), told.first.text
        if count == 1 and text.startswith("."):  # which its name says too
            parts.append(told.names(1))
        else:
            what = _SINGULAR.get(text, text) if count == 1 else text
            parts.append(f"{count} {what} ({told.names(1)})")
    if rest := ordered[_KINDS_NAMED:]:
        parts.append(f"{sum(len(told.files) for told in rest)} of other kinds")
    return ", ".join(parts)
