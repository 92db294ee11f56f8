"""How a scan on a GPU is divided: channels into programs, tokens into chunks.

A sequence is cut into chunks so that one small image fills a large GPU. A first pass over the
chunks finds what each one does to the state, a second one makes the outputs. A batch that fills it
is not cut: the first pass is left out.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, lru_cache

import torch


@dataclass(frozen=True)
class Program:
    """A shape of programs.

    Attributes:
        channels: Of a lane. Two share what is loaded for a token.
        warps: Of a program. Several find what is loaded in the first-level cache.
        work: Instructions for a channel, of those that lanes with two take.
    """

    channels: int
    warps: int
    work: float = 1

    def block(self, lanes: int) -> int:
        """Count the channels of a program on warps of so many lanes."""
        return self.channels * self.warps * lanes


# The best first where as many lanes are idle.
PROGRAMS = (Program(2, 4), Program(2, 2), Program(2, 1), Program(1, 1))
# For gradients, which store sums over a program's channels: several warps would have to meet for
# each, and so much is done for all channels that one alone takes 1.4 to 1.5 times its share.
ONE_WARP = (Program(2, 1), Program(1, 1, 1.4))
# A multiprocessor's registers, and those of a lane that are not for addresses.
REGISTERS, OF_A_LANE = 65536, 250
# Registers of a lane that leave four times three or four warps their room, by its channels. The
# compiler keeps to them without moving values to memory if it would take little more of its own.
LIMITS = {1: (128, 168), 2: (168,)}
LITTLE_MORE = 1.1
HELD_WITHOUT_LIMIT = 8
# A warp belongs to one of a multiprocessor's schedulers, so a pass lasts as long as the one that
# has most of them. Fewer warps than this leave it waiting. By count of instructions; no GPU has
# measured it.
SCHEDULERS = 4
BUSY_WARPS = 2
# What a token of the first pass costs, in units of the second, and what it costs a chunk to take in
# one before it, in tokens. By count of instructions.
FIRST_PASS = 0.85
EARLIER_CHUNK = 0.7
SHORTEST_CHUNK = 64
MOST_CHUNKS = 512
# What is so near to the least cost is as good.
AS_GOOD = 1.005


@dataclass(frozen=True)
class Processor:
    """What the work is divided for.

    Attributes:
        multiprocessors: Multiprocessors (compute units, Xe cores) of the device.
        lanes: Threads of a warp.
        limits_registers: Whether its compiler can be told how many registers to take: NVIDIA's.
    """

    multiprocessors: int
    lanes: int
    limits_registers: bool = False


@dataclass(frozen=True)
class Division:
    """How a scan is divided into programs.

    Attributes:
        block: Channels of a program.
        warps: Warps of a program.
        blocks: Blocks of channels.
        length: Tokens of a chunk, even.
        chunks: Chunks of a sequence; the last may be shorter, none is empty.
        registers: Most of a lane, or None where the compiler decides.
    """

    block: int
    warps: int
    blocks: int
    length: int
    chunks: int
    registers: int | None = None


@cache
def processor(device: torch.device) -> Processor:
    """Read what the division of work depends on from a device."""
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        # AMD's accelerators have warps of 64 lanes, its other GPUs of 32.
        usual = 64 if getattr(properties, "gcnArchName", "").startswith("gfx9") else 32
        lanes = getattr(properties, "warp_size", usual)
        nvidia = torch.version.hip is None
        return Processor(properties.multi_processor_count, lanes, limits_registers=nvidia)
    if device.type == "xpu":
        return Processor(torch.xpu.get_device_properties(device).max_compute_units, 32)
    return Processor(1, 32)


@lru_cache(maxsize=256)
def divide(
    sequences: int,
    tokens: int,
    channels: int,
    states: int,
    rank: int,
    processor: Processor,
    programs: tuple[Program, ...] = PROGRAMS,
) -> Division:
    """Divide a scan so that the device is full and the first pass still small.

    Args:
        sequences: Images times directions.
        tokens: Pixels of an image.
        channels: Inner channels.
        states: States of a channel.
        rank: Rank of the step projection.
        processor: The device.
        programs: Shapes to choose from, the best first.

    Returns:
        The division with the least predicted time, or the fewest chunks where it is as good.
    """
    lanes = processor.lanes
    needed = {each: _registers(each, states, rank) for each in LIMITS}
    shapes = [each for each in programs if each.channels == 1 or needed[2] <= OF_A_LANE]
    program = min(shapes, key=lambda shape: shape.work * _lanes(shape, channels, lanes))
    limits = LIMITS[program.channels]
    limit = next((n for n in limits if needed[program.channels] <= LITTLE_MORE * n), None)
    held = HELD_WITHOUT_LIMIT if limit is None else REGISTERS // (limit * 32) // 4 * 4
    costs: dict[Division, float] = {}
    for wanted in range(1, min(MOST_CHUNKS, max(1, tokens // SHORTEST_CHUNK)) + 1):
        length = -(-tokens // wanted)
        division = Division(
            program.block(lanes),
            program.warps,
            _blocks(program, channels, lanes),
            length + length % 2,
            -(-tokens // (length + length % 2)),
            limit if processor.limits_registers else None,
        )
        count = sequences * division.blocks
        costs[division] = _cost(division, held, count, processor.multiprocessors)
    enough = AS_GOOD * min(costs.values())
    return next(division for division, cost in costs.items() if cost <= enough)


def _blocks(program: Program, channels: int, lanes: int) -> int:
    return -(-channels // program.block(lanes))


def _lanes(program: Program, channels: int, lanes: int) -> int:
    """Count the channels that all programs could take, idle ones included."""
    return _blocks(program, channels, lanes) * program.block(lanes)


def _registers(channels: int, states: int, rank: int) -> int:
    """Reckon what a lane holds; the compiler's figures are near.

    A, the state and the step projection of its channels, and two tokens as they are loaded, in
    powers of two: the one that is computed and the next.
    """
    token = 2 * _power_of_two(states) + _power_of_two(rank)
    return channels * (2 * states + rank) + 2 * token


def _power_of_two(count: int) -> int:
    return 1 << (count - 1).bit_length()


def _cost(division: Division, held: int, programs: int, multiprocessors: int) -> float:
    """Predict the time of both passes, in tokens of one warp that has a scheduler to itself.

    As many programs as there are registers for run at once, the rest in further waves. In the last
    wave, which may be the only one, the fullest multiprocessor decides.

    Args:
        division: With more chunks or fewer.
        held: Warps that a multiprocessor has registers for.
        programs: Programs for one chunk of all sequences.
        multiprocessors: Of the device.
    """
    together = held // division.warps

    def turns(count: int) -> int:
        """Count the warps that take turns on the busiest scheduler, with so many programs."""
        return max(BUSY_WARPS, -(-count * division.warps // SCHEDULERS)) if count else 0

    def waves(chunks: int) -> int:
        full, rest = divmod(programs * chunks, together * multiprocessors)
        return full * turns(together) + turns(-(-rest // multiprocessors))

    earlier = division.chunks - 1
    first = FIRST_PASS * waves(earlier) * division.length
    return first + waves(division.chunks) * (division.length + EARLIER_CHUNK * earlier)
