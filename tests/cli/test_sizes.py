"""Which sizes the options of enlarging commands ask for."""

from __future__ import annotations

from fractions import Fraction

import pytest

from mambair_cli.cli.sizes import SizeSettings
from mambair_cli.errors import UsageError
from mambair_cli.restoration.sizing import Sizing


@pytest.mark.parametrize(("scale", "whole"), [(None, None), (1.5, 2), (2, 2), (3.25, 4), (1.1, 2)])
def test_the_next_larger_model(scale, whole):
    factor = None if scale is None else Fraction(scale)
    assert SizeSettings(scale=factor).next_scale == whole


def test_what_a_model_makes_by_itself_is_no_size_of_its_own():
    assert SizeSettings(scale=Fraction(4)).sizing_of_model(4) == Sizing()
    assert SizeSettings(scale=Fraction(4)).sizing_of_model(2) == Sizing(factor=Fraction(4))
    assert SizeSettings(long_side=900, only_below=5).sizing == Sizing(long_side=900, only_below=5)


def test_two_sizes_exclude_each_other():
    with pytest.raises(UsageError, match="--scale and --megapixels exclude each other"):
        _ = SizeSettings(scale=Fraction(2), megapixels=10**6).sizing
