"""`predict`: the numbers of the evaluation on any folder of pictures, and files that tools read."""

import contextlib
import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from helpers.closeness import assert_distances_close, assert_scored_boxes_close
from helpers.stores import contents
from helpers.sweeps import Sweep
from PIL import Image
from pycocotools.coco import COCO

from ptl_sweep.config.schema import InferenceConfig, TilingConfig
from ptl_sweep.datasets.images import ImageCache, decode
from ptl_sweep.detection.inference import detect_records
from ptl_sweep.detection.pixels import View
from ptl_sweep.detection.table import load_detections
from ptl_sweep.predict.pictures import Picture, PictureReader
from ptl_sweep.predict.published import PublishedDetector

Files = dict[str, bytes]


def files_below(folder: Path) -> Files:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def arrays(document: Any) -> dict[str, np.ndarray]:
    """Columns of all annotations; boxes as corners."""
    rows = document["annotations"]
    sized = np.array([row["bbox"] for row in rows]).reshape(-1, 4)
    return {
        "image": np.array([row["image_id"] for row in rows]) - 1,
        "boxes": np.concatenate([sized[:, :2], sized[:, :2] + sized[:, 2:]], axis=1),
        "score": np.array([row["score"] for row in rows]),
        "distance": np.array([row["train2test_distance"] for row in rows]),
    }


def test_a_target_gets_the_boxes_scores_and_distances_that_its_evaluation_has(
    predict: Callable, document: Callable, target: Any, tiny_sweep: Sweep, tmp_path: Path
) -> None:
    results = pl.read_csv(tiny_sweep.plan.folder / "results.csv")
    assert len(target.readings) == 2  # off and on
    for reading in target.readings:
        shutil.rmtree(tmp_path / "out", ignore_errors=True)
        assert predict(reading.detector, target.pictures).code == 0
        table = load_detections(tiny_sweep.plan.store.path(reading.evaluate))
        names = [Path(image["file_name"]).stem for image in document()["images"]]
        assert names == [image.image_id for image in table.images]
        found = arrays(document())
        assert len(found["score"]) == len(table.score) > 20
        for image in range(table.num_images):
            ours, theirs = found["image"] == image, table.image == image
            assert_scored_boxes_close(
                torch.from_numpy(found["boxes"][ours]).float(),
                torch.from_numpy(found["score"][ours]).float(),
                torch.from_numpy(table.boxes[theirs]),
                torch.from_numpy(table.score[theirs]),
            )
        (row,) = results.filter(pl.col("evaluate_key") == reading.evaluate).to_dicts()
        distance, counted = found["distance"][table.featured], table.counted[table.featured]
        hit = table.true_positive[table.featured]
        for kind, chosen in (("tp", hit), ("fp", counted & ~hit)):
            for name, statistic in (("mean", np.mean), ("median", np.median)):
                expected = row[f"t2t_{kind}_{name}_shrunk"]
                if not chosen.any():
                    assert expected is None
                    continue
                assert_distances_close(statistic(distance[chosen]), np.float64(expected))
        assert document()["info"]["train2test_distance"]["num_features"] == row["gaussian_n"]


def test_pycocotools_reads_both_files_and_finds_every_detection(
    predict: Callable, document: Callable, target: Any, tmp_path: Path
) -> None:
    assert predict(target.readings[0].detector, target.pictures, "--no-pictures").code == 0
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO(str(tmp_path / "out" / "detections.json"))
        found = coco.loadRes(str(tmp_path / "out" / "results.json"))
    wanted = document()
    assert found.getImgIds() == [image["id"] for image in wanted["images"]]
    assert found.loadCats(found.getCatIds())[0]["name"] == "person"
    for kept, own in zip(found.loadAnns(found.getAnnIds()), wanted["annotations"], strict=True):
        keys = ("image_id", "category_id", "bbox", "score", "train2test_distance", "iscrowd")
        assert {key: kept[key] for key in keys} == {key: own[key] for key in keys}
        assert kept["area"] == pytest.approx(own["area"])
    assert not (tmp_path / "out" / "pictures").exists()


def test_the_same_command_gives_the_same_files_and_replaces_what_it_wrote(
    predict: Callable, target: Any, tmp_path: Path
) -> None:
    pictures = tmp_path / "mine"
    shutil.copytree(target.pictures, pictures)
    before = contents(pictures)
    runs = []
    for _ in range(2):
        assert predict(target.readings[0].detector, pictures).code == 0
        runs.append(files_below(tmp_path / "out"))
    assert runs[0] == runs[1]
    assert contents(pictures) == before
    gone = sorted(pictures.iterdir())[0]
    gone.unlink()
    assert predict(target.readings[0].detector, pictures).code == 0
    names = set(files_below(tmp_path / "out"))
    assert set(runs[0]) - names == {f"pictures/{gone.name}"}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine", "out"]


def test_folders_are_kept_and_a_damaged_picture_costs_itself_alone(
    predict: Callable, document: Callable, target: Any, tmp_path: Path, caplog: Any
) -> None:
    pictures = tmp_path / "mine"
    one, two, *_ = sorted(target.pictures.iterdir())
    (pictures / "deep" / "er").mkdir(parents=True)
    shutil.copy(one, pictures / "a.png")
    shutil.copy(two, pictures / "deep" / "er" / "a.png")
    (pictures / "deep" / "torn.png").write_bytes(one.read_bytes()[:-2000])
    (pictures / "notes.txt").write_text("no picture")
    outcome = predict(target.readings[0].detector, pictures)
    assert outcome.code == 1
    assert "skipped     1 picture that cannot be read: deep/torn.png" in outcome.output
    assert f"skipped {pictures / 'deep' / 'torn.png'}: is not a complete JPEG" in caplog.text
    found = document()
    assert [image["file_name"] for image in found["images"]] == ["a.png", "deep/er/a.png"]
    assert [one["file_name"] for one in found["skipped"]] == ["deep/torn.png"]
    assert set(files_below(tmp_path / "out" / "pictures")) == {"a.png", "deep/er/a.png"}
    json_outcome = predict(target.readings[0].detector, pictures, "--json")
    told = json.loads(json_outcome.output)
    assert (told["images"], told["skipped"][0]["file_name"]) == (2, "deep/torn.png")


def test_one_picture_turned_by_exif_has_the_detections_of_the_upright_one(
    predict: Callable, document: Callable, target: Any, tmp_path: Path
) -> None:
    original = Image.open(sorted(target.pictures.iterdir())[0]).crop((0, 0, 128, 96))
    exif = Image.Exif()
    exif[0x0112] = 6  # shown turned by 90 degrees clockwise
    original.save(tmp_path / "turned.png", exif=exif)
    original.rotate(-90, expand=True).save(tmp_path / "upright.png")
    found = []
    for name in ("turned.png", "upright.png"):
        shutil.rmtree(tmp_path / "out", ignore_errors=True)
        assert predict(target.readings[0].detector, tmp_path / name).code == 0
        found.append(document())
    one, other = found
    assert (one["images"][0]["width"], one["images"][0]["height"]) == (96, 128)
    assert one["annotations"] == other["annotations"] != []


@pytest.mark.parametrize("by", ["key", "prefix", "evaluate", "cell", "cell of a sweep"])
def test_a_detector_is_named_by_its_key_by_an_evaluation_or_by_a_cell(
    by: str, predict: Callable, target: Any, tiny_sweep: Sweep
) -> None:
    picture = sorted(target.pictures.iterdir())[0]
    reading = target.readings[1]  # synthetic=on
    words = {
        "key": [reading.detector],
        "prefix": ["ptl-"],
        "evaluate": [reading.evaluate],
        "cell": ["synthetic=ptl"],
        "cell of a sweep": ["seed=0", "synthetic=on", "--sweep", tiny_sweep.plan.name],
    }[by]
    outcome = predict(*words, picture, "--json", "--no-pictures")
    assert (outcome.code, json.loads(outcome.output)["stage"]) == (0, reading.detector)


def test_pictures_of_any_size_keep_their_own_detections(
    predict: Callable, document: Callable, target: Any, tmp_path: Path
) -> None:
    pictures = tmp_path / "mine"
    pictures.mkdir()
    original = Image.open(sorted(target.pictures.iterdir())[0])
    sizes = [(128, 128), (128, 96), (128, 96), (80, 128), (128, 128), (33, 17)]
    for index, size in enumerate(sizes):
        original.crop((0, 0, *size)).save(pictures / f"{index}.png")
    assert predict(target.readings[0].detector, pictures, "--threads", "2").code == 0
    assert torch.get_num_threads() == 2
    found = document()
    assert [(image["width"], image["height"]) for image in found["images"]] == sizes
    alone = []
    for index in range(len(sizes)):
        shutil.rmtree(tmp_path / "out")
        assert predict(target.readings[0].detector, pictures / f"{index}.png").code == 0
        alone.append(arrays(document()))
    together = arrays(found)
    for index, one in enumerate(alone):
        own = together["image"] == index
        assert_scored_boxes_close(
            *(torch.from_numpy(together[name][own]).float() for name in ("boxes", "score")),
            *(torch.from_numpy(one[name]).float() for name in ("boxes", "score")),
        )


def test_without_out_the_stage_and_the_folder_name_where_it_lies(
    run: Any, tiny_sweep: Sweep, copy_of: Callable, target: Any
) -> None:
    sweep, key = copy_of(tiny_sweep), target.readings[0].detector
    shutil.rmtree(sweep.root / "sweeps")  # the store is enough
    picture = sorted(target.pictures.iterdir())[0]
    for place, name in ((target.pictures, "field"), (picture, picture.stem)):
        assert run("predict", key, str(place), f"sweep.root={sweep.root}").code == 0
        names = {path.name for path in (sweep.root / "predictions" / key / name).iterdir()}
        assert names == {"detections.json", "results.json", "pictures"}


def test_memory_holds_the_pictures_of_one_batch(target: Any, tiny_sweep: Sweep) -> None:
    stage = PublishedDetector.open(tiny_sweep.plan.store, target.readings[0].detector)
    one = sorted(target.pictures.iterdir())[0]
    asked: list[int] = []

    def pictures() -> Any:
        for index in range(20):
            asked.append(index)
            yield Picture(one, f"{index}.png")

    reader = PictureReader()
    inference = InferenceConfig(batch_size=4)
    view = View(None, TilingConfig())
    found = detect_records(
        stage.load(torch.device("cpu")),
        reader.records(pictures()),
        inference,
        cache=ImageCache(0),
        view=view,
    )
    ahead = []
    for index, _ in enumerate(found):
        assert reader.take().image_id == f"{index}.png"
        ahead.append(len(asked) - index)
    assert len(ahead) == 20
    assert max(ahead) <= 4 + 2


def test_boxes_of_the_wanted_score_are_drawn_around_what_they_show(
    predict: Callable, document: Callable, target: Any, tmp_path: Path
) -> None:
    picture = sorted(target.pictures.iterdir())[0]
    before = decode(picture)

    def drawn(score: float) -> Any:
        assert predict(target.readings[0].detector, picture, "--score", score).code == 0
        return decode(tmp_path / "out" / "pictures" / picture.name)

    assert (drawn(1.0) == before).all()
    best = document()["annotations"][0]
    assert best["score"] == max(row["score"] for row in document()["annotations"])
    second = document()["annotations"][1]["score"]
    after = drawn((best["score"] + second) / 2)
    x, y, width, height = best["bbox"]
    left, top, right, bottom = int(x), int(y), int(np.ceil(x + width)), int(np.ceil(y + height))
    inside = np.s_[top:bottom, left:right]
    assert (after[inside] == before[inside]).all()
    changed = (after != before).any(axis=2)
    assert changed[max(top - 1, 0) : bottom + 1, max(left - 1, 0) : right + 1].any()
    assert changed.sum() < 0.2 * changed.size
