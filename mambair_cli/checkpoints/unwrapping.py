"""Where in the content of a weights file its network is: under which key, behind which prefix."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

# Where trainers put the state dict, best first. Averaged weights, of any name, go before all.
WRAPPERS = (
    "params_ema",
    "params",
    "state_dict",
    "model_state_dict",
    "model",
    "network",
    "net",
    "net_g",
    "netG",
    "generator",
    "g",
    "weights",
    "model_dict",
)
_AVERAGED = re.compile(r"(^|[._-])(ema|swa|averaged?)([._-]|$)|^ema|ema$", re.IGNORECASE)
# What a trainer keeps beside the network: none of it is the network, whatever it holds.
_OTHER = re.compile(r"optim|sched|scaler|loss|callback|(^|_)d(_|$)|disc|teacher", re.IGNORECASE)
_DEEPEST = 7  # dictionaries in dictionaries; one may hold itself

# One key of each network, from which a prefix shows.
_ANCHORS = ("conv_first.weight", "patch_embed.proj.weight")
# Left in keys by PyTorch where a part of a network was compiled, recomputed or sharded.
_INSIDE = re.compile(r"(^|\.)(_orig_mod|_checkpoint_wrapped_module|_fsdp_wrapped_module)\.")
_PARALLEL = "module."
# Counters of tools, and constants that ports of the network keep among its weights.
_BOOKKEEPING = re.compile(
    r"(^|\.)(total_ops|total_params|n_averaged|step_counter|num_batches_tracked|attn_mask"
    r"|relative_position_index(?!_SA$)\w*)$|^mean$"
)


@dataclass(frozen=True)
class Unwrapped:
    """The state dict of a network.

    Attributes:
        tensors: Keys as the network has them, and their tensors.
        wrapper: Keys under which it was found, joined by dots; empty when at the top.
        notes: What was chosen among several, and what was left out, a phrase each.
    """

    tensors: dict[str, Tensor]
    wrapper: str = ""
    notes: tuple[str, ...] = ()


def unwrapped(content: object) -> Unwrapped:
    """Find a network's state dict in what a trainer saved.

    Args:
        content: Dictionaries in dictionaries, of anything.

    Returns:
        The state dict, without tensors where there is none.
    """
    path: list[str] = []
    notes: list[str] = []
    content = _as_mapping(content)
    while isinstance(content, Mapping) and len(path) < _DEEPEST:
        wrappers = _wrappers(content)
        if not wrappers:
            named = {k: v for k, v in content.items() if isinstance(k, str)}
            tensors = {k: v for k, v in named.items() if isinstance(v, Tensor)}
            found = plain(tensors)
            return Unwrapped(found.tensors, ".".join(path), (*notes, *found.notes))
        path.append(wrappers[0])
        if len(wrappers) > 1:
            notes.append(f"weights under {wrappers[0]} were taken, not {', '.join(wrappers[1:])}")
        content = content[wrappers[0]]
    return Unwrapped({})


def plain(tensors: Mapping[str, Tensor]) -> Unwrapped:
    """Strip what trainers and tools put around the keys of a state dict, and beside them."""
    named = {_INSIDE.sub(r"\1", key): tensor for key, tensor in tensors.items()}
    if len(named) < len(tensors):
        named = dict(tensors)
    while named and all(key.startswith(_PARALLEL) for key in named):
        named = {key.removeprefix(_PARALLEL): tensor for key, tensor in named.items()}
    notes = []
    prefixes = _prefixes(named)
    prefix = prefixes[0] if prefixes else ""
    if len(prefixes) > 1:
        notes.append(f"weights behind {prefix} were taken, not {', '.join(prefixes[1:])}")
    rest = [key for key in named if not key.startswith(tuple(prefixes or [""]))]
    own = {k.removeprefix(prefix): v for k, v in named.items() if k.startswith(prefix)}
    if prefixes:
        counted = [key for key in own if _BOOKKEEPING.search(key)]
        rest += counted
        own = {key: tensor for key, tensor in own.items() if key not in counted}
    if rest:
        more = f" and {len(rest) - 3} more" if len(rest) > 3 else ""
        notes.append(f"left out, as they are not the network's: {', '.join(rest[:3])}{more}")
    return Unwrapped(own, notes=tuple(notes))


def _as_mapping(content: object) -> object:
    """Read a list of pairs as the dictionary it was, a tuple as its first dictionary."""
    if not isinstance(content, Sequence) or isinstance(content, str | bytes):
        return content
    pairs = [item for item in content if isinstance(item, tuple) and len(item) == 2]
    if pairs and len(pairs) == len(content) and all(isinstance(k, str) for k, _ in pairs):
        return dict(pairs)
    return next((item for item in content if isinstance(item, Mapping)), content)


def _wrappers(content: Mapping[object, object]) -> list[str]:
    """Name the keys under which state dicts of the network may be, the best first."""
    mappings = ((k, v) for k, v in content.items() if isinstance(k, str) and isinstance(v, Mapping))
    inside = {key: value for key, value in mappings if not _OTHER.search(key)}
    full = [key for key, value in inside.items() if _holds_tensors(value)]
    named = [key for key in full if key in WRAPPERS or _AVERAGED.search(key)]
    if not named and len(full) == 1 and not any(isinstance(v, Tensor) for v in content.values()):
        named = full
    if not named:  # an error names what is in them
        return [key for key in WRAPPERS if key in inside][:1]
    places = {key: place for place, key in enumerate(WRAPPERS)}
    return sorted(named, key=lambda k: (not _AVERAGED.search(k), places.get(k, len(places))))


def _holds_tensors(content: Mapping[object, object]) -> bool:
    seen, waiting = {id(content)}, [content]
    while waiting:
        values = waiting.pop().values()
        if any(isinstance(value, Tensor) for value in values):
            return True
        inner = [v for v in values if isinstance(v, Mapping) and id(v) not in seen]
        seen.update(map(id, inner))
        waiting += inner
    return False


def _prefixes(keys: Mapping[str, Tensor]) -> list[str]:
    """Find what stands before the keys of each network in a state dict, averaged ones first."""
    return sorted(set(_before_anchors(keys)), key=lambda p: (not _AVERAGED.search(p), len(p), p))


def _before_anchors(keys: Mapping[str, Tensor]) -> Iterator[str]:
    for key in keys:
        for anchor in _ANCHORS:
            prefix = key.removesuffix(anchor)
            if prefix != key and (not prefix or prefix.endswith(".")):
                yield prefix
