"""What `mambair fix` does about photographs harmed in known ways, and what it gains.

    python benchmarks/fix.py --data /data/Kodak24 /data/McMaster [--every 1] [--rivals 6]

Files are made of the middle of each picture (`photograph_ways.py`), read back and treated as the
command treats them. RGB PSNR against what the file was made of, result minus input; for enlarged
pictures minus the bicubic enlargement. Of each way: the mean, the worst picture, and what was done.
`--rivals N` and `--enlarging-rivals N` also measure, on every N-th picture, what single commands
and other orders would have gained (null where nothing was left to gain). `--pictures DIR` keeps the
pictures, harmed and fixed. `--pairs DIR` measures on real noise: pairs `*_real.JPG`, one shot, and
`*_mean.JPG`, the mean of many. Writes `results/fix.json`, where tables that are not asked for stay.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import tempfile
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean

import numpy as np
import torch
from hardware import describe_commit, describe_cpu
from photograph_ways import ENLARGED, WAYS, Pixels, Way
from PIL import Image

from mambair_cli.batches.models import LocalWeights, ModelCache
from mambair_cli.batches.treatment.restorers import restorer_with
from mambair_cli.batches.treatment.steps import Finding
from mambair_cli.checkpoints.catalogue import bundled_directory
from mambair_cli.checkpoints.request import Request
from mambair_cli.errors import ImageError
from mambair_cli.evaluation.metrics import psnr
from mambair_cli.imaging.files import read_image
from mambair_cli.imaging.image import RestorableImage
from mambair_cli.pixels.resize import imresize
from mambair_cli.restoration.device.compute import Compute
from mambair_cli.restoration.plan import RestoreOptions
from mambair_cli.restoration.sizing import Sizing

RESULT = Path(__file__).parent / "results" / "fix.json"
# Height and width of what is taken of a picture: of those that are reduced at first, twice as much.
CROP = (168, 208)
PAIR_CROP = (256, 240)
# In the order of their commands; each is given what the one before it made.
RIVALS: dict[str, tuple[str, ...]] = {
    "dejpeg": ("dejpeg",),
    "denoise": ("denoise",),
    "denoise --real": ("denoise-real",),
    "dejpeg, denoise --real": ("dejpeg", "denoise-real"),
    "denoise --real, dejpeg": ("denoise-real", "dejpeg"),
}
ENLARGING_RIVALS: dict[str, tuple[str, ...]] = {
    "sr": ("sr",),
    "realsr": ("realsr",),
    "dejpeg, sr": ("dejpeg", "sr"),
    "dejpeg, denoise --real, sr": ("dejpeg", "denoise-real", "sr"),
}

REALSR_SCALE = 4


@dataclass
class Score:
    """Gains of one way, in dB, and what was done about its files."""

    gains: list[float]
    done: Counter[str]

    def told(self) -> dict[str, object]:
        """As it is written."""
        return {
            "mean": round(fmean(self.gains), 3),
            "worst": round(min(self.gains), 3),
            "pictures": len(self.gains),
            "done": dict(self.done.most_common()),
        }


class Commands:
    """What restores images as the commands do, by the bundled weights."""

    def __init__(self) -> None:
        self._compute = Compute.resolve("cpu", "fp32", "auto")
        self._caches: dict[Request, ModelCache] = {}

    def run(self, request: Request, image: RestorableImage, tell: Callable[[str], None]) -> Pixels:
        """Restore one image; tell what was done where the command says so."""
        if request not in self._caches:
            self._caches[request] = ModelCache(request, self._compute, _bundled)

        def note(each: str | Finding) -> None:
            if isinstance(each, Finding):
                tell(each.text.rpartition(": ")[2])

        restorer = restorer_with(self._caches[request], RestoreOptions(tile=0), Sizing())
        pixels: Pixels = restorer.image(image, lambda *_: None, note).pixels
        return pixels

    def in_turn(
        self, tasks: Iterable[str], image: RestorableImage, scale: int | None
    ) -> Pixels | None:
        """Restore one image by several commands; None where one of them refuses."""
        for task in tasks:
            request = Request(task, scale if task == "sr" else None, variant="tiny")  # type: ignore[arg-type]
            try:
                pixels = self.run(request, image, lambda _: None)
            except ImageError:
                return None
            image = RestorableImage(pixels, metadata=image.metadata)
        return image.pixels


def _bundled(request: Request) -> LocalWeights:
    return LocalWeights(bundled_directory() / str(request.choose("cpu").entry.bundled))


def middle(picture: Pixels, crop: tuple[int, int]) -> Pixels:
    """Cut out the middle, so that no block of an earlier compression is cut."""
    top, left = (
        (side - part) // 2 // 8 * 8 for side, part in zip(picture.shape, crop, strict=False)
    )
    return picture[top : top + crop[0], left : left + crop[1]]


class Table:
    """Scores of some ways, and on some pictures those of other commands.

    Args:
        ways: How files are made.
        rivals: Other commands.
        every: On every so-manieth picture they are measured; 0: on none.
        pictures: Where to keep pictures.
    """

    def __init__(
        self,
        ways: dict[str, Way],
        rivals: dict[str, tuple[str, ...]],
        every: int,
        pictures: Path | None,
    ) -> None:
        self._ways, self._rivals, self._every, self._pictures = ways, rivals, every, pictures
        self._commands = Commands()
        self._scores: dict[str, Score] = defaultdict(lambda: Score([], Counter()))
        self._others: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))

    def add(self, index: int, source: Path) -> None:
        """Make the files of one picture in all ways, and restore them."""
        picture = np.asarray(Image.open(source).convert("RGB"))
        for name, way in self._ways.items():
            whole = middle(picture, (CROP[0] * min(way.scale, 2), CROP[1] * min(way.scale, 2)))
            with tempfile.TemporaryDirectory() as folder:
                made = way.write(whole, Path(folder, "made"), np.random.default_rng(index))
                image = read_image(made)
            truth, scale = way.seen(whole), way.scale if way.scale > 1 else None
            start = image.pixels if scale is None else imresize(image.pixels, scale)
            done = self._scores[name].done
            fixed = self._commands.run(
                Request("fix", scale), image, lambda each, done=done: done.update([each])
            )
            self._scores[name].gains.append(gain(fixed, start, truth))
            if self._pictures:
                _keep(self._pictures, f"{source.stem} {name}", start, fixed, truth)
            if self._every and index % self._every == 0:
                self._compare(name, image, start, truth, scale)

    def _compare(
        self, name: str, image: RestorableImage, start: Pixels, truth: Pixels, scale: int | None
    ) -> None:
        for rival, tasks in self._rivals.items():
            if "realsr" in tasks and scale != REALSR_SCALE:
                continue
            result = self._commands.in_turn(tasks, image, scale)
            if result is not None:
                self._others[name][rival].append(gain(result, start, truth))

    def told(self) -> dict[str, dict[str, object]]:
        """As it is written."""
        rows = {name: score.told() for name, score in self._scores.items()}
        for name, others in self._others.items():
            means = {
                rival: round(fmean(gains), 3) if math.isfinite(min(gains)) else None
                for rival, gains in others.items()
            }
            rows[name]["others"] = {"pictures": max(map(len, others.values()))} | means
        return rows


def gain(result: Pixels, start: Pixels, truth: Pixels) -> float:
    """Return by how much a result is nearer to the truth than what it was made of, in dB."""
    if np.array_equal(result, start):
        return 0.0
    return psnr(result, truth) - psnr(start, truth)


def on_pairs(folder: Path, every: int) -> dict[str, object]:
    """Measure what becomes of real noise: of the middle of each picture the mean gain."""
    commands, gains = Commands(), defaultdict(list)
    tasks = {"dejpeg": "dejpeg", "denoise --real": "denoise-real", "fix": "fix"}
    files = sorted(folder.glob("*_real.JPG"))[::every]
    for file in files:
        whole = read_image(file)
        image = replace(whole, pixels=middle(whole.pixels, PAIR_CROP))
        mean = read_image(file.with_name(file.name.replace("_real", "_mean"))).pixels
        for name, task in tasks.items():
            result = commands.in_turn((task,), image, None)
            assert result is not None  # noqa: S101 - JPEG files tell their quality
            gains[name].append(gain(result, image.pixels, middle(mean, PAIR_CROP)))
    means = {name: round(fmean(each), 3) for name, each in gains.items()}
    worst = {name: round(min(each), 3) for name, each in gains.items()}
    return {"pairs": len(files), "crop": PAIR_CROP, "mean": means, "worst": worst}


def _keep(folder: Path, name: str, *pixels: Pixels) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.concatenate(pixels, axis=1)).save(folder / f"{name.replace(' ', '_')}.png")


def main() -> None:
    """Measure all ways on all pictures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, nargs="+", default=[], metavar="DIR")
    parser.add_argument("--pairs", type=Path, metavar="DIR")
    parser.add_argument("--every", type=int, default=1, help="take every so-manieth picture")
    parser.add_argument("--rivals", type=int, default=0, metavar="N")
    parser.add_argument("--enlarging-rivals", type=int, default=0, metavar="N")
    parser.add_argument("--pictures", type=Path, metavar="DIR")
    parser.add_argument("--output", type=Path, default=RESULT)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    sets = [sorted(folder.glob("*.png")) for folder in arguments.data]
    # In turn, so that a run that is ended early has seen all sets.
    mixed = [path for row in itertools.zip_longest(*sets) for path in row if path is not None]
    tables = {
        "same_size": Table(WAYS, RIVALS, arguments.rivals, arguments.pictures),
        "enlarged": Table(
            ENLARGED, ENLARGING_RIVALS, arguments.enlarging_rivals, arguments.pictures
        ),
    }
    before = json.loads(arguments.output.read_text()) if arguments.output.is_file() else {}
    about = before | {"commit": describe_commit(), "cpu": describe_cpu(), "crop": CROP}
    if arguments.pairs:
        about["real_noise"] = on_pairs(arguments.pairs, arguments.every)
        arguments.output.write_text(json.dumps(about, indent=1) + "\n")
    for index, source in enumerate(mixed[:: arguments.every]):
        for table in tables.values():
            table.add(index, source)
        content = about | {name: table.told() for name, table in tables.items()}
        arguments.output.write_text(json.dumps(content, indent=1) + "\n")
        print(f"{source.parent.name} {source.stem}", flush=True)
    for table in tables.values():
        for name, row in table.told().items():
            print(f"{name:44} mean {row['mean']:+.2f}  worst {row['worst']:+.2f}  {row['done']}")


if __name__ == "__main__":
    main()
