"""What a teacher made of the training images, kept as files: it need not run while others learn."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from mambair_cli.errors import ImageError, RecipeError
from mambair_cli.training.images import Pixels, read_pixels, read_size


class KeptResults:
    """Finds and reads the result that belongs to a training image.

    That of `photographs/a.jpg` is `photographs/a.png` inside the folder of results, and has the
    size of the reference as far as the scale divides it.

    Args:
        folder: The folder of results.
        scale: Reference side over input side.
    """

    def __init__(self, folder: Path, scale: int) -> None:
        self._folder = folder
        self._scale = scale

    def path(self, image: Path) -> Path:
        """Return where the result for an image is kept."""
        return self._folder / image.parent.name / f"{image.stem}.png"

    def require(self, images: Iterable[tuple[Path, tuple[int, int]]]) -> None:
        """Check by the files' headers that every image has a result of its own.

        Args:
            images: Paths with height and width.

        Raises:
            RecipeError: One is missing, cannot be read, has another size or is another image's too.
        """
        owners: dict[Path, Path] = {}
        for image, (height, width) in images:
            path = self.path(image)
            if (other := owners.setdefault(path, image)) != image:
                raise RecipeError(
                    f"the results for {other} and {image} are both {path}",
                    "give the images' folders, or the images, names of their own",
                )
            if not path.is_file():
                raise RecipeError(
                    f"distillation.folder lacks the result for {image}: there is no {path}",
                    "keep there what the teacher makes of each training image, downscaled; or take "
                    "images without one out of data.folders",
                )
            try:
                found = read_size(path)
            except ImageError as error:
                raise RecipeError(error.message, "have the teacher make it again") from error
            expected = height - height % self._scale, width - width % self._scale
            if found != expected:
                raise RecipeError(
                    f"{path} has {found[1]}x{found[0]} pixels, the result for {image} at scale "
                    f"{self._scale} has {expected[1]}x{expected[0]}",
                    "name a folder whose results were made of these images at this scale",
                )

    def read(self, image: Path, channels: int) -> Pixels:
        """Read the result for an image as `(h w channels)` uint8.

        Raises:
            ImageError: The file cannot be read as an image.
        """
        return read_pixels(self.path(image), channels)
