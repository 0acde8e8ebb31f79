"""What a PTL iteration says of its translation: the gap of the same persons, before and after."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ptl_sweep.datasets.images import ImageCache, write_png
from ptl_sweep.datasets.records import ImageRecord
from ptl_sweep.distance.gaussian import Gaussian
from ptl_sweep.pipeline.plan import load_plan
from ptl_sweep.ptl.domain_gap import measure_domain_gap
from ptl_sweep.ptl.methods.random import Random
from ptl_sweep.ptl.translators.identity import Identity
from ptl_sweep.stages import translating
from ptl_sweep.stages.context import StageContext
from ptl_sweep.stages.fitting import load_detector
from ptl_sweep.stages.ptl import GAUSSIAN, SELECTION, TRANSFORMED, TRANSLATION, PtlStage
from ptl_sweep.stages.train import MANIFEST, MODEL
from ptl_sweep.store import META
from ptl_sweep.tracking import Companion, History
from ptl_sweep.worker.running import run_stage


@dataclasses.dataclass
class Finished:
    """A published PTL stage, its files, and a context in whose folder they can be made again."""

    stage: PtlStage
    folder: Path
    ctx: StageContext

    def file(self, name: str) -> Any:
        return json.loads((self.folder / name).read_text())

    @property
    def real(self) -> list[ImageRecord]:
        names = self.file(MANIFEST)["real"]
        by_id = {one.image_id: one for one in self.ctx.read_split(self.stage.data).records}
        return [by_id[name] for name in names]

    def compare(self, stage: PtlStage | None = None, **changes: Any) -> Any:
        transformed = self.file(TRANSFORMED) | changes
        selection = self.file(SELECTION)
        return translating.compare_gaps(
            stage or self.stage, self.ctx, selection, transformed, self.real
        )


@pytest.fixture
def finished(tiny_sweep: Any, copy_of: Callable[..., Any]) -> Finished:
    plan = copy_of(tiny_sweep).plan
    (stage,) = plan.ptl_stages()
    folder = plan.store.path(stage.key)
    ctx = StageContext(
        key=stage.key,
        parents=stage.parents,
        store=plan.store,
        folder=folder,
        should_stop=lambda: False,
        history=History(folder / "history.jsonl"),
        cache=ImageCache(2**20),
    )
    return Finished(stage, folder, ctx)


def test_pictures_that_were_not_changed_have_the_gap_of_the_selection(finished: Finished) -> None:
    pool = {one.image_id: one for one in finished.ctx.read_pool(finished.stage.pool).records}
    for image in finished.file(TRANSFORMED)["images"]:
        write_png(finished.folder / image["file"], pool[image["pool_id"]].pixels.read())
    compared = finished.compare()
    assert len(compared["images"]) == 4
    gaps = {one["image_id"]: one["gap"] for one in finished.file(SELECTION)["pool"]}
    for image in compared["images"]:
        assert image["untranslated"] == gaps[image["pool_id"]]
        assert image["translated"] == pytest.approx(image["untranslated"])
    summary = compared["summary"]
    assert summary["gap_translated_median"] == pytest.approx(summary["gap_untranslated_median"])
    assert summary["found_translated"] == summary["found_untranslated"] == 1


def test_the_numbers_are_those_of_the_pictures_that_were_written(finished: Finished) -> None:
    written = finished.file(TRANSLATION)
    assert [image["pool_id"] for image in written["images"]] == finished.file(SELECTION)["selected"]
    assert any(image["translated"] != image["untranslated"] for image in written["images"])
    compared = finished.compare()
    assert compared["summary"] == pytest.approx(written["summary"])
    summary = finished.file("meta.json")["summary"]
    assert {name: summary[name] for name in written["summary"]} == written["summary"]


def test_medians_are_over_the_images_in_which_the_person_is_found_both_times() -> None:
    before = np.array([1.0, 2.0, 3.0, 50.0, np.inf])
    after = np.array([4.0, 6.0, 5.0, np.inf, 70.0])
    assert translating.gap_summary(before, after, np.array([9.0, np.inf, 7.0, 2.0])) == {
        "gap_untranslated_median": 2.0, "gap_translated_median": 5.0, "gap_real_median": 7.0,
        "found_untranslated": 0.8, "found_translated": 0.8, "found_real": 0.75,
    }  # fmt: skip
    lost = translating.gap_summary(before[:1], after[3:4], before[4:])
    assert [value for name, value in lost.items() if name.startswith("gap")] == [None] * 3
    assert [value for name, value in lost.items() if name.startswith("found")] == [1.0, 0.0, 0.0]


def test_real_persons_come_from_the_whole_training_set_one_an_image(finished: Finished) -> None:
    records = finished.ctx.read_split(finished.stage.data).records[:5]
    everybody = np.concatenate([record.boxes for record in records])
    persons = translating.single_persons(records, len(everybody) + 10)
    assert np.array_equal(np.concatenate([one.boxes for one in persons]), everybody)
    some = translating.single_persons(records, 3)
    assert [one.image_id for one in (some[0], some[2])] == [
        records[0].image_id,
        records[4].image_id,
    ]
    assert all(len(one.boxes) == 1 for one in some)
    assert translating.single_persons([], 3) == []


def test_the_real_median_is_the_gap_of_real_persons_by_the_detector_of_the_selection(
    finished: Finished,
) -> None:
    gaps = measure_domain_gap(
        load_detector(finished.stage.detector, finished.ctx),
        Gaussian.load(finished.folder / GAUSSIAN),
        translating.single_persons(finished.real, 4),
        finished.stage.method,
        finished.stage.inference,
        cache=finished.ctx.cache,
    )
    summary = finished.file(TRANSLATION)["summary"]
    assert summary["found_real"] == np.isfinite(gaps).mean() > 0
    assert summary["gap_real_median"] == pytest.approx(np.median(gaps[np.isfinite(gaps)]))


def test_nothing_is_compared_where_nothing_was_translated_or_no_gaussian_exists(
    finished: Finished,
) -> None:
    nothing = {"images": [], "summary": {}}
    as_drawn = dataclasses.replace(finished.stage, translator=Identity())
    assert finished.compare(as_drawn) == nothing
    assert finished.compare(reason="no real person crop is large enough") == nothing
    assert finished.compare(images=[]) == nothing  # the pool was used up
    own = Random(images_per_iteration=4)  # and so is any method whose measure is not PTL's
    assert finished.compare(dataclasses.replace(finished.stage, method=own)) == nothing
    assert finished.compare()["images"]
    (finished.folder / GAUSSIAN).unlink()
    assert finished.compare() == nothing


def test_a_worker_that_was_killed_before_the_comparison_makes_it_and_translates_nothing_again(
    finished: Finished, monkeypatch: pytest.MonkeyPatch
) -> None:
    def again(*_: object) -> Any:
        raise AssertionError("the pictures are there")

    monkeypatch.setattr(translating, "transform_images", again)
    store, key = finished.ctx.store, finished.stage.key
    expected = finished.file(TRANSLATION)
    plan = load_plan(next((store.root.parent / "sweeps").iterdir()))
    finished.folder.rename(store.work_folder(key))
    for name in (TRANSLATION, MANIFEST, MODEL, META):
        (store.work_folder(key) / name).unlink()
    assert run_stage(plan, key, should_stop=lambda: False, companion=Companion())
    assert finished.file(TRANSLATION) == expected
