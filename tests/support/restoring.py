"""Stand-ins for what restores the images of files."""

from __future__ import annotations

from mambair_cli.batches.work import Restore


def one_by_one(image, bands):
    """Makes of what restores one image what restores the images of a file."""

    def images(sources, *callbacks):
        return [image(source, *callbacks) for source in sources]

    return Restore(images, bands)
