"""What a row of results.csv says of its cell before anything is measured."""

from collections.abc import Callable
from pathlib import Path

import pytest

from ptl_sweep.pipeline.plan import Plan
from ptl_sweep.reduce.rows import Reducer, domain_of

CELL = ("synthetic=off", "real_count=3", "seed=0")
MakePlan = Callable[..., Plan]


def domains(plan: Plan) -> dict[str, str]:
    """Domain of each cell, by target."""
    return {cell.id.target: domain_of(plan, cell.readings[-1]) for cell in plan.cells}


def test_the_split_that_calibrates_is_named_as_such_and_other_scenery_is_another_domain(
    make_plan: MakePlan,
) -> None:
    plan = make_plan(*CELL, "target=field,source", "analysis.calibration=validation")
    assert domains(plan) == {"field": "cross", "miniature-validation": "calibration"}


def test_a_part_of_the_source_that_calibrates_nothing_is_in_domain(make_plan: MakePlan) -> None:
    plan = make_plan(*CELL, "target=source", "analysis.calibration=crossfit")
    assert domains(plan) == {"miniature-validation": "in"}


def test_another_split_of_the_source_is_in_domain_by_any_name(make_plan: MakePlan) -> None:
    plan = make_plan(
        *CELL, "target=field", "target.name=elsewhere", "target.domain=town", "target.split=test",
        "analysis.calibration=validation",
    )  # fmt: skip
    assert domains(plan) == {"elsewhere": "in"}


def test_the_validation_split_calibrates_by_any_name(make_plan: MakePlan) -> None:
    plan = make_plan(
        *CELL, "target=field", "target.name=mine", "target.domain=town",
        "target.split=validation", "analysis.calibration=validation",
    )  # fmt: skip
    assert domains(plan) == {"mine": "calibration"}


def test_a_number_of_the_images_of_the_validation_split_is_calibrated_on(
    make_plan: MakePlan,
) -> None:
    plan = make_plan(
        *CELL, "target=field", "target.name=few", "target.domain=town", "target.split=validation",
        "target.num_images=3", "analysis.calibration=validation",
    )  # fmt: skip
    assert domains(plan) == {"few": "calibration"}


@pytest.mark.parametrize(("folder", "expected"), [("beach", "in"), ("hills", "cross")])
def test_folders_tell_data_sets_of_one_format_apart(
    make_plan: MakePlan, tmp_path: Path, folder: str, expected: str
) -> None:
    plan = make_plan(
        *CELL, "dataset=yolo", "dataset.name=beach", f"dataset.root={tmp_path / 'beach'}",
        "target=yolo", "target.name=there", f"target.root={tmp_path / folder}",
    )  # fmt: skip
    assert domains(plan) == {"there": expected}


def test_every_row_has_its_domain_measured_or_not(make_plan: MakePlan) -> None:
    plan = make_plan(*CELL, "target=field,source", "analysis.calibration=validation")
    rows = [one.row for one in Reducer(plan, None).measure_all()]
    assert [(row["status"], row["domain"]) for row in rows] == [
        ("missing", "cross"), ("missing", "calibration"),
    ]  # fmt: skip
