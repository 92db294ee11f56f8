import numpy as np
import pytest

from mambair_cli.imaging.image import Band, ImageHeader, RestorableImage
from mambair_cli.pixels.resize import imresize
from mambair_cli.restoration.reduction import Reduction, reduced


def picture(dtype, channels=3, alpha=None, height=90, width=124):
    generator = np.random.default_rng(3)
    white = 1 if dtype is np.float32 else np.iinfo(dtype).max
    pixels = (generator.random((height, width, channels)) * white).astype(dtype)
    opacity = None
    if alpha:
        opacity = generator.random((height, width))
        opacity = ((opacity if alpha == "soft" else opacity > 0.5) * white).astype(dtype)
    return RestorableImage(pixels, opacity)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("alpha", [None, "soft", "binary"])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("step", [1, 7, 90])
def test_bands_are_the_whole(dtype, alpha, channels, step):
    image = picture(dtype, channels, alpha)
    whole = reduced(image, 71, 53)
    assert whole.pixels.shape == (53, 71, channels)
    assert whole.pixels.dtype == dtype
    header = ImageHeader(124, 90, channels, np.dtype(dtype), alpha is not None)
    parts = (
        Band(image.pixels[top : top + step], image.alpha[top : top + step] if alpha else None)
        for top in range(0, 90, step)
    )
    reduction = Reduction(header, 71, 53, alpha == "binary")
    bands = list(reduction.bands(parts))
    np.testing.assert_array_equal(np.concatenate([each.pixels for each in bands]), whole.pixels)
    if alpha:
        np.testing.assert_array_equal(np.concatenate([each.alpha for each in bands]), whole.alpha)
        assert alpha != "binary" or len(np.unique(whole.alpha)) == 2


def test_it_is_imresize_rounded_once():
    image = picture(np.float32)
    expected = imresize(image.pixels, 0.5)
    np.testing.assert_allclose(reduced(image, 62, 45).pixels, expected, atol=1e-6)
    eight = RestorableImage(np.rint(image.pixels * 255).astype(np.uint8))
    expected = np.rint(imresize(eight.pixels.astype(np.float64), 0.5).clip(0, 255))
    np.testing.assert_array_equal(reduced(eight, 62, 45).pixels, expected)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("alpha", [None, "binary"])
def test_the_size_that_it_has_changes_nothing(dtype, alpha):
    image = picture(dtype, 3, alpha)
    same = reduced(image, 124, 90)
    seen = slice(None) if alpha is None else image.alpha > 0
    np.testing.assert_allclose(same.pixels[seen], image.pixels[seen], rtol=0, atol=1e-6)
    if alpha:
        np.testing.assert_array_equal(same.alpha, image.alpha)


def test_colours_are_weighted_by_their_opacity():
    image = picture(np.uint8, 3, "soft")
    image.pixels[:] = 200
    image.pixels[:, ::2] = 10
    image.alpha[:] = 255
    image.alpha[:, ::2] = 0
    assert np.abs(reduced(image, 62, 45).pixels[4:-4, 4:-4].astype(int) - 200).max() <= 1


def test_memory_is_flat():
    header = ImageHeader(64, 10**6, 1, np.dtype(np.uint8))
    asked = []

    def rows():
        for start in range(0, 10**6, 500):
            asked.append(start)
            yield Band(np.zeros((500, 64, 1), np.uint8))

    bands = Reduction(header, 48, 750_000, binary_alpha=False).bands(rows())
    first = next(bands)
    assert len(first.pixels) * 4 / 3 <= 500 * len(asked) <= len(first.pixels) * 4 / 3 + 1000
    assert len(first.pixels) < 10**5
