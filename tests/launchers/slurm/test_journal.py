"""The book of jobs: whatever SLURM accepted is in it, and says whether it was released."""

from pathlib import Path

from ptl_sweep.launchers.slurm.journal import BOOK, REDUCE, JobBook, all_books
from ptl_sweep.pipeline.graph import Task

TASKS = [Task(name=f"train-{i}", kind="train", stages=(f"train-{i}-key",)) for i in range(3)]
ALONE = [[task] for task in TASKS]  # a job each


def test_each_task_of_an_array_is_a_job_and_a_single_task_has_no_index(tmp_path: Path) -> None:
    book = JobBook(tmp_path)
    assert book.add_array("s", "12", ALONE) == ["12_0", "12_1", "12_2"]
    assert book.add_array("s", "13", [[REDUCE]]) == ["13"]
    jobs = book.jobs()
    assert [(job.id, job.array, job.task) for job in jobs] == [
        ("12_0", "12", "train-0"),
        ("12_1", "12", "train-1"),
        ("12_2", "12", "train-2"),
        ("13", "13", "reduce"),
    ]
    assert jobs[1].stages == ("train-1-key",)


def test_tasks_side_by_side_are_of_one_job_which_says_how_many_they_are(tmp_path: Path) -> None:
    book = JobBook(tmp_path)
    assert book.add_array("s", "12", [TASKS[:2], TASKS[2:]]) == ["12_0", "12_1"]
    assert book.add_array("s", "13", [TASKS]) == ["13"]
    assert [(job.id, job.task, job.side_by_side) for job in book.jobs()] == [
        ("12_0", "train-0", 2),
        ("12_0", "train-1", 2),
        ("12_1", "train-2", 1),
        *(("13", task.name, 3) for task in TASKS),
    ]


def test_only_a_submission_that_came_to_its_end_is_released(tmp_path: Path) -> None:
    book = JobBook(tmp_path)
    book.add_array("first", "1", ALONE[:1])
    book.add_released("first")
    book.add_array("killed", "2", ALONE[1:2])
    assert {job.id: job.released for job in book.jobs()} == {"1": True, "2": False}
    assert book.last_submission() == "first"


def test_cancelled_jobs_are_remembered(tmp_path: Path) -> None:
    book = JobBook(tmp_path)
    book.add_array("s", "5", ALONE)
    book.add_cancelled(["5_1"])
    assert [job.cancelled for job in book.jobs()] == [False, True, False]


def test_a_line_that_a_full_disk_cut_off_loses_no_other(tmp_path: Path) -> None:
    book = JobBook(tmp_path)
    book.add_array("s", "5", ALONE)
    with (tmp_path / BOOK).open("a") as file:
        file.write('{"time": 1, "subm')
    assert len(book.jobs()) == 3


def test_a_folder_without_a_book_has_no_jobs(tmp_path: Path) -> None:
    assert JobBook(tmp_path).jobs() == []
    assert JobBook(tmp_path).last_submission() is None
    assert all_books(tmp_path) == []


def test_books_of_all_sweeps_are_found(tmp_path: Path) -> None:
    for name in ("a-1", "b-2"):
        JobBook(tmp_path / "sweeps" / name).add_array("s", "1", ALONE)
    assert [book.folder.name for book in all_books(tmp_path)] == ["a-1", "b-2"]
