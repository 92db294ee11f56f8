"""What lost nothing loses nothing again where its format can, as Pillow and its plugins read it."""

import io

import numpy as np
import pytest
from PIL import Image, ImageSequence
from skimage import data

from mambair_cli.imaging.files import read_images, write_images

PLUGINS = {"heic": "pillow_heif", "jxl": "pillow_jxl"}
EXACT = {
    "webp": {"lossless": True, "exact": True},
    "heic": {"quality": -1, "chroma": 444, "matrix_coefficients": 0},
    "jxl": {"lossless": True},
}
LOSSY = {
    "webp": {"quality": 80},
    "heic": {"quality": 80},
    "jxl": {"quality": 80},
}
NOISE = np.random.default_rng(0).integers(0, 256, (67, 90, 4), np.uint8)
MODES = {"L": 1, "RGB": 3, "RGBA": 4}


def photo(mode="RGB"):
    rgb = data.astronaut()[30:97, 180:270]
    pixels = np.dstack([rgb, NOISE[..., 3]])[..., : MODES[mode]]
    return Image.fromarray(pixels[..., 0] if mode == "L" else pixels, mode)


def saved(path, image, **options):
    plugin = pytest.importorskip(PLUGINS.get(path.suffix[1:], "PIL"))
    if hasattr(plugin, "register_heif_opener"):
        plugin.register_heif_opener()
    image.save(path, **options)
    return path


def rewritten(path, **options):
    """Write what was read; return the file, its frames as Pillow reads them, and the report."""
    sequence = read_images(path)
    target = path.with_name(f"out{path.suffix}")
    report = write_images(target, sequence, **options)
    with Image.open(target) as image:
        frames = [np.asarray(frame.copy()) for frame in ImageSequence.Iterator(image)]
    return sequence, frames, report


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("suffix", EXACT)
def test_lossless_in_is_lossless_out(tmp_path, suffix, mode):
    if (suffix, mode) == ("heic", "L"):
        pytest.skip("gray HEIC has no colours from which that could be told")
    source = photo(mode)
    sequence, (frame,), report = rewritten(saved(tmp_path / f"a.{suffix}", source, **EXACT[suffix]))
    assert "lossless coding" in report.kept
    expected = np.asarray(source.convert("RGB") if frame.ndim == 3 and mode == "L" else source)
    np.testing.assert_array_equal(frame, expected)
    assert sequence.images[0].metadata.lossless


@pytest.mark.parametrize("suffix", LOSSY)
def test_what_lost_something_is_no_larger_than_it_must_be(tmp_path, suffix):
    path = saved(tmp_path / f"a.{suffix}", photo(), **LOSSY[suffix])
    sequence, _, report = rewritten(path)
    assert not sequence.images[0].metadata.lossless
    assert report.kept == report.changed == ()
    rewritten(path, quality=100)
    whole = (tmp_path / f"out.{suffix}").stat().st_size
    rewritten(path)
    assert (tmp_path / f"out.{suffix}").stat().st_size < 0.8 * whole


def test_lossless_animations_of_webp(tmp_path):
    frames = [photo(), photo().transpose(Image.Transpose.ROTATE_180)]
    options = {"save_all": True, "append_images": frames[1:], "duration": 40}
    _, written, report = rewritten(saved(tmp_path / "a.webp", frames[0], lossless=True, **options))
    np.testing.assert_array_equal(written, [np.asarray(frame) for frame in frames])
    assert "lossless coding" in report.kept
    path = saved(tmp_path / "b.webp", frames[0], lossless=False, **options)
    assert not rewritten(path)[0].images[0].metadata.lossless


def test_a_jpeg_in_jpeg_xl_is_lossy(tmp_path):
    plugin = pytest.importorskip("pillow_jxl")
    file = io.BytesIO()
    photo().save(file, "JPEG", quality=80)
    path = tmp_path / "a.jxl"
    encoder = plugin.Encoder("RGB", lossless=True, use_container=True)
    path.write_bytes(encoder(file.getvalue(), 90, 67, jpeg_encode=True))
    assert not read_images(path).images[0].metadata.lossless


def test_a_quality_that_is_asked_for_wins_and_is_told(tmp_path):
    path = saved(tmp_path / "a.webp", photo(), lossless=True)
    _, (frame,), report = rewritten(path, quality=80)
    assert report.changed == ("lossless WebP written with losses (quality 80)",)
    assert (frame != np.asarray(photo())).any()


def test_another_format_is_written_as_usual(tmp_path):
    path = saved(tmp_path / "a.png", photo())
    target = tmp_path / "a.webp"
    assert write_images(target, read_images(path)).kept == ()
    with Image.open(target) as image:
        assert (np.asarray(image) != np.asarray(photo())).any()
    lossless = read_images(saved(tmp_path / "b.webp", photo(), lossless=True))
    assert "lossless coding" not in write_images(tmp_path / "b.png", lossless).kept
