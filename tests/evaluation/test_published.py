"""The paper's tables: complete, and the same scores that the catalogue gives its models."""

from mambair_cli.checkpoints import catalogue
from mambair_cli.evaluation.published import (
    peers_of,
    reported_for,
    reported_on,
    results,
    table_of,
)
from mambair_cli.networks.spec import ModelSpec


def test_every_row_of_the_tables_is_there():
    counts = {}
    for row in results():
        counts[row.source] = counts.get(row.source, 0) + 1
    assert counts["Table 3, p. 11"] == 39
    assert counts["Table 4, p. 13"] == 18
    assert counts["Table 5, p. 14"] == 21
    assert counts["Table 6, p. 14"] == 6


def test_the_catalogue_says_what_the_tables_say():
    wrong = [
        (entry.id, score)
        for entry in catalogue.entries()
        for score in entry.published
        if not any(
            score.psnr.items() <= row.psnr.items() and score.ssim.items() <= row.ssim.items()
            for row in reported_for(entry.spec, ensemble=score.ensemble)
        )
    ]
    assert not wrong


def test_a_model_is_compared_with_its_own_table_and_level():
    classic = table_of(ModelSpec("mambair-classic-sr-x3", "sr", 3, 3))
    assert {(row.task, row.scale) for row in classic} == {("classic-sr", 3)}
    tiny = table_of(ModelSpec("mambair-tiny-sr-x4", "sr", 4, 3))
    assert {(row.task, row.scale) for row in tiny} == {("light-sr", 4)}
    noise = table_of(ModelSpec("anything", "denoise", 1, 3, sigma=25))
    assert {(row.task, row.sigma) for row in noise} == {("color-denoise", 25)}


def test_scores_of_the_released_weights_come_before_the_papers():
    rows = reported_for(ModelSpec("mambair-light-sr-x4", "sr", 4, 3))
    urban = [row.psnr["Urban100"] for row in rows if "Urban100" in row.psnr]
    assert urban == [26.75, 26.52]


def test_the_second_version_is_shown_beside_what_its_authors_report():
    for name, dataset, reported in (
        ("light-sr-x4", "Urban100", 26.82),
        ("base-sr-x2", "Urban100", 34.49),
        ("base-dejpeg-q10", "classic5", 30.37),
        ("base-denoise-s15", "Urban100", 35.42),
    ):
        row = reported_on(dataset, catalogue.find(f"mambairv2-{name}").spec)
        assert row is not None, name
        assert (row.psnr[dataset], row.of_released_weights) == (reported, True)


def test_the_self_ensemble_has_its_own_rows():
    spec = ModelSpec("mambair-classic-sr-x4", "sr", 4, 3)
    assert reported_for(spec)[0].psnr["Set5"] == 33.03
    assert reported_for(spec, ensemble=True)[0].psnr["Set5"] == 33.13


def test_nobody_reports_anything_for_other_weights():
    assert reported_for(ModelSpec("mambair-tiny-sr-x4", "sr", 4, 3)) == []
    assert reported_for(ModelSpec("mine", "sr", 4, 3)) == []
    assert table_of(ModelSpec("photos", "realsr", 4, 3)) == []


def test_peers_are_in_order_of_their_score():
    peers = peers_of(ModelSpec("mambair-light-sr-x4", "sr", 4, 3), "Set5")
    assert [row.method for row in peers][-2:] == ["MambaIR-light", "SwinIR-light"]
    assert [row.psnr["Set5"] for row in peers] == sorted(row.psnr["Set5"] for row in peers)
