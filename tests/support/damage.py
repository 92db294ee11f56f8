"""Damage to files, from a seed: what disks, networks, bad software and attackers do to them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

Damage = Callable[[bytes, np.random.Generator], bytes]

# Numbers that a header may lie with: none, one less than a power, the largest of each type.
LIES = (0, 1, 2, 127, 255, 256, 32767, 65535, 65536, 2**24, 2**30, 2**31 - 1, 2**31, 2**32 - 1)


def flip_bits(content: bytes, generator: np.random.Generator) -> bytes:
    """Flips one to eight bits anywhere."""
    changed = bytearray(content)
    for place in generator.integers(len(changed), size=generator.integers(1, 9)):
        changed[place] ^= 1 << int(generator.integers(8))
    return bytes(changed)


def flip_header(content: bytes, generator: np.random.Generator) -> bytes:
    """Flips one to four bits of the first 200 bytes."""
    head = flip_bits(content[:200], generator)
    return head + content[200:]


def truncate(content: bytes, generator: np.random.Generator) -> bytes:
    """Cuts the end off."""
    return content[: int(generator.integers(1, len(content)))]


def truncate_end(content: bytes, generator: np.random.Generator) -> bytes:
    """Cuts the last few bytes off."""
    return content[: -int(generator.integers(1, min(64, len(content))))]


def lie(content: bytes, generator: np.random.Generator) -> bytes:
    """Replaces two or four bytes near the beginning by a number, in either byte order."""
    size = int(generator.choice([2, 4]))
    place = int(generator.integers(min(len(content), 400) - size))
    value = int(generator.choice(LIES)) % 256**size
    order = "little" if generator.integers(2) else "big"
    return content[:place] + value.to_bytes(size, order) + content[place + size :]


def lie_anywhere(content: bytes, generator: np.random.Generator) -> bytes:
    """Replaces four bytes anywhere by a number: directories and tables stand at the end, too."""
    place = int(generator.integers(max(1, len(content) - 4)))
    value = int(generator.choice(LIES)) % 256**4
    order = "little" if generator.integers(2) else "big"
    return content[:place] + value.to_bytes(4, order) + content[place + 4 :]


def overwrite(content: bytes, generator: np.random.Generator) -> bytes:
    """Replaces a stretch by noise."""
    start, stop = _stretch(content, generator)
    return content[:start] + generator.bytes(stop - start) + content[stop:]


def erase(content: bytes, generator: np.random.Generator) -> bytes:
    """Replaces a stretch by zeros, as a disk does that was full."""
    start, stop = _stretch(content, generator)
    return content[:start] + bytes(stop - start) + content[stop:]


def remove(content: bytes, generator: np.random.Generator) -> bytes:
    """Leaves a stretch out."""
    start, stop = _stretch(content, generator)
    return content[:start] + content[stop:]


def repeat(content: bytes, generator: np.random.Generator) -> bytes:
    """Has a stretch twice."""
    start, stop = _stretch(content, generator)
    return content[:stop] + content[start:]


def swap(content: bytes, generator: np.random.Generator) -> bytes:
    """Swaps two neighbouring stretches."""
    one, two, three = sorted(int(place) for place in generator.integers(len(content) + 1, size=3))
    return content[:one] + content[two:three] + content[one:two] + content[three:]


def keep_signature(content: bytes, generator: np.random.Generator) -> bytes:
    """Leaves the first bytes and puts noise behind."""
    return content[:16] + generator.bytes(int(generator.integers(1, 300)))


DAMAGES: tuple[Damage, ...] = (
    *(flip_bits, flip_header, truncate, truncate_end, lie, lie_anywhere),
    *(overwrite, erase, remove, repeat, swap, keep_signature),
)


def damaged(contents: Sequence[bytes], count: int, seed: int) -> Iterator[tuple[int, str, bytes]]:
    """Damages contents in turn, each with each kind of damage in turn.

    Args:
        contents: What to damage.
        count: How many results.
        seed: Of the generator; the same results for the same seed.

    Yields:
        Which content, the kind of damage, the damaged content.
    """
    generator = np.random.default_rng(seed)
    for number in range(count):
        index = number % len(contents)
        kind = DAMAGES[(number // len(contents) + index) % len(DAMAGES)]
        yield index, kind.__name__, kind(contents[index], generator)


def _stretch(content: bytes, generator: np.random.Generator) -> tuple[int, int]:
    start = int(generator.integers(len(content)))
    return start, min(len(content), start + int(generator.integers(1, 200)))
