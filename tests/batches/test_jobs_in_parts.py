from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from mambair_cli.batches.jobs import Job, in_shard

NAMES = st.lists(
    st.text(st.characters(exclude_characters="/\0"), min_size=1, max_size=8).filter(
        lambda name: name not in (".", "..")
    ),
    unique=True,
    max_size=40,
)


def jobs_for(names, output="out"):
    return [Job(Path("in", name), Path(output, name), Path(output)) for name in names]


@given(NAMES, st.integers(1, 7))
def test_every_job_is_in_exactly_one_part(names, count):
    jobs = jobs_for(names)
    parts = [in_shard(jobs, (index, count), Path("out")) for index in range(1, count + 1)]
    assert sorted(job.target for part in parts for job in part) == sorted(
        job.target for job in jobs
    )


@given(NAMES, st.integers(1, 5), st.randoms())
def test_order_and_other_files_do_not_move_a_job(names, count, random):
    jobs = jobs_for(names)
    part = in_shard(jobs, (1, count), Path("out"))
    some = random.sample(jobs, len(jobs) // 2)
    assert set(in_shard(some, (1, count), Path("out"))) == set(some) & set(part)


@given(NAMES, st.integers(1, 5))
def test_the_place_of_the_output_directory_does_not_matter(names, count):
    here = in_shard(jobs_for(names), (1, count), Path("out"))
    there = in_shard(jobs_for(names, "/node/7/out"), (1, count), Path("/node/7/out"))
    assert [job.source for job in here] == [job.source for job in there]


def test_parts_are_about_equal():
    jobs = jobs_for([f"{number:04}.png" for number in range(4000)])
    sizes = [len(in_shard(jobs, (index, 8), Path("out"))) for index in range(1, 9)]
    assert all(400 < size < 600 for size in sizes)


def test_files_of_one_name_in_many_folders_are_spread():
    jobs = [Job(Path(f"{n}/page.png"), Path(f"{n}/page_x4.png"), Path(f"{n}")) for n in range(400)]
    assert 60 < len(in_shard(jobs, (1, 4), None)) < 140


def test_parts_stay_the_same_from_release_to_release():
    jobs = jobs_for([f"{number}.png" for number in range(9)])
    parts = [in_shard(jobs, (index, 3), Path("out")) for index in (1, 2, 3)]
    assert ["".join(job.target.stem for job in part) for part in parts] == ["14", "036", "2578"]


def test_a_name_that_is_no_text():
    jobs = jobs_for(["caf\udce9.png"])
    assert sum(len(in_shard(jobs, (index, 3), Path("out"))) for index in (1, 2, 3)) == 1
