import pytest
import typer

from mambair_cli.cli.option_values import parse_bytes, parse_pixels, parse_shard, parse_tile


@pytest.mark.parametrize(
    ("parse", "text", "value"),
    [
        (parse_tile, "auto", "auto"),
        (parse_tile, "0", 0),
        (parse_shard, "1/1", (1, 1)),
        (parse_shard, "12/400", (12, 400)),
        (parse_pixels, "0", 0),
        (parse_pixels, "179000000", 179_000_000),
        (parse_pixels, "900m", 900_000_000),
        (parse_pixels, "1.5G", 1_500_000_000),
        (parse_bytes, "4G", 4 * 2**30),
        (parse_bytes, "0.5k", 512),
        (parse_bytes, "1.1T", 1209462790553),
    ],
)
def test_what_values_mean(parse, text, value):
    assert parse(text) == value


@pytest.mark.parametrize(
    ("parse", "text", "message"),
    [
        (parse_tile, "big", "'big' is neither auto nor a number of pixels (0 = whole image)"),
        (parse_shard, "0/2", "'0/2' is no part of a whole, such as 2/5"),
        (parse_shard, "3/2", "'3/2' is no part of a whole, such as 2/5"),
        (parse_pixels, "1T", "'1T' is no number, such as 900000000, 900M or 1.5G"),
        (parse_pixels, "0.5", "'0.5' is less than one pixel (0 = no limit)"),
        (parse_bytes, "4GiB", "'4GiB' is no number, such as 900000000, 900M or 1.5G"),
        (parse_bytes, "1e9", "'1e9' is no number, such as 900000000, 900M or 1.5G"),
        (parse_bytes, "0", "nothing can be done in no memory at all"),
    ],
)
def test_what_means_nothing_is_an_error(parse, text, message):
    with pytest.raises(typer.BadParameter) as caught:
        parse(text)
    assert caught.value.message == message
