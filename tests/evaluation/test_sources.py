"""Where benchmark sets come from: folders of the user's, and archives of the Hub."""

import io
import tarfile

import numpy as np
import pytest
from PIL import Image

from mambair_cli.errors import CheckpointError, UsageError
from mambair_cli.evaluation.datasets import find_dataset
from mambair_cli.evaluation.layouts import examples_in
from mambair_cli.evaluation.sources import locate

SET5 = find_dataset("Set5")


def png(seed):
    values = np.random.default_rng(seed).integers(0, 256, (12, 20, 3), np.uint8)
    stream = io.BytesIO()
    Image.fromarray(values).save(stream, "PNG")
    return stream.getvalue()


def archive(files):
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as packed:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            packed.addfile(member, io.BytesIO(content))
    return stream.getvalue()


def offer(hub, files, dataset=SET5):
    hub.add(f"datasets/{dataset.repo}", {dataset.archive: archive(files)})


FIVE = {f"Set5_HR/{name}.png": png(seed) for seed, name in enumerate("abcde")}


@pytest.mark.parametrize("name", ["B100", "b100", "BSD100", "BSDS100"])
def test_a_folder_may_have_sets_inside(tmp_path, name):
    (tmp_path / name).mkdir()
    (tmp_path / "BSD500").mkdir()
    assert locate(find_dataset("B100"), tmp_path) == tmp_path / name
    assert locate(find_dataset("B100"), tmp_path / name) == tmp_path / name


def test_a_folder_that_is_none_is_refused(tmp_path):
    with pytest.raises(UsageError, match="is no folder"):
        locate(SET5, tmp_path / "missing")


def test_a_set_with_two_folders_is_refused(tmp_path):
    for name in ("B100", "BSD100"):
        (tmp_path / name).mkdir()
    with pytest.raises(UsageError, match=r"B100 may be .*B100 and .*BSD100"):
        locate(find_dataset("B100"), tmp_path)


def test_a_set_is_fetched_once_and_kept(hub):
    offer(hub, FIVE)
    folder = locate(SET5)
    assert [example.name for example in examples_in(folder, "sr", 4)] == list("abcde")
    before = len(hub.requests)
    assert locate(SET5) == folder
    assert len(hub.requests) == before


def test_the_references_of_an_archive_are_found_among_other_folders(hub):
    others = {f"data/noisy{n}/{name}.png": png(n) for n in (5, 25) for name in "abcde"}
    good = {f"data/original_png/{name}.png": png(0) for name in "abcde"}
    offer(hub, {**others, **good, "data/readme.txt": b"hello"})
    assert {example.files[0].read_bytes() for example in examples_in(locate(SET5), "sr", 4)} == {
        png(0)
    }


def test_an_archive_without_the_set_is_refused_and_nothing_is_kept(hub, tmp_path):
    offer(hub, {"Set5_HR/a.png": png(0)})
    with pytest.raises(
        CheckpointError, match=r"none is the one with its 5 images: Set5_HR \(1 images\)"
    ):
        locate(SET5)
    assert list((tmp_path / "home" / "datasets").iterdir()) == []


def test_a_damaged_archive_is_refused(hub):
    hub.add(f"datasets/{SET5.repo}", {SET5.archive: archive(FIVE)[:900]})
    with pytest.raises(CheckpointError, match="is damaged"):
        locate(SET5)


def test_an_archive_cannot_write_outside_its_folder(hub, tmp_path):
    offer(hub, {**FIVE, "../../out.png": png(9)})
    with pytest.raises(CheckpointError):
        locate(SET5)
    assert not (tmp_path / "home" / "out.png").exists()


def test_a_set_that_no_repository_has_says_what_to_do():
    with pytest.raises(UsageError, match="Manga109 is not on this machine") as caught:
        locate(find_dataset("Manga109"))
    assert caught.value.hint == (
        "put its images into a folder Manga109 and name the folder above it: --data DIR"
    )


def test_without_a_connection_the_error_says_exactly_what_to_do():
    with pytest.raises(
        CheckpointError, match="Set5 is not on this machine and cannot be fetched"
    ) as caught:
        locate(SET5)
    assert caught.value.hint == (
        "connect this machine once, or put the images of "
        "https://huggingface.co/datasets/eugenesiow/Set5 into a folder Set5 and name the folder "
        "above it: --data DIR"
    )
