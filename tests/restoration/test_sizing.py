from fractions import Fraction

import pytest

from mambair_cli.errors import ImageError
from mambair_cli.restoration.sizing import Sizing


@pytest.mark.parametrize(
    ("sizing", "size", "suffix"),
    [
        (Sizing(factor=Fraction(3, 2)), (452, 300), "_x1.5"),
        (Sizing(long_side=1000), (1000, 664), "_1000px"),
        (Sizing(box=(900, 500)), (753, 500), "_900x500"),
        (Sizing(box=(602, 5000)), (602, 400), "_602x5000"),
        (Sizing(pixels=500_000), (867, 576), "_0.5MP"),
    ],
)
def test_sizes(sizing, size, suffix):
    assert sizing.size_of(301, 200, 4) == size
    assert sizing.suffix == suffix
    assert sizing.is_free
    turned = Sizing(box=sizing.box[::-1]) if sizing.box else sizing
    assert turned.size_of(200, 301, 4) == size[::-1]


def test_a_thin_image_keeps_a_pixel():
    assert Sizing(long_side=2000).size_of(1000, 1, 4) == (2000, 2)
    assert Sizing(factor=Fraction("1.2")).size_of(1000, 1, 4) == (1200, 1)


def test_the_scale_of_the_network_decides_where_nothing_is_asked():
    assert Sizing(only_below=9).size_of(301, 200, 4) == (1204, 800)
    assert not Sizing(only_below=9).is_free


@pytest.mark.parametrize(
    ("sizing", "message"),
    [
        (Sizing(long_side=301), "301x200 pixels was to become 301x200: that is no enlargement"),
        (Sizing(box=(4000, 100)), "301x200 pixels was to become 151x100: that is no enlargement"),
        (Sizing(long_side=1205), "to become 1205x801: the model enlarges 4 times at most"),
    ],
)
def test_what_is_no_enlargement_or_too_much_is_refused(sizing, message):
    with pytest.raises(ImageError) as caught:
        sizing.size_of(301, 200, 4)
    assert message in caught.value.message


def test_large_images_are_left_alone():
    sizing = Sizing(only_below=60_200)
    told = "left alone: 301x200 pixels are not below 0.0602 MP"
    assert sizing.left_alone(301, 200) == told
    assert sizing.left_alone(300, 200) is None
    assert Sizing().left_alone(10**6, 10**6) is None
