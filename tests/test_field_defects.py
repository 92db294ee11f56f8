"""Defects of the best tools for image restoration, and the tests that keep this one free of them.

Each was found by reading the code of those tools. The numbers are those of the project's notes.
"""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

TESTS = Path(__file__).parent

DEFECTS: dict[int, tuple[str, tuple[tuple[str, str], ...]]] = {
    1: (
        "a sub-directory, a text, an empty or a truncated image in a folder crashes the run",
        (
            ("cli/test_odd_files.py", "test_a_folder_with_everything_in_it"),
            (
                "cli/test_damaged_folder.py",
                "test_every_image_is_done_or_named_and_the_exit_status_tells",
            ),
        ),
    ),
    2: (
        "the default half precision crashes on a CPU",
        (
            ("restoration/device/test_precision.py", "test_a_cpu_runs_in_fp32_unless_asked"),
            ("restoration/device/test_precision.py", "test_fp16_is_refused_on_a_cpu"),
        ),
    ),
    3: (
        "16 bits are guessed from the largest value, so that a dark image becomes 8-bit",
        (
            (
                "imaging/test_every_format.py",
                "test_network_and_writing_keep_a_dark_16_bit_image_in_16_bits",
            ),
            ("restoration/test_restorer.py", "test_a_dark_16_bit_ramp_keeps_its_levels"),
        ),
    ),
    4: (
        "a tile is set, yet the whole image is put on the GPU",
        (
            (
                "restoration/test_restorer.py",
                "test_only_tiles_reach_the_network_when_a_tile_is_set",
            ),
            (
                "restoration/test_engine.py",
                "test_nothing_larger_than_a_batch_of_tiles_goes_to_or_from_the_gpu",
            ),
        ),
    ),
    5: (
        "after an error the pixels of the tile before are written for the next one",
        (
            (
                "restoration/test_restorer.py",
                "test_other_errors_pass_through_and_leave_nothing_for_the_next_image",
            ),
            ("restoration/test_engine.py", "test_memory_may_run_out_anywhere"),
        ),
    ),
    6: (
        "the retry after short memory starts at a wrong place, or never ends",
        (
            (
                "restoration/test_restorer.py",
                "test_short_memory_leads_to_smaller_tiles_and_the_same_result",
            ),
            (
                "restoration/test_restorer.py",
                "test_memory_that_is_never_enough_ends_with_an_error_after_few_tries",
            ),
        ),
    ),
    7: (
        "slivers at the end for widths between one tile and two",
        (("restoration/test_tiling.py", "test_no_sliver_for_any_width_up_to_three_tiles"),),
    ),
    8: (
        "weights fade to nothing at the border of the image",
        (
            (
                "restoration/test_tiling.py",
                "test_weights_are_one_at_the_border_of_the_image_and_nothing_beside_a_cut",
            ),
        ),
    ),
    9: (
        "a/1.jpg and b/1.jpg, or 1.png and 1.jpg, are written over each other",
        (
            ("batches/test_jobs.py", "test_equal_names_from_two_directories"),
            ("batches/test_jobs.py", "test_equal_stems_in_one_format"),
            ("cli/test_refusals.py", "test_two_sources_for_one_result"),
        ),
    ),
    10: (
        "resuming accepts a file that a kill cut short",
        (
            ("batches/test_batch.py", "test_resume_makes_a_file_again_that_was_cut_short"),
            ("batches/test_manifest.py", "test_a_damaged_output_is_not_intact"),
            ("cli/test_killed.py", "test_killed_and_resumed_the_results_are_the_same"),
        ),
    ),
    11: (
        "a file named like an error message is taken for one",
        (("cli/test_odd_files.py", "test_a_message_in_a_name_is_no_message"),),
    ),
    12: (
        "exit status 0 although files failed",
        (
            ("cli/test_refusals.py", "test_one_bad_file_does_not_stop_the_rest"),
            (
                "cli/test_damaged_folder.py",
                "test_every_image_is_done_or_named_and_the_exit_status_tells",
            ),
        ),
    ),
    13: (
        "an error page or a cut download is kept as weights",
        (
            ("checkpoints/test_obtain.py", "test_a_web_page_in_place_of_the_content"),
            ("checkpoints/test_obtain.py", "test_content_that_is_not_what_the_hub_says"),
            ("checkpoints/test_state_dict.py", "test_truncated_files_are_damaged"),
        ),
    ),
    14: (
        "the mean over a data set is the sum divided by one too many",
        (
            ("evaluation/test_benchmark.py", "test_a_set_is_the_mean_of_its_images"),
            ("evaluation/test_results.py", "test_means_and_rates"),
        ),
    ),
    15: (
        "references and results are paired by their place in a list",
        (
            ("evaluation/test_layouts.py", "test_partners_are_paired_by_name"),
            ("evaluation/test_layouts.py", "test_missing_and_surplus_partners_are_named"),
        ),
    ),
    16: (
        "an opaque 16-bit image with alpha is not taken for opaque",
        (
            (
                "imaging/test_every_format.py",
                "test_an_opaque_16_bit_image_with_alpha_fits_formats_without",
            ),
        ),
    ),
    17: (
        "a CMYK JPEG of Adobe, which is inverted, is read as RGB with alpha",
        (
            (
                "imaging/test_every_format.py",
                "test_what_is_read_is_what_the_file_holds_and_its_header_says",
            ),
        ),
    ),
    18: (
        "orientations are ignored or applied twice",
        (
            (
                "imaging/test_every_format.py",
                "test_what_is_read_is_what_the_file_holds_and_its_header_says",
            ),
            ("imaging/test_every_format.py", "test_an_orientation_is_applied_once"),
        ),
    ),
    19: (
        "palettes with transparency, 1 bit, gray with alpha and 16-bit gray fail or change",
        (
            (
                "imaging/test_every_format.py",
                "test_what_is_read_is_what_the_file_holds_and_its_header_says",
            ),
            ("imaging/test_every_format.py", "test_what_is_restored_is_written_to_every_format"),
        ),
    ),
    20: (
        "the output is the input through a link or another spelling of its path",
        (
            ("batches/test_jobs.py", "test_output_is_the_input_through_a_link"),
            ("batches/test_jobs.py", "test_output_is_the_input_under_another_spelling"),
            ("cli/test_refusals.py", "test_output_that_is_the_input_through_a_link"),
        ),
    ),
    21: (
        "an option that cannot be parsed is ignored",
        (
            ("cli/test_inputs.py", "test_an_option_that_cannot_be_parsed_is_an_error"),
            ("cli/test_main.py", "test_wrong_usage_exits_2_in_the_common_form"),
        ),
    ),
    22: (
        "memory grows over a batch",
        (("cli/test_batch_memory.py", "test_memory_stays_flat_over_a_batch_of_500_images"),),
    ),
    23: (
        "-o data/out leaves data/outdoor out as well",
        (("batches/test_jobs.py", "test_not_the_output_directory_inside_it"),),
    ),
    24: (
        "a failed download of weights exits with 0",
        (
            ("cli/test_fetched.py", "test_weights_that_cannot_be_fetched_fail_the_run"),
            (
                "cli/test_fetched.py",
                "test_one_failed_download_does_not_keep_from_the_others_and_is_told",
            ),
        ),
    ),
}


@cache
def names_in(file: str) -> frozenset[str]:
    tree = ast.parse((TESTS / file).read_text())
    return frozenset(
        node.name
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    )


def test_the_table_is_complete():
    assert list(DEFECTS) == list(range(1, 25))


def test_every_defect_has_its_tests():
    missing = [
        f"{file}::{name}"
        for _, covering in DEFECTS.values()
        for file, name in covering
        if name not in names_in(file)
    ]
    assert not missing
