from __future__ import annotations

import io
import pickle
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy

import numpy as np
import pytest
import torch
from PIL import Image
from skimage import data as photographs

import mambair_cli as mambair
from mambair_cli.checkpoints.convert import write_checkpoint
from mambair_cli.networks import MambaIRConfig, build_network


def tiny(path, **config):
    torch.manual_seed(1)
    network = build_network(MambaIRConfig(embed_dim=12, d_state=2, depths=(1,), **config))
    write_checkpoint(path, network)
    return mambair.load_model(path, device="cpu", scan="reference")


@pytest.fixture(scope="module")
def double(tmp_path_factory):
    return tiny(tmp_path_factory.mktemp("weights") / "double.safetensors", upscale=2)


@pytest.fixture(scope="module")
def gray(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "gray.safetensors"
    return tiny(path, upscale=1, in_chans=1, upsampler="")


@pytest.fixture(scope="module")
def photo():
    return photographs.astronaut()[100:113, 150:171]


def test_a_model_says_what_it_is(double):
    assert double.spec == mambair.ModelSpec("double", "sr", 2, 3)
    assert (double.device, double.precision, double.scan) == (
        torch.device("cpu"),
        "fp32",
        "reference",
    )
    assert double.path.name == "double.safetensors"
    assert len(double.sha256) == 64
    assert not double.network.training
    restored = double.network(torch.rand(2, 3, 5, 9))
    assert (restored.shape, restored.dtype, restored.requires_grad) == (
        (2, 3, 10, 18),
        torch.float32,
        False,
    )


def test_bytes_and_floats_give_the_same_picture(double, photo):
    as_bytes = mambair.restore(photo, double)
    as_floats = mambair.restore(photo / 255, double)
    assert (as_bytes.shape, as_bytes.dtype) == ((26, 42, 3), np.uint8)
    assert (as_floats.shape, as_floats.dtype) == ((26, 42, 3), np.float64)
    assert np.abs(as_floats * 255 - as_bytes).max() <= 0.501
    assert as_floats.min() >= 0
    assert as_floats.max() <= 1


def test_floats_are_the_network_itself(double, photo):
    values = (photo / 255).astype(np.float32)
    x = torch.from_numpy(values).permute(2, 0, 1)[None]
    expected = double.network(x).clamp(0, 1)[0].permute(1, 2, 0).numpy()
    np.testing.assert_allclose(mambair.restore(values, double), expected, atol=1e-6)


SHAPES = [(9, 14), (9, 14, 1), (9, 14, 2), (9, 14, 3), (9, 14, 4), (1, 5)]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, ">u2"])
@pytest.mark.parametrize("shape", SHAPES)
def test_integer_arrays_keep_their_kind(double, shape, dtype):
    white = np.iinfo(dtype).max
    image = np.random.default_rng(0).integers(0, white, shape).astype(dtype)
    image.flags.writeable = False
    restored = mambair.restore(image, double)
    assert restored.shape == (shape[0] * 2, shape[1] * 2, *shape[2:])
    assert restored.dtype == dtype


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("shape", SHAPES)
def test_float_arrays_keep_their_kind(double, shape, dtype):
    image = np.random.default_rng(0).random(shape).astype(dtype)
    restored = mambair.restore(image, double)
    assert restored.shape == (shape[0] * 2, shape[1] * 2, *shape[2:])
    assert restored.dtype == dtype


def test_16_bits_are_16_bits(double):
    """A smooth ramp has as many levels as pixels, dark as it is."""
    ramp = np.tile(np.arange(900, 900 + 600, dtype=np.uint16), (12, 1))
    restored = mambair.restore(ramp, double)
    assert restored.dtype == np.uint16
    assert len(np.unique(restored)) > 600
    expected = mambair.restore((ramp / 65535).astype(np.float32), double) * 65535
    assert np.abs(restored - expected).max() <= 0.51


@pytest.mark.parametrize("mode", ["I;16", "I;16B", "I;16L"])
def test_deep_pillow_images_keep_their_depth(double, mode):
    ramp = np.tile(np.arange(0, 65536, 97, dtype=np.uint16), (9, 1))
    image = Image.new(mode, ramp.shape[::-1])
    image.frombytes(ramp.astype(">u2" if mode == "I;16B" else "<u2").tobytes())
    image.info["icc_profile"] = b"profile"
    restored = mambair.restore(image, double)
    assert (restored.mode, restored.info) == ("I;16", {"icc_profile": b"profile"})
    np.testing.assert_array_equal(np.asarray(restored), mambair.restore(ramp, double))


def test_floating_point_pillow_images_keep_their_kind(double, photo):
    values = (photo[..., 0] / 255).astype(np.float32)
    restored = mambair.restore(Image.fromarray(values), double)
    assert restored.mode == "F"
    np.testing.assert_array_equal(np.asarray(restored), mambair.restore(values, double))


@pytest.mark.parametrize(
    ("mode", "out"),
    [("1", "L"), ("L", "L"), ("LA", "LA"), ("RGB", "RGB"), ("RGBA", "RGBA"), ("P", "RGB")],
)
@pytest.mark.parametrize("size", [(14, 9), (7, 1), (1, 1)])
def test_pillow_images_keep_their_kind(double, photo, mode, out, size):
    image = Image.fromarray(photo).resize(size).convert(mode)
    restored = mambair.restore(image, double)
    assert isinstance(restored, Image.Image)
    assert (restored.mode, restored.size) == (out, (size[0] * 2, size[1] * 2))


def test_pillow_images_and_arrays_agree(double, photo):
    restored = mambair.restore(Image.fromarray(photo), double)
    np.testing.assert_array_equal(np.asarray(restored), mambair.restore(photo, double))


def test_profile_and_transparency_of_pillow_images(double, photo):
    image = Image.fromarray(photo).quantize(8)
    image.info.update(icc_profile=b"profile", transparency=0)
    restored = mambair.restore(image, double)
    assert restored.mode == "RGBA"
    assert restored.info == {"icc_profile": b"profile"}


def test_opacity_is_kept_and_not_restored(gray, photo):
    image = np.dstack([photo, np.arange(photo[..., 0].size).reshape(photo.shape[:2]) % 256])
    restored = mambair.restore(image.astype(np.uint8), gray)
    np.testing.assert_array_equal(restored[..., 3], image[..., 3])


def test_tiles_and_ensemble(double, photo):
    whole = mambair.restore(photo, double, tile=0)
    assert mambair.restore(photo, double, 0, ensemble=True).shape == whole.shape
    assert not np.array_equal(mambair.restore(photo, double, 0, ensemble=True), whole)
    with pytest.raises(mambair.UsageError):
        mambair.restore(photo, double, tile=-3)


def keyed():
    image = Image.new("I;16", (6, 5))
    image.info["transparency"] = 0
    return image


BAD_IMAGES = {
    "text": ("photo.png", "cannot restore a str"),
    "line": (np.zeros(5, np.uint8), "an array of shape (5,) is no image"),
    "batch": (np.zeros((1, 3, 5, 5), np.uint8), "an array of shape (1, 3, 5, 5) is no image"),
    "empty": (np.zeros((0, 5, 3), np.uint8), "an array of shape (0, 5, 3) is no image"),
    "channels": (
        np.zeros((5, 6, 5), np.uint8),
        "an array of shape (5, 6, 5) and type uint8 is not supported",
    ),
    "32 bits": (
        np.zeros((5, 6), np.uint32),
        "an array of shape (5, 6) and type uint32 is not supported",
    ),
    "infinite": (
        np.full((5, 6), 1e300),
        "a floating-point image must lie in [0, 1]; this one spans inf to inf",
    ),
    "nan": (
        np.full((5, 6), np.nan),
        "a floating-point image must lie in [0, 1]; this one spans nan to nan",
    ),
    "cmyk": (Image.new("CMYK", (6, 5)), "Pillow images of mode 'CMYK' are not supported"),
    "integers": (Image.new("I", (6, 5)), "Pillow images of mode 'I' are not supported"),
    "empty picture": (Image.new("RGB", (0, 5)), "a Pillow image of 0x5 pixels has none"),
    "masked": (
        np.ma.masked_array(np.zeros((5, 6), np.uint8), mask=np.eye(5, 6)),
        "an array of which values are masked has pixels that nobody knows",
    ),
    "deep opacity": (
        keyed(),
        "a Pillow image of mode 'I;16' cannot hold opacity beside its gray",
    ),
}


WAYS_OUT = {
    "path": ("photo.png", "open it first: PIL.Image.open(path)"),
    "several": ([np.zeros((5, 6), np.uint8)], "give one Pillow image or NumPy array at a time"),
    "tensor": (
        torch.zeros(3, 5, 6),
        "give an array (h w c): tensor.numpy(); model.network takes tensors (b c h w)",
    ),
    "channels first": (
        np.zeros((3, 5, 6), np.uint8),
        "channels come last, (h w c): array.transpose(1, 2, 0)",
    ),
    "masked": (
        np.ma.masked_array(np.zeros((5, 6), np.uint8), mask=np.eye(5, 6)),
        "fill them first: array.filled(...)",
    ),
    "lab": (
        Image.new("LAB", (6, 5)),
        "convert it first, best with its profile: PIL.ImageCms.profileToProfile(...)",
    ),
    "hue": (Image.new("HSV", (6, 5)), "convert it first: image.convert('RGB')"),
}


@pytest.mark.parametrize("kind", WAYS_OUT)
def test_the_way_out_is_named(double, kind):
    image, hint = WAYS_OUT[kind]
    with pytest.raises(mambair.ImageError) as caught:
        mambair.restore(image, double)
    assert caught.value.hint == hint


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "TIFF", "BMP"])
@pytest.mark.parametrize("state", ["closed", "without its file", "cut short"])
def test_pictures_that_cannot_be_decoded(double, photo, kind, state):
    stored = io.BytesIO()
    Image.fromarray(photo).resize((80, 60)).save(stored, kind)
    if state == "cut short":
        stored.truncate(stored.tell() * 3 // 4)
    image = Image.open(stored)
    if state == "closed":
        image.load()
        image.close()
    elif state == "without its file":
        stored.close()
    with pytest.raises(
        mambair.ImageError, match=r"the Pillow image cannot be decoded: .+"
    ) as caught:
        mambair.restore(image, double)
    assert caught.value.hint


def test_subclasses_of_arrays(double, photo):
    gray = photo[..., 0]
    expected = mambair.restore(gray, double)
    with pytest.warns(PendingDeprecationWarning):
        matrix = np.matrix(gray)
    np.testing.assert_array_equal(mambair.restore(matrix, double), expected)
    np.testing.assert_array_equal(mambair.restore(np.ma.masked_array(gray), double), expected)


@pytest.mark.parametrize("kind", BAD_IMAGES)
def test_other_images_are_refused(double, kind):
    image, message = BAD_IMAGES[kind]
    with pytest.raises(mambair.ImageError) as caught:
        mambair.restore(image, double)
    assert caught.value.message == message
    assert caught.value.hint


def test_values_a_little_outside_are_restored_as_they_are(double, photo):
    noise = np.random.default_rng(0).normal(0, 50 / 255, photo.shape)
    noisy = (photo / 255 + noise).astype(np.float32)
    assert noisy.min() < 0
    assert noisy.max() > 1
    x = torch.from_numpy(noisy).permute(2, 0, 1)[None]
    low, high = min(0, noisy.min()), max(1, noisy.max())
    expected = double.network(x).clamp(low, high)[0].permute(1, 2, 0).numpy()
    np.testing.assert_allclose(mambair.restore(noisy, double, 0), expected, atol=1e-5)
    noisy[2, 3] = 100
    hot = mambair.restore(noisy, double, 0)
    assert hot.max() > 50
    barely = np.full((5, 6), 1 + 1e-12)
    np.testing.assert_array_equal(
        mambair.restore(barely, double), mambair.restore(np.ones((5, 6)), double)
    )


@pytest.mark.parametrize(("black", "white"), [(0, 255), (-1, 1), (0, 40)])
def test_values_far_outside_are_stretched_and_told(double, photo, black, white):
    unit = (photo - photo.min()) / np.ptp(photo)
    with pytest.warns(UserWarning, match=f"values from {black} to {white} shown to the network"):
        restored = mambair.restore(unit * (white - black) + black, double)
    expected = mambair.restore(unit, double) * (white - black) + black
    np.testing.assert_allclose(restored, expected, atol=1e-4 * (white - black))
    even = Image.new("F", (6, 5), 7)
    with pytest.warns(UserWarning, match="values from 0 to 7 shown to the network as 0 to 1"):
        assert mambair.restore(even, double).mode == "F"


def test_opacity_says_nothing_of_white(double, photo):
    image = np.dstack([photo / 255, np.full(photo.shape[:2], 255.0)])
    restored = mambair.restore(image, double)
    assert restored[..., 3].max() == 1
    np.testing.assert_array_equal(restored[..., :3], mambair.restore(photo / 255, double))


def test_a_gray_model_restores_the_luma_of_colour(gray, photo):
    as_bytes, as_floats = mambair.restore(photo, gray), mambair.restore(photo / 255, gray)
    assert as_bytes.shape == as_floats.shape == photo.shape
    assert np.abs(as_floats * 255 - as_bytes).max() <= 0.501


def test_cmyk_is_refused_with_a_way_out(double):
    with pytest.raises(mambair.ImageError) as caught:
        mambair.restore(Image.new("CMYK", (6, 5)), double)
    assert caught.value.hint == (
        "convert it first, best with its profile: PIL.ImageCms.profileToProfile(...)"
    )


def test_requests_that_cannot_be_met(double):
    with pytest.raises(mambair.UsageError, match="unknown model 'mambair-huge-sr-x4'"):
        mambair.load_model("mambair-huge-sr-x4")
    with pytest.raises(mambair.CheckpointError, match="no such weights file"):
        mambair.load_model("missing.pth")
    with pytest.raises(mambair.BackendError, match="unknown scan backend 'fast'"):
        mambair.load_model(double.path, device="cpu", scan="fast")
    with pytest.raises(mambair.UsageError, match="unknown device 'tpu'"):
        mambair.load_model(double.path, device="tpu")
    with pytest.raises(mambair.BackendError, match="precision fp16 cannot be used on cpu"):
        mambair.load_model(double.path, device="cpu", precision="fp16")


DEVICES = [None, torch.device("cpu"), "cpu"]


@pytest.mark.parametrize("device", DEVICES)
def test_devices(double, device):
    assert mambair.load_model(double.path, device, scan="reference").device.type in ("cpu", "cuda")


@pytest.mark.parametrize("precision", [None, torch.float32, "fp32"])
def test_precisions(double, precision):
    assert mambair.load_model(double.path, "cpu", precision, None).precision == "fp32"


def test_an_entry_names_its_model():
    (entry,) = [entry for entry in mambair.list_models() if entry.id == "mambair-tiny-sr-x3"]
    assert mambair.load_model(entry, device="cpu", scan="torch").spec == entry.spec


REFERENCES = {
    "nothing": (None, "no name", "give an id of list_models()"),
    "empty": ("", "no name", "give an id of list_models()"),
    "bytes": (b"mambair-tiny-sr-x2", "a bytes", "give an id of list_models()"),
    "weights": ({"conv_first.weight": torch.zeros(3)}, "a dict", "save its state_dict()"),
    "module": (torch.nn.Linear(2, 3), "a Linear", "save its state_dict()"),
}


@pytest.mark.parametrize("kind", REFERENCES)
def test_what_names_no_model(kind):
    reference, what, hint = REFERENCES[kind]
    with pytest.raises(mambair.UsageError, match=f"and {what} was given") as caught:
        mambair.load_model(reference)
    assert caught.value.hint.startswith(hint)


@pytest.mark.parametrize(
    ("argument", "value", "message"),
    [
        ("device", -1, "device -1 is no name"),
        ("device", True, "device True is no name"),
        ("device", torch.device("meta"), "unknown device 'meta'"),
        ("precision", 16, "precision 16 is no name"),
        ("precision", torch.float64, r"unknown precision 'torch\.float64'"),
        ("scan", ["numba"], r"scan \['numba'\] is no name"),
    ],
)
def test_arguments_of_another_kind(double, argument, value, message):
    with pytest.raises(mambair.UsageError, match=message) as caught:
        mambair.load_model(double.path, **{argument: value})
    assert caught.value.hint


def test_the_number_of_a_gpu_that_is_not_here(double):
    with pytest.raises(mambair.BackendError, match="device 'cuda:99' is not available"):
        mambair.load_model(double.path, device=99)


def test_part_of_a_name_is_a_question():
    with pytest.raises(mambair.UsageError) as caught:
        mambair.load_model("tiny-sr")
    assert caught.value.hint.startswith("did you mean mambair-tiny-sr-x2 or ")


@pytest.mark.parametrize("tile", [None, "auto", 32, np.int64(32), 32.0, 10**30])
def test_tiles(double, photo, tile):
    expected = mambair.restore(photo, double, 0)
    np.testing.assert_array_equal(mambair.restore(photo, double, tile), expected)


@pytest.mark.parametrize("tile", ["0", 16.5, float("nan"), True, [64], np.zeros((9, 9))])
def test_what_is_no_tile(double, photo, tile):
    with pytest.raises(mambair.UsageError, match="is no number of pixels") as caught:
        mambair.restore(photo, double, tile)
    assert "\n" not in caught.value.message


@pytest.mark.parametrize("ensemble", ["no", None, 2, np.ones(3)])
def test_what_is_neither_true_nor_false(double, photo, ensemble):
    with pytest.raises(mambair.UsageError, match="is neither True nor False"):
        mambair.restore(photo, double, ensemble=ensemble)


def test_what_is_no_model(double, photo):
    with pytest.raises(mambair.UsageError, match="the model was given as the image"):
        mambair.restore(double, photo)
    for other in (double.network, "mambair-tiny-sr-x2", None):
        with pytest.raises(mambair.UsageError, match=f"a {type(other).__name__} was given") as told:
            mambair.restore(photo, other)
        assert told.value.hint == "give what load_model(...) returned"


@pytest.mark.parametrize("scan", ["numba", "torch", "reference"])
@pytest.mark.parametrize("copied", [deepcopy, lambda model: pickle.loads(pickle.dumps(model))])  # noqa: S301
def test_models_are_copied_and_pickled(double, photo, scan, copied):
    model = mambair.load_model(double.path, device="cpu", scan=scan)
    expected = mambair.restore(photo, model)
    again = copied(model)
    assert (again.spec, again.scan, again.device) == (model.spec, scan, model.device)
    np.testing.assert_array_equal(mambair.restore(photo, again), expected)


def test_several_threads_restore_with_one_model(double, photo):
    model = mambair.load_model(double.path, device="cpu")
    images = [np.roll(photo, shift, axis=1) for shift in range(6)]
    expected = [mambair.restore(image, model) for image in images]
    with ThreadPoolExecutor(3) as threads:
        restored = list(threads.map(lambda image: mambair.restore(image, model), images))
    np.testing.assert_array_equal(restored, expected)


def test_what_reading_weights_left_out_is_a_warning(tmp_path, double):
    path = tmp_path / "averaged.pth"
    state = double.network.state_dict()
    torch.save({"n_averaged": 7, "params": state, "params-ema": state}, path)
    with pytest.warns(UserWarning, match="weights under params-ema were taken, not params"):
        mambair.load_model(path, device="cpu", scan="reference")


def test_models_are_listed():
    models = mambair.list_models()
    assert all(isinstance(model, mambair.CatalogueEntry) for model in models)
    assert [model.id for model in models if model.bundled] == [
        *(f"mambair-tiny-sr-x{scale}" for scale in (2, 3, 4)),
        "mambair-tiny-real-sr-x4",
        *(f"mambair-tiny-denoise-s{sigma}" for sigma in (15, 25, 50)),
        "mambair-tiny-denoise-real",
        *(f"mambair-tiny-dejpeg-q{quality}" for quality in (10, 30, 40)),
        "mambair-tiny-dejpeg-color",
    ]


def test_a_file_on_the_hub_is_fetched(hub, double):
    hub.add("me/weights", {"nets/double.safetensors": double.path.read_bytes()})
    reference = "hf://me/weights/nets/double.safetensors"
    model = mambair.load_model(reference, device="cpu", scan="reference")
    assert (model.spec, model.sha256) == (double.spec, double.sha256)
    hub.requests.clear()
    assert mambair.load_model(reference, device="cpu", scan="reference").path == model.path
    assert hub.requests == []
    with pytest.raises(mambair.CheckpointError, match=r"has no nets/other\.pth"):
        mambair.load_model("hf://me/weights/nets/other.pth")


def test_gradients_after_an_image_was_restored(double, photo):
    model = mambair.load_model(double.path, device="cpu", scan="torch")
    mambair.restore(photo, model)
    x = torch.rand(1, 3, 9, 14, requires_grad=True)
    model.network(x).mean().backward()
    assert x.grad.abs().max() > 0


@pytest.fixture
def snapshot():
    """A photograph as it comes from a camera's file, of 64x40 pixels."""
    saved = io.BytesIO()
    part = photographs.astronaut()[100:140, 150:214]
    Image.fromarray(part).save(saved, "JPEG", quality=30)
    return Image.open(saved)


def test_a_photograph_is_fixed_as_it_was_opened(snapshot):
    told = []
    result = mambair.fix(snapshot, device="cpu", on_found=told.append)
    chain = "dejpeg, denoise --real at 18%"
    assert told == [f"64x40 pixels, JPEG quality 30 with 4:2:0: {chain}"]
    assert (result.size, result.mode) == (snapshot.size, snapshot.mode)
    difference = np.abs(np.asarray(result).astype(int) - np.asarray(snapshot)).max()
    assert 0 < difference < 60
    as_it_was = mambair.fix(snapshot, device="cpu", strength=0)
    np.testing.assert_array_equal(np.asarray(as_it_was), np.asarray(snapshot))


def test_a_good_picture_is_left_alone_and_enlarged_where_that_is_asked_for(photo):
    told = []
    result = mambair.fix(photo, device="cpu", on_found=told.append)
    np.testing.assert_array_equal(result, photo)
    larger = mambair.fix(photo, 1.5, device="cpu", on_found=told.append)
    assert (larger.shape, larger.dtype) == ((20, 32, 3), np.uint8)
    assert told == ["21x13 pixels: left alone, nothing to gain", "21x13 pixels: sr x2"]


@pytest.mark.parametrize("scale", [1, 0.5, 5, "2", True])
def test_scales_that_do_not_enlarge(photo, scale):
    with pytest.raises(mambair.UsageError, match="is none") as raised:
        mambair.fix(photo, scale)
    assert raised.value.hint == "give a number above 1, 4 at most"


def test_a_picture_that_was_opened_smaller_than_its_file_has_other_blocks(snapshot):
    snapshot.draft("RGB", (20, 20))
    told = []
    mambair.fix(snapshot, device="cpu", on_found=told.append)
    assert "JPEG" not in told[0]
