"""Parts of a batch: processes that know nothing of each other share its files."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from mambair_cli.batches.jobs import Job
from mambair_cli.batches.manifest import Shard


def in_shard(jobs: Sequence[Job], shard: Shard, output: Path | None) -> list[Job]:
    """Takes one part of the jobs.

    Every job is in exactly one of the N parts, which are about equally large. Only the place of
    its target decides, so that files which come or go do not move others to another part.

    Args:
        jobs: Those of the whole batch, the same in all processes.
        shard: Which part, I of N, from 1.
        output: The directory of the results, which may be another for each process; None for
            beside the inputs, which have to be named the same way in all processes.
    """
    index, count = shard
    return [job for job in jobs if _part(job.target, count, output) == index]


def _part(target: Path, count: int, output: Path | None) -> int:
    place = target if output is None else target.relative_to(output)
    digest = hashlib.blake2b(place.as_posix().encode("utf-8", "surrogatepass"), digest_size=8)
    return int.from_bytes(digest.digest(), "big") % count + 1
