"""Sizes and positions that microscopes, maps and panoramas count in pixels, judged by tifffile."""

from dataclasses import replace

import numpy as np
import pytest
import tifffile

from mambair_cli.imaging.files import read_images, write_images

PIXELS = np.random.default_rng(0).integers(0, 255, (10, 14, 3), np.uint8)
GRAY = PIXELS[..., 0]
GEO_KEYS = (1, 1, 0, 2, 1024, 0, 1, 1, 1025, 0, 1, 1)


def enlarged(tmp_path, across=2, down=None, suffix=".tif", mode="keep"):
    """Write the source again with so many pixels for each, as a restored image."""
    sequence = read_images(tmp_path / "source.tif")
    images = tuple(
        replace(
            image,
            pixels=np.repeat(np.repeat(image.pixels, down or across, 0), across, 1),
            alpha=None,
        )
        for image in sequence.images
    )
    target = tmp_path / f"result{suffix}"
    report = write_images(target, replace(sequence, images=images), metadata=mode)
    return target, report


def write(tmp_path, pixels=PIXELS, **options):
    source = tmp_path / "source.tif"
    photometric = "rgb" if pixels.shape[-1] == 3 else "minisblack"
    tifffile.imwrite(source, pixels, photometric=photometric, **options)
    return source


def tags(path):
    with tifffile.TiffFile(path) as tiff:
        return {tag.code: tag.value for tag in tiff.pages[0].tags}


@pytest.mark.parametrize("truncate", [False, True])
def test_the_pixels_of_imagej_become_smaller(tmp_path, truncate):
    stack = np.stack([GRAY] * 6).astype(np.uint16)
    said = {"axes": "ZYX", "spacing": 0.5, "unit": "um", "xorigin": 5, "yorigin": 3}
    source = tmp_path / "source.tif"
    tifffile.imwrite(
        source, stack, imagej=True, truncate=truncate, resolution=(10, 10), metadata=said
    )
    target, report = enlarged(tmp_path)
    with tifffile.TiffFile(target) as tiff:
        imagej, series = tiff.imagej_metadata, tiff.series[0]
        assert tiff.is_imagej
        assert series.shape == (6, 20, 28)
        resolution = tiff.pages[0].tags["XResolution"].value
    assert resolution[1] / resolution[0] == 0.05
    assert tags(target)[296] == 1
    assert imagej["images"] == imagej["slices"] == 6
    assert (imagej["unit"], imagej["spacing"]) == ("um", 0.5)
    assert (imagej["xorigin"], imagej["yorigin"]) == (10, 6)
    assert "positions and sizes of pixels" in report.kept


def test_pixels_that_are_not_square(tmp_path):
    write(tmp_path, GRAY, imagej=True, resolution=(10, 4), metadata={"unit": "um"})
    target, _ = enlarged(tmp_path, across=3, down=2)
    assert tags(target)[282] == (30, 1)
    assert tags(target)[283] == (8, 1)


def test_a_slice_that_was_taken_out_no_longer_speaks_of_its_stack(tmp_path):
    text = "ImageJ=1.53t\nimages=6\nslices=6\nunit=micron\nmin=0\n"
    write(tmp_path, GRAY, description=text, metadata=None, resolution=(10, 10))
    target, _ = enlarged(tmp_path)
    assert tags(target)[270] == "ImageJ=1.53t\nimages=1\nunit=micron\nmin=0"


def test_what_png_cannot_say_goes_and_is_told(tmp_path):
    write(tmp_path, GRAY, imagej=True, resolution=(10, 10), metadata={"unit": "um"})
    _, report = enlarged(tmp_path, suffix=".png")
    assert "positions and sizes of pixels (PNG holds none)" in report.dropped
    assert "description with sizes of pixels" in report.dropped


OME = (
    '<?xml version="1.0" encoding="UTF-8"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/'
    '2016-06" UUID="urn:uuid:1"><Image ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="XYCZT" '
    'Type="uint8" SizeX="14" SizeY="10" SizeC="1" SizeZ="1" SizeT="1" PhysicalSizeX="0.25" '
    'PhysicalSizeXUnit="nm" PhysicalSizeY="0.5" PhysicalSizeZ="2"><Channel ID="C:0" '
    'SamplesPerPixel="1"/><TiffData IFD="0">{uuid}</TiffData></Pixels>{more}</Image></OME>'
)


def test_ome_says_sizes_in_pixels_and_of_them(tmp_path):
    uuid = '<UUID FileName="source.tif">urn:uuid:1</UUID>'
    roi = '<ROIRef ID="ROI:0"/><ROI ID="ROI:0"><Union><Point X="3" Y="4"/></Union></ROI>'
    text = OME.format(uuid=uuid, more=roi)
    write(tmp_path, GRAY, description=text, metadata=None, resolution=(4, 2))
    target, report = enlarged(tmp_path, across=2, down=4)
    said = tags(target)[270]
    for part in ('SizeX="28"', 'SizeY="40"', 'PhysicalSizeX="0.125"', 'PhysicalSizeY="0.125"'):
        assert part in said
    for part in ('PhysicalSizeZ="2"', 'PhysicalSizeXUnit="nm"', 'SizeC="1"'):
        assert part in said
    assert "FileName" not in said
    assert "ROI" not in said
    assert "regions of OME-XML" in report.dropped
    with tifffile.TiffFile(target) as tiff:
        assert tiff.is_ome
        assert tiff.series[0].shape == (40, 28)


def test_ome_of_several_files_is_dropped(tmp_path):
    uuids = '<UUID FileName="a.tif">urn:uuid:1</UUID><UUID FileName="b.tif">urn:uuid:2</UUID>'
    write(tmp_path, GRAY, description=OME.format(uuid=uuids, more=""), metadata=None)
    target, report = enlarged(tmp_path)
    assert 270 not in tags(target)
    assert "OME-XML of several files" in report.dropped


def test_descriptions_of_scanners_are_dropped(tmp_path):
    text = "Aperio Image Library v10\r\n14x10 (240x240) J2K/KDU Q=30|AppMag = 40|MPP = 0.2520"
    write(tmp_path, description=text, metadata=None)
    target, report = enlarged(tmp_path)
    assert 270 not in tags(target)
    assert "description with sizes of pixels (Aperio)" in report.dropped


def georeferenced(tmp_path, *further, keys=GEO_KEYS, orientation=1):
    extra = [(274, "H", 1, orientation, True), *further]
    extra += [(34735, "H", len(keys), keys, True), (42113, "s", 0, "0", True)]
    write(tmp_path, metadata=None, extratags=extra)


@pytest.mark.parametrize(("kind", "tie"), [(1, (14.0, 9.0)), (2, (14.5, 10.0))])
def test_maps_by_scale_and_tie_point(tmp_path, kind, tie):
    """A point of the ground stays where it is: at a pixel's corner, or in its middle."""
    scale = (33550, "d", 3, (0.5, 0.25, 0.0), True)
    point = (33922, "d", 6, (7.0, 3.0, 0.0, 500000.0, 4649776.0, 0.0), True)
    georeferenced(tmp_path, scale, point, keys=(*GEO_KEYS[:-1], kind))
    target, report = enlarged(tmp_path, across=2, down=3)
    said = tags(target)
    assert said[33550] == (0.25, 0.25 / 3, 0)
    assert said[33922] == (*tie, 0, 500000, 4649776, 0)
    assert said[34735] == (*GEO_KEYS[:-1], kind)
    assert said[42113] == "0"
    assert not report.dropped


@pytest.mark.parametrize(("kind", "shift"), [(1, 0), (2, 0.5)])
def test_maps_by_a_matrix(tmp_path, kind, shift):
    matrix = np.array([[0.5, 0.1, 0, 100], [0.2, -0.5, 0, 200], [0, 0, 0, 0], [0, 0, 0, 1.0]])
    tag = (34264, "d", 16, tuple(matrix.ravel()), True)
    georeferenced(tmp_path, tag, keys=(*GEO_KEYS[:-1], kind))
    target, _ = enlarged(tmp_path, across=2, down=4)
    new = np.reshape(tags(target)[34264], (4, 4))
    # Corners of pixels, as the matrix of each picture counts them.
    before = matrix @ [3 - shift, 2 - shift, 0, 1]
    np.testing.assert_allclose(new @ [6 - shift, 8 - shift, 0, 1], before)


def test_a_turned_map_loses_its_place_and_it_is_told(tmp_path):
    scale = (33550, "d", 3, (0.5, 0.25, 0.0), True)
    georeferenced(tmp_path, scale, orientation=6)
    target, report = enlarged(tmp_path)
    assert not {33550, 34735} & tags(target).keys()
    assert "georeference" in report.dropped


def test_a_place_is_private(tmp_path):
    georeferenced(tmp_path, (33550, "d", 3, (0.5, 0.25, 0.0), True))
    target, report = enlarged(tmp_path, mode="private")
    assert not {33550, 34735} & tags(target).keys()
    assert "georeference" in report.asked


def test_numbers_that_are_too_few_go(tmp_path):
    georeferenced(tmp_path, (33550, "d", 2, (0.5, 0.25), True))
    target, report = enlarged(tmp_path)
    assert not {33550, 34735} & tags(target).keys()
    assert "georeference" in report.dropped


def test_layers_of_panoramas(tmp_path):
    extra = [(286, 5, 1, (400, 150), True), (287, 5, 1, (200, 150), True)]
    extra += [(33300, "I", 1, 1000, True), (33301, "I", 1, 500, True)]
    write(tmp_path, metadata=None, resolution=(150, 150), resolutionunit=2, extratags=extra)
    target, _ = enlarged(tmp_path)
    said = tags(target)
    left, top = (np.divide(*said[tag]) * np.divide(*said[282]) for tag in (286, 287))
    assert (round(left, 6), round(top, 6)) == (800, 400)
    assert (said[33300], said[33301]) == (2000, 1000)


def test_layers_of_panoramas_without_a_unit(tmp_path):
    extra = [(286, 5, 1, (400, 150), True), (287, 5, 1, (200, 150), True)]
    write(tmp_path, metadata=None, resolution=(150, 150), resolutionunit=1, extratags=extra)
    target, _ = enlarged(tmp_path)
    said = tags(target)
    assert round(np.divide(*said[286]) * np.divide(*said[282]), 6) == 800


def test_of_pictures_that_keep_their_size_all_stays(tmp_path):
    point = (33922, "d", 6, (7.0, 3.0, 0.0, 500000.0, 4649776.0, 0.0), True)
    georeferenced(tmp_path, point)
    target, _ = enlarged(tmp_path, across=1)
    assert tags(target)[33922] == (7.0, 3.0, 0.0, 500000.0, 4649776.0, 0.0)
