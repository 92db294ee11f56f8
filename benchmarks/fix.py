"""What `mambair fix` does about photographs harmed in known ways, and what it gains.

    python benchmarks/fix.py --data /data/Kodak24 /data/McMaster [--every 1] [--rivals 6]

Files are made of the middle of each picture (`photograph_ways.py`), read back and treated as the
command treats them. RGB PSNR against what the file was made of, result minus input; for enlarged
pictures minus the bicubic enlargement. Of each way: the mean, the worst picture, and what was done.
`--rivals N` and `--enlarging-rivals N` also measure, on every N-th picture, what single commands
and other orders would have gained (null where nothing was left to gain). `--pictures DIR` keeps the
pictures, harmed and fixed. `--pairs DIR` measures on real noise: pairs `*_real.JPG`, one shot, and
`*_mean.JPG`, the mean of many. `--rows FILE` keeps what was measured of each picture, and goes on
from there when it is run again. Writes `results/fix.json`, where tables not asked for stay.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import tempfile
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, replace
from fractions import Fraction
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


@dataclass(frozen=True)
class Row:
    """What became of one picture in one way: gains in dB over its file.

    Attributes:
        gain: By `fix`; 0 where the picture was left alone.
        done: What `fix` did.
        others: By other commands, where they were measured; infinite where nothing was left to
            gain.
    """

    gain: float
    done: str
    others: dict[str, float]


Rows = dict[str, Row]


def summed_up(rows: list[Row]) -> dict[str, object]:
    """Sum up one way, as it is written."""
    gains = [row.gain for row in rows]
    compared = [row.others for row in rows if row.others]
    told: dict[str, object] = {
        "mean": round(fmean(gains), 3),
        "worst": round(min(gains), 3),
        "losses": sum(gain < 0 for gain in gains),
        "pictures": len(gains),
        "done": dict(Counter(row.done for row in rows).most_common()),
    }
    if compared:
        others = {rival: [each[rival] for each in compared] for rival in compared[0]}
        means = {
            rival: round(fmean(each), 3) if math.isfinite(min(each)) else None
            for rival, each in others.items()
        }
        told["others"] = {"pictures": len(compared)} | means
    return told


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

        sizing = Sizing(None if request.scale is None else Fraction(request.scale))
        restorer = restorer_with(self._caches[request], RestoreOptions(tile=0), sizing)
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


@dataclass(frozen=True)
class Table:
    """Some ways to make files, and on some pictures what other commands make of them.

    Attributes:
        ways: How files are made.
        rivals: Other commands.
        every: On every so-manieth picture they are measured; 0: on none.
        pictures: Where to keep pictures.
        commands: What restores.
    """

    ways: dict[str, Way]
    rivals: dict[str, tuple[str, ...]]
    every: int
    pictures: Path | None
    commands: Commands

    def of(self, index: int, source: Path) -> Rows:
        """Make the files of one picture in all ways, and restore them."""
        picture = np.asarray(Image.open(source).convert("RGB"))
        return {
            name: self._row(name, way, picture, index, source) for name, way in self.ways.items()
        }

    def _row(self, name: str, way: Way, picture: Pixels, index: int, source: Path) -> Row:
        whole = middle(picture, (CROP[0] * min(way.scale, 2), CROP[1] * min(way.scale, 2)))
        with tempfile.TemporaryDirectory() as folder:
            made = way.write(whole, Path(folder, "made"), np.random.default_rng(index))
            image = read_image(made)
        truth, scale = way.seen(whole), way.scale if way.scale > 1 else None
        start = image.pixels if scale is None else imresize(image.pixels, scale)
        done: list[str] = []
        fixed = self.commands.run(Request("fix", scale), image, done.append)
        if self.pictures:
            _keep(self.pictures, f"{source.stem} {name}", start, fixed, truth)
        others = {}
        if self.every and index % self.every == 0:
            others = self._compared(image, start, truth, scale)
        return Row(gain(fixed, start, truth), ", then ".join(done), others)

    def _compared(
        self, image: RestorableImage, start: Pixels, truth: Pixels, scale: int | None
    ) -> dict[str, float]:
        gains = {}
        for rival, tasks in self.rivals.items():
            if "realsr" in tasks and scale != REALSR_SCALE:
                continue
            result = self.commands.in_turn(tasks, image, scale)
            if result is not None:
                gains[rival] = gain(result, start, truth)
        return gains


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
    parser.add_argument("--rows", type=Path, metavar="FILE")
    parser.add_argument("--output", type=Path, default=RESULT)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    commands = Commands()
    tables = {
        "same_size": Table(WAYS, RIVALS, arguments.rivals, arguments.pictures, commands),
        "enlarged": Table(
            ENLARGED, ENLARGING_RIVALS, arguments.enlarging_rivals, arguments.pictures, commands
        ),
    }
    before = json.loads(arguments.output.read_text()) if arguments.output.is_file() else {}
    about = before | {"commit": describe_commit(), "cpu": describe_cpu(), "crop": CROP}
    if arguments.pairs:
        about["real_noise"] = on_pairs(arguments.pairs, arguments.every)
        arguments.output.write_text(json.dumps(about, indent=1) + "\n")
    rows = kept(arguments.rows)
    for index, source in enumerate(mixed(arguments.data)[:: arguments.every]):
        label = f"{source.parent.name} {source.stem}"
        if label not in rows:
            rows[label] = {name: table.of(index, source) for name, table in tables.items()}
            keep(arguments.rows, label, rows[label])
            print(label, flush=True)
        content = about | {
            name: {
                way: summed_up([each[name][way] for each in rows.values()]) for way in table.ways
            }
            for name, table in tables.items()
        }
        arguments.output.write_text(json.dumps(content, indent=1) + "\n")


def mixed(folders: list[Path]) -> list[Path]:
    """List pictures of all sets in turn, so that a run that is ended early has seen each."""
    sets = [sorted(folder.glob("*.png")) for folder in folders]
    return [path for row in itertools.zip_longest(*sets) for path in row if path is not None]


def kept(file: Path | None) -> dict[str, dict[str, Rows]]:
    """Read what was measured before, by picture and table."""
    lines = file.read_text().splitlines() if file is not None and file.is_file() else []
    return {
        label: {
            name: {way: Row(**row) for way, row in ways.items()} for name, ways in tables.items()
        }
        for label, tables in map(json.loads, lines)
    }


def keep(file: Path | None, label: str, tables: dict[str, Rows]) -> None:
    """Append what was measured of a picture."""
    if file is not None:
        plain = {
            name: {way: asdict(row) for way, row in ways.items()} for name, ways in tables.items()
        }
        with file.open("a") as lines:
            lines.write(json.dumps([label, plain]) + "\n")


if __name__ == "__main__":
    main()
