"""Which SLURM job computes which task: ``jobs.jsonl`` in a sweep's folder, written as we submit."""

import json
import os
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ptl_sweep.pipeline.graph import Task

BOOK = "jobs.jsonl"
SLURM_LOGS = Path("logs") / "slurm"  # submitit's scripts and pickles, and SLURM's own words
REDUCE = Task(name="reduce", kind="reduce", stages=())


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One task of a SLURM job, which is an element of an array, or a job of its own."""

    id: str  # `123_4`, or `123`; that of several tasks, where the job runs them side by side
    kind: str  # train | ptl | evaluate | reduce
    task: str
    stages: tuple[str, ...]  # that it publishes, or finds published
    submission: str
    released: bool  # False: the submission was killed before its dependencies were set
    cancelled: bool  # by the verb `cancel`
    side_by_side: int = 1  # tasks of the job

    @property
    def array(self) -> str:
        """Id of the array, which is what SLURM takes for all of its tasks."""
        return self.id.partition("_")[0]


@dataclass(frozen=True, slots=True)
class JobBook:
    """The submissions of one sweep, oldest first."""

    folder: Path

    def add_array(self, submission: str, array: str, groups: Sequence[Sequence[Task]]) -> list[str]:
        """Note an array that SLURM has just accepted; returns the ids of its jobs."""
        ids = [array] if len(groups) == 1 else [f"{array}_{i}" for i in range(len(groups))]
        jobs = [
            {
                "id": job,
                "kind": task.kind,
                "task": task.name,
                "stages": task.stages,
                **({"side_by_side": len(group)} if len(group) > 1 else {}),
            }
            for job, group in zip(ids, groups, strict=True)
            for task in group
        ]
        self._append({"submission": submission, "jobs": jobs})
        return ids

    def add_released(self, submission: str) -> None:
        """Note that a submission is complete: dependencies set, jobs released."""
        self._append({"submission": submission, "released": True})

    def add_cancelled(self, jobs: Iterable[str]) -> None:
        """Note jobs that the user cancelled, so that nobody takes them for failed ones."""
        self._append({"cancelled": sorted(jobs)})

    def _append(self, row: dict[str, Any]) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / BOOK).open("a") as file:
            file.write(json.dumps({"time": time.time(), **row}) + "\n")
            file.flush()
            os.fsync(file.fileno())

    def jobs(self) -> list[Job]:
        """Every job that was ever submitted for the sweep."""
        rows = self._rows()
        released = {row["submission"] for row in rows if row.get("released")}
        cancelled = {job for row in rows for job in row.get("cancelled", ())}
        return [
            Job(
                **{**job, "stages": tuple(job["stages"])},
                submission=row["submission"],
                released=row["submission"] in released,
                cancelled=job["id"] in cancelled,
            )
            for row in rows
            for job in row.get("jobs", ())
        ]

    def began(self, submission: str) -> float:
        """When the first jobs of a submission were noted; now, where none were yet."""
        times = (row["time"] for row in self._rows() if row.get("submission") == submission)
        return float(min(times, default=time.time()))

    def last_submission(self) -> str | None:
        """The submission whose jobs were released last; None before the first."""
        names = [str(row["submission"]) for row in self._rows() if row.get("released")]
        return names[-1] if names else None

    def _rows(self) -> list[dict[str, Any]]:
        """Rows of the book; a last line that a full disk cut off is left out."""
        try:
            lines = (self.folder / BOOK).read_text().splitlines()
        except FileNotFoundError:
            return []
        rows = []
        for line in lines:
            try:
                rows.append(json.loads(line))
            except ValueError:
                continue
        return rows


def slurm_log(folder: Path, job: str) -> Path:
    """Name the file with what SLURM and submitit said about a job, output before our log too."""
    return folder / SLURM_LOGS / f"{job}_0_log.out"


def all_books(root: Path) -> list[JobBook]:
    """The books of every sweep below ``sweep.root``: sweeps share stages, and so jobs."""
    return [JobBook(path.parent) for path in sorted((root / "sweeps").glob(f"*/{BOOK}"))]
