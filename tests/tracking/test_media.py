"""Pictures, figures, pages and tables arrive in W&B as they were given; real SDK, offline."""

import json
from pathlib import Path

import numpy as np
import pytest
from helpers.local_runs import environment, finished_log, run_program

from ptl_sweep.tracking import MAX_IMAGES, ShownImage
from ptl_sweep.tracking.media import pictures

PROGRAM = """
import sys
from pathlib import Path
import numpy as np
from PIL import Image
from ptl_sweep.config.schema import TrackingConfig
from ptl_sweep.tracking import RunInfo, ShownImage, open_mirror

root = Path(sys.argv[1])
info = RunInfo(key="train-k", name="k", job_type="train", config={"seed": 0},
               tags=["sweep-1", "", "t" * 80])
Image.new("RGB", (4, 4)).save(root / "curve.png")
(root / "report.html").write_text("<html><body>grid</body></html>")
with open_mirror(TrackingConfig(), root=root, sweep="sweep-1", run=info) as mirror:
    truths = np.array([[1.0, 2.0, 9.0, 12.0]])
    found = np.array([[1.0, 2.0, 8.0, 11.0], [3.0, 3.0, 5.0, 6.0]])
    shown = [ShownImage(np.full((16, 16, 3), level, np.uint8), truths, found,
                        np.array([0.75, 0.5])) for level in range(12)]
    mirror.log_images("ptl/selected", shown)
    mirror.log_images("plain", [ShownImage(root / "curve.png", truths[:0])])
    mirror.log_figure("figure/curve", root / "curve.png")
    mirror.log_html("report", root / "report.html")
    mirror.table("grid/results", ["cell", "AP50"], [["a", 0.25], ["b", float("nan")]])
    mirror.log({"a": 1})
    mirror.update_config({"inputs": {"model": "model-train-k"}, "seed": 1})
    model = root / "model.bin"
    model.write_bytes(b"weights")
    print(mirror.artifact("model/train k", "model", [model], {"key": "train-k"}))
    print(mirror.artifact("again", "model", [model]))
    assert mirror.is_on
"""


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("media")
    done = run_program(PROGRAM, str(folder), env=environment(folder))
    assert done.returncode == 0, done.stderr
    (folder / "digests").write_text(done.stdout)
    finished_log(segment(folder))
    return folder


def segment(root: Path) -> Path:
    (found,) = root.glob("wandb/offline-run-*-train-k/*.wandb")
    return found


def media_folder(root: Path) -> Path:
    return segment(root).parent / "files" / "media"


def records(root: Path, kind: str) -> list:
    from wandb.proto import wandb_internal_pb2

    from ptl_sweep.tracking.transaction_log import records as raw_records

    parsed = [
        wandb_internal_pb2.Record.FromString(data)
        for data, _ in raw_records(segment(root).read_bytes())
    ]
    return [getattr(one, kind) for one in parsed if one.WhichOneof("record_type") == kind]


def test_media_make_no_step_of_their_own_when_a_row_follows(root: Path) -> None:
    (row,) = finished_log(segment(root)).rows
    names = {"ptl/selected", "plain", "figure/curve", "report", "grid/results", "a"}
    assert set(row) == names


def test_at_most_eight_pictures_are_shown_under_one_name(root: Path) -> None:
    assert finished_log(segment(root)).rows[0]["ptl/selected"]["count"] == MAX_IMAGES
    assert len(list((media_folder(root) / "images" / "ptl").glob("selected_*.png"))) == MAX_IMAGES


def test_ground_truth_and_detections_are_layers_and_detections_carry_their_score(
    root: Path,
) -> None:
    (boxes,) = finished_log(segment(root)).rows[0]["ptl/selected"]["all_boxes"][:1]
    layers = {
        name: json.loads((segment(root).parent / "files" / layer["path"]).read_text())["box_data"]
        for name, layer in boxes.items()
    }
    (truth,) = layers["ground_truth"]
    assert truth["position"] == {"minX": 1.0, "minY": 2.0, "maxX": 9.0, "maxY": 12.0}
    assert [box["scores"] for box in layers["detections"]] == [{"score": 0.75}, {"score": 0.5}]
    assert [box["box_caption"] for box in layers["detections"]] == ["0.75", "0.50"]


def test_a_page_arrives_unchanged(root: Path) -> None:
    (page,) = (media_folder(root) / "html").rglob("*.html")
    assert page.read_text() == (root / "report.html").read_text()


def test_a_table_may_mix_numbers_and_nothing(root: Path) -> None:
    (table,) = (media_folder(root) / "table").rglob("*.table.json")
    assert json.loads(table.read_text())["data"] == [["a", 0.25], ["b", None]]


def test_an_artifact_names_its_file_and_carries_metadata_and_its_digest(root: Path) -> None:
    (model,) = [made for made in records(root, "artifact") if made.name == "model-train-k"]
    assert [entry.path for entry in model.manifest.contents] == ["model.bin"]
    assert json.loads(model.metadata) == {"key": "train-k"}
    digest, same_content = (root / "digests").read_text().split()
    assert model.digest == digest == same_content


def test_config_that_was_given_later_is_added_or_replaced(root: Path) -> None:
    changed: dict = {}
    for record in records(root, "config"):
        for item in record.update:
            changed[item.key or "/".join(item.nested_key)] = json.loads(item.value_json)
    assert changed["inputs"] == {"model": "model-train-k"}
    assert changed["seed"] == 1


def test_tags_are_cut_to_what_wandb_accepts_and_empty_ones_left_out(root: Path) -> None:
    (run,) = records(root, "run")[:1]
    assert list(run.tags) == ["sweep-1", "t" * 64]


def test_scores_and_detections_must_agree_in_number() -> None:
    box = np.array([[1.0, 2.0, 9.0, 12.0]])
    image = ShownImage(np.zeros((16, 16, 3), np.uint8), box, box, np.array([0.5, 0.5]))
    with pytest.raises(ValueError, match=r"shorter|longer"):
        pictures([image])
