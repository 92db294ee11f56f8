"""What was measured: means, and the comparison with what is published."""

import pytest
from measured_runs import LIGHT, TINY, run

from mambair_cli.errors import MambairError, UsageError
from mambair_cli.evaluation.protocol import Scores
from mambair_cli.evaluation.results import check, require_reported


def test_means_and_rates():
    result = run(LIGHT, 32.4).result
    assert result.restored == Scores(pytest.approx(32.4), pytest.approx(0.9))
    assert result.unrestored.psnr == 28
    assert result.seconds == 1
    assert result.megapixels_per_second == pytest.approx(2 * 240 / 1e6)


def test_the_check_passes_within_its_tolerance():
    check([run(LIGHT, 32.425), run(TINY, 1)], 0.01)


def test_the_check_names_what_is_off():
    with pytest.raises(
        MambairError, match=r"^1 of 2 scores are off by more than 0.01 dB:"
    ) as caught:
        check([run(LIGHT, 32.40), run(LIGHT, 28.74, "Set14")], 0.01)
    assert "mambair-light-sr-x4 on Set5: 32.400 dB, reported 32.42, difference -0.020" in str(
        caught.value
    )
    assert caught.value.exit_status == 1


def test_released_weights_are_checked_against_their_own_number():
    check([run(LIGHT, 26.75, "Urban100")], 0.01)
    with pytest.raises(MambairError):
        check([run(LIGHT, 26.52, "Urban100")], 0.01)


def test_a_check_without_anything_to_compare_is_a_wrong_request():
    with pytest.raises(UsageError, match="nobody reports a score of mambair-tiny-sr-x4"):
        require_reported([("Set5", True, TINY)])
    with pytest.raises(UsageError, match="Set5: not all images are there"):
        require_reported([("Set5", False, LIGHT)])
    require_reported([("Set5", True, TINY), ("Set5", True, LIGHT)])
    with pytest.raises(UsageError, match=r"nobody reports a score of mambair-tiny-sr-x4\+ to"):
        require_reported([("Set5", True, TINY)], ensemble=True)
