"""How a scan on a GPU is divided: channels into programs, tokens into chunks.

A sequence is cut into chunks so that one small image fills a large GPU. A first pass over the
chunks finds what each one does to the state, a second one makes the outputs.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, lru_cache

import torch

# Channels of a lane and warps of a program, the best first where as many lanes are idle: two
# channels share what is loaded for a token, warps of a program find it in the first-level cache.
PROGRAMS = ((2, 4), (2, 2), (2, 1), (1, 1))
# Warps on one multiprocessor from which on the exponentials keep it busy. By count of instructions;
# no GPU has measured it.
BUSY_WARPS = 10
# What the first pass costs, in units of the second, and what it costs a chunk to take in one before
# it, in tokens. By count of instructions.
FIRST_PASS = 0.85
EARLIER_CHUNK = 0.7
SHORTEST_CHUNK = 64
MOST_CHUNKS = 128


@dataclass(frozen=True)
class Processor:
    """What the work is divided for.

    Attributes:
        multiprocessors: Multiprocessors (compute units, Xe cores) of the device.
        lanes: Threads of a warp.
    """

    multiprocessors: int
    lanes: int


@dataclass(frozen=True)
class Division:
    """How a scan is divided into programs.

    Attributes:
        block: Channels of a program.
        warps: Warps of a program.
        blocks: Blocks of channels.
        length: Tokens of a chunk, even.
        chunks: Chunks of a sequence; the last may be shorter, none is empty.
    """

    block: int
    warps: int
    blocks: int
    length: int
    chunks: int


@cache
def processor(device: torch.device) -> Processor:
    """Read what the division of work depends on from a device."""
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        return Processor(properties.multi_processor_count, getattr(properties, "warp_size", 32))
    if device.type == "xpu":
        return Processor(torch.xpu.get_device_properties(device).max_compute_units, 32)
    return Processor(1, 32)


@lru_cache(maxsize=256)
def divide(sequences: int, tokens: int, channels: int, processor: Processor) -> Division:
    """Divide a scan so that the device is full and the first pass still small.

    Args:
        sequences: Images times directions.
        tokens: Pixels of an image.
        channels: Inner channels.
        processor: The device.

    Returns:
        The division with the least predicted time.
    """
    sizes = [(each * warps * processor.lanes, warps) for each, warps in PROGRAMS]
    block, warps = min(sizes, key=lambda size: -(-channels // size[0]) * size[0])
    blocks = -(-channels // block)
    needed = BUSY_WARPS * processor.multiprocessors / (sequences * blocks * warps)

    def cost(chunks: int) -> float:
        passes = 1 + FIRST_PASS * (chunks - 1) / chunks
        earlier = EARLIER_CHUNK * (chunks - 1) / 2
        return (passes + earlier * chunks / tokens) * max(1.0, needed / chunks)

    most = min(MOST_CHUNKS, max(1, tokens // SHORTEST_CHUNK))
    chunks = min(range(1, most + 1), key=cost)
    length = -(-tokens // chunks)
    length += length % 2
    return Division(block, warps, blocks, length, -(-tokens // length))
