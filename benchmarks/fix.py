"""What `mambair fix` does about photographs harmed in known ways, and what it gains.

    python benchmarks/fix.py --data /data/Kodak24 /data/McMaster [--rivals 6] [--peers 1 --bm3d 6]

Files are made of the middle of each picture (`photograph_ways.py`), read back and treated as the
command treats them. RGB PSNR against what the file was made of, result minus input; for enlarged
pictures minus the bicubic enlargement. Of each way: the mean, the worst picture, and what was done.
Of every N-th picture others are measured, too: `--rivals N` single commands and other orders
(null where nothing was left to gain), `--peers N` non-local means and Lanczos, `--bm3d N` BM3D
(`denoising_peers.py`). `--pictures DIR` keeps the pictures, harmed and fixed. `--pairs DIR`
measures on real noise: pairs `*_real.JPG`, one shot, and `*_mean.JPG`, the mean of many. `--gray`
makes gray files of gray pictures; then give `--output`, too.

`--rows FILE` keeps each figure as soon as it is there: run again, it goes on, and measures again
what other weights were behind. Several processes share the work: `--share 1/2` and `--share 2/2`
with one FILE, then without; `--kept` sums up what is there. Writes `results/fix.json`, where what
was not asked for stays.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import tempfile
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import torch
from denoising_peers import QUICK, SLOW
from hardware import describe_commit, describe_cpu
from photograph_ways import ENLARGED, NOISY, WAYS, Pixels, Way
from PIL import Image
from rows import Row, Rows, shared, weights_of

from mambair_cli.batches.models import LocalWeights, Model, ModelCache
from mambair_cli.batches.treatment.restorers import restorer_with
from mambair_cli.batches.treatment.steps import Finding, Step
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
FIX, WHOLE = "fix", "1/1"
TABLES = {"same_size": WAYS, "enlarged": ENLARGED}
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


class Noting(ModelCache):
    """Models, and which of them were asked for."""

    used: dict[str, str]

    def suited_to(self, step: Step) -> Model:
        """Note the weights."""
        model = super().suited_to(step)
        self.used[model.path.stem] = model.sha256
        return model


class Commands:
    """What restores images as the commands do, by the bundled weights.

    Attributes:
        used: Weights that were behind it since this was emptied, by name.
    """

    def __init__(self) -> None:
        self.used: dict[str, str] = {}
        self._compute = Compute.resolve("cpu", "fp32", "auto")
        self._caches: dict[Request, ModelCache] = {}

    def run(self, request: Request, image: RestorableImage, tell: Callable[[str], None]) -> Pixels:
        """Restore one image; tell what was done where the command says so."""
        if request not in self._caches:
            self._caches[request] = cache = Noting(request, self._compute, _bundled)
            cache.used = self.used

        def note(each: str | Finding) -> None:
            if isinstance(each, Finding):
                tell(each.text.rpartition(": ")[2])

        sizing = Sizing(None if request.scale is None else Fraction(request.scale))
        restorer = restorer_with(self._caches[request], RestoreOptions(), sizing)
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
class Case:
    """One picture, harmed in one way.

    Attributes:
        source: The picture.
        index: Its number, from which noise is drawn.
        name: Of the way.
        way: How its file is made.
        mode: `RGB`, or `L` for gray pictures.
    """

    source: Path
    index: int
    name: str
    way: Way
    mode: str = "RGB"

    @property
    def picture(self) -> str:
        """What the picture is called."""
        return f"{self.source.parent.name} {self.source.stem}"

    @property
    def scale(self) -> int | None:
        """Asked of commands; None for the same size."""
        return self.way.scale if self.way.scale > 1 else None

    @cached_property
    def whole(self) -> Pixels:
        """What the file is made of."""
        picture = np.atleast_3d(np.asarray(Image.open(self.source).convert(self.mode)))
        times = min(self.way.scale, 2)
        return middle(picture, (CROP[0] * times, CROP[1] * times))

    @cached_property
    def image(self) -> RestorableImage:
        """The file as it is read."""
        with tempfile.TemporaryDirectory() as folder:
            generator = np.random.default_rng(self.index)
            return read_image(self.way.write(self.whole, Path(folder, "made"), generator))

    @cached_property
    def start(self) -> Pixels:
        """What results are compared with."""
        return self.image.pixels if self.scale is None else imresize(self.image.pixels, self.scale)

    def gain(self, result: Pixels | None) -> float | None:
        """Return by how much a result is nearer to the truth than the file, in dB."""
        return None if result is None else gain(result, self.start, self.way.seen(self.whole))


def gain(result: Pixels, start: Pixels, truth: Pixels) -> float:
    """Return by how much a result is nearer to the truth than what it was made of, in dB."""
    if np.array_equal(result, start):
        return 0.0
    return psnr(result, truth) - psnr(start, truth)


@dataclass(frozen=True)
class Others:
    """What else is measured, on every so-manieth picture; 0: on none."""

    rivals: int = 0
    peers: int = 0
    bm3d: int = 0

    def of(self, case: Case, commands: Commands) -> Iterator[tuple[str, Callable[[], Any]]]:
        """Name what else restores a file."""

        def by_commands(tasks: tuple[str, ...]) -> Callable[[], Any]:
            return lambda: commands.in_turn(tasks, case.image, case.scale)

        def by_peer(peer: Callable[[Pixels], Pixels]) -> Callable[[], Any]:
            return lambda: peer(case.image.pixels)

        if _takes(self.rivals, case):
            for name, tasks in (RIVALS if case.scale is None else ENLARGING_RIVALS).items():
                if "realsr" not in tasks or case.scale == REALSR_SCALE:
                    yield name, by_commands(tasks)
        if _takes(self.peers, case) and case.scale is not None:
            yield "Lanczos", lambda: lanczos(case.image.pixels, case.way.scale)
        quick = QUICK if _takes(self.peers, case) else {}
        slow = SLOW if _takes(self.bm3d, case) else {}
        if case.name in NOISY:
            for name, peer in (quick | slow).items():
                yield name, by_peer(peer)


def _takes(every: int, case: Case) -> bool:
    return every > 0 and case.index % every == 0


def lanczos(pixels: Pixels, scale: int) -> Pixels:
    """Enlarge as image editors do."""
    height, width = pixels.shape[:2]
    size = width * scale, height * scale
    return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.LANCZOS))


class Bench:
    """Measures what is not known yet.

    Args:
        rows: What is known.
        pictures: Where pictures are kept; None: nowhere.
    """

    def __init__(self, rows: Rows, pictures: Path | None) -> None:
        self.commands = Commands()
        self._rows, self._pictures = rows, pictures

    def fix(self, case: Case) -> None:
        """Measure what `fix` gains."""

        def fixed() -> tuple[Pixels, str]:
            done: list[str] = []
            result = self.commands.run(Request("fix", case.scale), case.image, done.append)
            if self._pictures is not None:
                truth = case.way.seen(case.whole)
                _keep(self._pictures, f"{case.picture} {case.name}", case.start, result, truth)
            return result, ", then ".join(done)

        self._measure(case, FIX, fixed)

    def other(self, case: Case, by: str, run: Callable[[], Pixels | None]) -> None:
        """Measure what another gains."""
        self._measure(case, by, lambda: (run(), ""))

    def _measure(self, case: Case, by: str, run: Callable[[], tuple[Pixels | None, str]]) -> None:
        if (case.picture, case.name, by) in self._rows:
            return
        self.commands.used.clear()
        result, done = run()
        weights = dict(self.commands.used)
        self._rows.add(Row(case.picture, case.name, by, case.gain(result), done, weights))


def summed_up(cases: list[Case], rows: Rows) -> dict[str, Any]:
    """Sum up what is known, as it is written."""
    found = {name: list[Row]() for ways in TABLES.values() for name in ways}
    for case in cases:
        found[case.name] += rows.of(case.picture, case.name)
    tables: dict[str, Any] = {
        table: {way: _told(found[way]) for way in ways if any(row.by == FIX for row in found[way])}
        for table, ways in TABLES.items()
    }
    return tables | {"weights": weights_of(itertools.chain(*found.values()))}


def _told(rows: list[Row]) -> dict[str, Any]:
    """Sum up one way."""
    gains: dict[str, dict[str, float]] = defaultdict(dict)
    for row in rows:
        gains[row.by][row.picture] = math.inf if row.gain is None else row.gain
    fixed = gains.pop(FIX)
    others = {
        name: {
            "mean": round(mean, 3) if math.isfinite(mean := fmean(each.values())) else None,
            "worst": round(min(each.values()), 3),
            "pictures": len(each),
            "fix": round(fmean(fixed[picture] for picture in each), 3),
        }
        for name, each in gains.items()
        if each.keys() <= fixed.keys()
    }
    done = Counter(row.done for row in rows if row.by == FIX)
    told = {
        "mean": round(fmean(fixed.values()), 3),
        "worst": round(min(fixed.values()), 3),
        "losses": sum(each < 0 for each in fixed.values()),
        "pictures": len(fixed),
        "done": dict(done.most_common()),
    }
    return told | ({"others": others} if others else {})


def _keep(folder: Path, name: str, *pixels: Pixels) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.concatenate(pixels, axis=1)).save(folder / f"{name.replace(' ', '_')}.png")


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


def mixed(folders: list[Path]) -> list[Path]:
    """List pictures of all sets in turn, so that a run that is ended early has seen each."""
    sets = [sorted(folder.glob("*.png")) for folder in folders]
    return [path for row in itertools.zip_longest(*sets) for path in row if path is not None]


def options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, nargs="+", default=[], metavar="DIR")
    parser.add_argument("--pairs", type=Path, metavar="DIR")
    parser.add_argument("--every", type=int, default=1, help="take every so-manieth picture")
    parser.add_argument("--gray", action="store_const", const="L", default="RGB", dest="mode")
    for others in ("--rivals", "--peers", "--bm3d"):
        parser.add_argument(others, type=int, default=0, metavar="N")
    parser.add_argument("--only", nargs="+", metavar="WAY", help="measure these ways")
    parser.add_argument("--share", default=WHOLE, metavar="I/N")
    parser.add_argument("--kept", action="store_true", help="measure nothing, sum up the rows")
    parser.add_argument("--pictures", type=Path, metavar="DIR")
    parser.add_argument("--rows", type=Path, metavar="FILE")
    parser.add_argument("--output", type=Path, default=RESULT)
    return parser.parse_args()


def main() -> None:
    """Measure all ways on all pictures."""
    arguments = options()
    torch.set_num_threads(1)
    rows = Rows(arguments.rows)
    bench = Bench(rows, arguments.pictures)
    others = Others(arguments.rivals, arguments.peers, arguments.bm3d)
    cases = [
        Case(source, index, name, way, arguments.mode)
        for index, source in enumerate(mixed(arguments.data)[:: arguments.every])
        for ways in TABLES.values()
        for name, way in ways.items()
    ]
    for case in [] if arguments.kept else cases:
        if shared(case.index, arguments.share) and case.name in (arguments.only or [case.name]):
            bench.fix(case)
            for by, run in others.of(case, bench.commands):
                bench.other(case, by, run)
    if arguments.share != WHOLE:
        return
    before = json.loads(arguments.output.read_text()) if arguments.output.is_file() else {}
    about = before | {"commit": describe_commit(), "cpu": describe_cpu(), "crop": CROP}
    if arguments.pairs:
        about["real_noise"] = on_pairs(arguments.pairs, arguments.every)
    asked = [case for case in cases if case.name in (arguments.only or [case.name])]
    found = summed_up(asked, rows)
    content = about | {name: about.get(name, {}) | each for name, each in found.items()}
    arguments.output.write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
