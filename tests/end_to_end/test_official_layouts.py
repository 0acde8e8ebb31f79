"""From data as their owners ship them to the results of a sweep: VisDrone to all five targets."""

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import safetensors.torch
import torch
from helpers.closeness import assert_boxes_close
from helpers.official_layouts import IGNORED, POOL_PATTERN, write_layouts

from ptl_sweep.__main__ import main
from ptl_sweep.compose.compose import compose_grid
from ptl_sweep.compose.leakage import (
    require_clean_validation,
    require_held_out,
    require_separate,
    shared_images,
)
from ptl_sweep.config.schema import Config, ConfigError, TilingConfig
from ptl_sweep.datasets.images import ImageCache
from ptl_sweep.datasets.registry import read_split
from ptl_sweep.datasets.subsets import real_subset
from ptl_sweep.detection.detector import build_detector
from ptl_sweep.detection.inference import detect_records
from ptl_sweep.detection.pixels import View
from ptl_sweep.detection.table import DetectionTable, load_detections
from ptl_sweep.pipeline.plan import Plan, load_plan
from ptl_sweep.stages.train import MANIFEST, MODEL

TARGETS = ("visdrone", "okutama", "icg", "heridal", "sard")
GRID = (
    "dataset=visdrone", "pool=archangel", f"target={','.join(TARGETS)}", "synthetic=off,on",
    "real_count=3", "seed=0", "tiling.size=200", "tiling.overlap=32",
)  # fmt: skip


class Study(NamedTuple):
    """A finished sweep over data in official layouts."""

    layouts: Any  # of official_layouts.py
    arguments: list[str]
    plan: Plan
    cells: dict[str, Config]  # by target

    def evaluations(self, target: str) -> Iterator[DetectionTable]:
        """Of the detector with real pictures alone, then of the one with virtual ones."""
        for key, stage in self.plan.stages.items():
            if stage.kind == "evaluate" and stage.label.endswith(f"-{target}"):
                yield load_detections(self.plan.store.path(key))

    def manifests(self) -> list[dict[str, Any]]:
        """What every stage that trains was trained on."""
        folders = [
            self.plan.store.path(key)
            for key, stage in self.plan.stages.items()
            if stage.kind in ("train", "ptl")
        ]
        return [json.loads((folder / MANIFEST).read_text()) for folder in folders]


@pytest.fixture(scope="module")
def layouts(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Every data set of the study, tiny, and a manifest that the verb wrote for the pool."""
    written = write_layouts(tmp_path_factory.mktemp("data"))
    pattern = f"--pattern={POOL_PATTERN}"
    assert main(["manifest", str(written.root / "archangel"), pattern]) == 0
    return written


@pytest.fixture(scope="module")
def study(layouts: Any, tiny: list[str], tmp_path_factory: pytest.TempPathFactory) -> Study:
    """One sweep through the command line: 10 cells, trained for real."""
    root = tmp_path_factory.mktemp("study")
    arguments = [*GRID, *tiny, f"data_root={layouts.root}", f"sweep.root={root}"]
    before = torch.are_deterministic_algorithms_enabled(), torch.get_num_threads()
    assert main(["-m", *arguments]) == 0
    torch.use_deterministic_algorithms(before[0])
    torch.set_num_threads(before[1])
    (folder,) = (root / "sweeps").iterdir()
    cells = {config.target.name: config for config in compose_grid(arguments)}
    return Study(layouts, arguments, load_plan(folder), cells)


def test_every_cell_from_visdrone_to_the_five_targets_has_a_result(study: Study) -> None:
    with (study.plan.folder / "results.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["status"] for row in rows] == ["ok"] * 10
    assert {(row["dataset"], row["target"]) for row in rows} == {
        ("visdrone", target) for target in TARGETS
    }
    assert all(0 <= float(row["AP50"]) <= 1 for row in rows)
    assert (study.plan.folder / "report.html").is_file()


@pytest.mark.parametrize("target", TARGETS)
def test_every_person_and_image_that_was_written_is_evaluated(study: Study, target: str) -> None:
    for table in study.evaluations(target):
        assert table.num_truths == study.layouts.num_persons[target] > 0
        assert table.num_images == study.layouts.num_images[target]


def test_detections_in_ignored_regions_count_neither_way(study: Study) -> None:
    left, top, right, bottom = IGNORED
    for table in study.evaluations("visdrone"):
        x1, y1, x2, y2 = table.boxes.T.astype(np.float64)
        width = np.minimum(x2, right) - np.maximum(x1, left)
        height = np.minimum(y2, bottom) - np.maximum(y1, top)
        share = width.clip(0) * height.clip(0) / ((x2 - x1) * (y2 - y1))
        clear = np.abs(share - 0.5) > 1e-3  # of rounding
        assert np.array_equal(table.ignored[clear], share[clear] >= 0.5)
        assert 0 < table.ignored.sum() < len(table.ignored)
        assert not table.counted[table.ignored & ~table.true_positive].any()


@pytest.mark.parametrize("target", TARGETS)
def test_heridal_alone_is_searched_in_tiles(study: Study, target: str) -> None:
    config = study.cells[target]
    stored, _ = study.evaluations(target)
    in_tiles = detected(study, config, config.tiling)
    assert in_tiles.shape == stored.boxes.shape
    assert_boxes_close(in_tiles, stored.boxes)
    whole = detected(study, config, TilingConfig())
    assert np.array_equal(whole, in_tiles) == (target != "heridal")


def detected(study: Study, config: Config, tiling: TilingConfig) -> np.ndarray:
    """Boxes on the config's target by the detector of real pictures, with another tiling."""
    (key,) = (key for key, stage in study.plan.stages.items() if stage.kind == "train")
    detector = build_detector(config.detector, torch.Generator().manual_seed(0))
    detector.load_state_dict(safetensors.torch.load_file(study.plan.store.path(key) / MODEL))
    found = detect_records(
        detector,
        read_split(config.target, config.target.split).records,
        config.evaluate,
        cache=ImageCache(2**24),
        view=View(None, tiling),
    )
    return np.concatenate([one.boxes.numpy() for one in found])


def test_the_drawn_images_stand_in_the_manifest_of_every_training_stage(study: Study) -> None:
    source = read_split(study.cells["sard"].dataset, "train").records
    drawn = [record.image_id for record in real_subset(source, 3, seed=0)]
    assert [manifest["real"] for manifest in study.manifests()] == [drawn, drawn]
    persons = {record.image_id: len(record.boxes) for record in source}
    assert [name for name, count in persons.items() if not count] == ["0000001_00005_d_0000005"]
    assert all(persons[name] for name in drawn)
    with pytest.raises(ConfigError, match=r"real_count=12 .* than have a person \(11 of 12\)"):
        real_subset(source, 12, seed=0)


def test_no_subset_holds_an_image_of_the_validation_split(study: Study) -> None:
    config = study.cells["visdrone"]
    source, held_back = (read_split(config.dataset, split) for split in ("train", "validation"))
    assert shared_images(source, held_back) == []
    assert {r.image_id for r in source.records} & {r.image_id for r in held_back.records}  # names
    assert shared_images(source, source) == [record.image_id for record in source.records]


def test_check_of_the_papers_grid_reads_every_set_once(
    layouts: Any, run: Any, tmp_path: Path
) -> None:
    command = [
        "check", "experiment=paper", f"data_root={layouts.root}", f"sweep.root={tmp_path}",
        "real_count=3",
    ]  # fmt: skip
    outcome = run(*command, "--json", "--sheet", str(tmp_path / "sheets"))
    sets = json.loads(outcome.output)
    assert outcome.code == 0
    assert [(entry["role"], entry["name"]) for entry in sets] == [
        ("dataset", "visdrone"), ("validation", "visdrone-validation"), ("target", "heridal"),
        ("target", "icg"), ("target", "okutama"), ("target", "sard"), ("pool", "archangel"),
    ]  # fmt: skip
    for entry in sets:
        assert entry["error"] is None
        assert 0 < entry["matched_share"] <= 1
        assert entry["role"] == "validation" or Path(entry["sheet"]).is_file()
        if entry["role"] == "target":
            assert entry["num_persons"] == layouts.num_persons[entry["name"]]
    assert sets[0]["drops"] == {"other category": 1}
    lines = run(*command).output.splitlines()
    assert max(map(len, lines)) <= 100
    (tmp_path / "empty").mkdir()
    outcome = run("check", "experiment=paper", f"data_root={tmp_path / 'empty'}")
    assert outcome.code == 1
    assert outcome.output.count("ERROR ") == 7


def test_images_that_training_may_have_seen_are_no_target(
    layouts: Any, run: Any, tiny: list[str], tmp_path: Path
) -> None:
    command = [
        "-m", "dataset=visdrone", "real_count=3", "synthetic=off", "seed=0",
        f"data_root={layouts.root}", f"sweep.root={tmp_path}",
    ]  # fmt: skip
    outcome = run(*command, "target=visdrone", "target.split=train")
    assert outcome.code == 2
    assert "target visdrone (train) shares images with visdrone (train)" in outcome.errors
    assert "use target=source" in outcome.errors
    assert not (tmp_path / "sweeps").exists()
    toy = ["-m", "real_count=3", "synthetic=off", "target=field", f"sweep.root={tmp_path}"]
    outcome = run(*toy, "target.domain=town", "target.split=train")
    assert "target field (train) shares images with miniature (train)" in outcome.errors
    for target in ("visdrone", "source"):
        config = compose_grid([*command[1:], f"target={target}"])[0]
        require_separate(config.dataset, config.target)
        require_clean_validation(config.dataset)
        require_held_out(config.dataset, config.target)
