"""A model of the parent in forked workers, as DataLoader and web servers have them; 0 if right."""

from __future__ import annotations

import multiprocessing
import sys

import numpy as np
import torch

import mambair_cli as mambair

image = np.random.default_rng(0).integers(0, 256, (20, 24, 3), np.uint8)
model = mambair.load_model("mambair-tiny-sr-x2", device="cpu", scan=sys.argv[1])
right = mambair.restore(image, model)


def work() -> None:
    assert np.array_equal(mambair.restore(image, model), right)


class Pictures(torch.utils.data.Dataset):  # type: ignore[type-arg]
    def __len__(self) -> int:
        return 2

    def __getitem__(self, index: int) -> object:
        return mambair.restore(image, model)


process = multiprocessing.get_context("fork").Process(target=work)
process.start()
process.join(100)
process.kill()
loaded = torch.utils.data.DataLoader(
    Pictures(), num_workers=1, multiprocessing_context="fork", timeout=100
)
same = all(np.array_equal(batch[0], right) for batch in loaded)
sys.exit(process.exitcode or not same)
