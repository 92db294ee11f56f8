"""Small files of a batch side by side on a CPU, each on a share of its threads."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from mambair_cli.networks.spec import NetworkConfig
from mambair_cli.restoration.device.compute import Compute
from mambair_cli.restoration.device.workers import workers_for
from mambair_cli.restoration.memory.available import available_main_memory
from mambair_cli.restoration.memory.footprint import bytes_per_pixel
from mambair_cli.restoration.memory.tile_size import fitting

# Pixels of all images of a file. Each is one tile, in which threads gain least and wait most.
SMALL_FILE = 256 * 256


@dataclass(frozen=True)
class Beside:
    """How the files of a batch share the threads of a CPU.

    Attributes:
        files: How many small ones are restored at a time. One that is larger has all threads, and
            none beside it.
        threads: How many there are.
    """

    files: int
    threads: int

    @classmethod
    def planned(
        cls, files: int, compute: Compute, network: NetworkConfig, max_memory: int | None
    ) -> Beside:
        """Choose how many files go side by side, so that all are done soonest and fit in memory.

        Args:
            files: How many there are.
            compute: Where they are restored.
            network: The largest that may restore them.
            max_memory: Bytes of main memory that the process stays below; None for what is free.
        """
        threads = torch.get_num_threads()
        if compute.device.type != "cpu":
            return cls(1, threads)
        per_pixel = bytes_per_pixel(network, compute.precision, compute.scan.name)
        most = fitting(SMALL_FILE, per_pixel, available_main_memory(max_memory))
        return cls(workers_for(min(files, most), threads), threads)

    @contextmanager
    def share(self, *, alone: bool) -> Iterator[None]:
        """Give PyTorch, in this thread, those that a file has: all, or a share of them."""
        if self.files == 1:
            yield
            return
        torch.set_num_threads(self.threads if alone else self.threads // self.files)
        try:
            yield
        finally:
            # What a thread sets is also what new ones begin with.
            torch.set_num_threads(self.threads)


ALONE = Beside(files=1, threads=1)
