"""Small exports as the usual tools write them: pictures of 200 x 160 with a person in each."""

import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

WIDTH, HEIGHT = 200, 160
NUM_IMAGES = 16
CLASSES = ("Pedestrian", "car")  # of which one is called like a person


class Picture(NamedTuple):
    """One labelled picture: a person and a car."""

    name: str  # of its file, with suffix
    boxes: tuple[tuple[int, int, int, int], ...]  # x, y, width, height, one for each class


class Export(NamedTuple):
    """How a tool writes a data set, and what is found in it."""

    write: Callable[[Path, int], None]  # (folder, seed)
    source: dict[str, object]  # keys of conf/dataset/NAME.yaml
    target: dict[str, object]


def _pictures(seed: int, names: Sequence[str]) -> Iterator[tuple[Picture, Image.Image]]:
    rng = np.random.default_rng(seed)
    for name in names:
        pixels = rng.integers(90, 150, (HEIGHT, WIDTH, 3), np.uint8)
        x, y = int(rng.integers(10, 90)), int(rng.integers(10, 100))
        boxes = ((x, y, 14, 34), (x + 40, y + 10, 40, 20))
        for (left, top, width, height), colour in zip(
            boxes, ((20, 20, 60), (220, 40, 40)), strict=True
        ):
            pixels[top : top + height, left : left + width] = colour
        yield Picture(name, boxes), Image.fromarray(pixels)


def _scenes(count: int = NUM_IMAGES, suffix: str = ".jpg") -> list[str]:
    """Names of pictures that are not neighbours: each a scene."""
    return [f"frame_{3 * number:06}{suffix}" for number in range(count)]


def _save(image: Image.Image, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, quality=95)


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def _coco(pictures: Sequence[Picture], path: Path, first_id: int) -> None:
    names = ("objects", *CLASSES) if first_id == 0 else CLASSES  # Roboflow: a super-category first
    content = {
        "images": [
            {"id": n, "file_name": picture.name, "width": WIDTH, "height": HEIGHT}
            for n, picture in enumerate(pictures, first_id)
        ],
        "categories": [{"id": n, "name": name} for n, name in enumerate(names, first_id)],
        "annotations": [
            {"id": 2 * n + kind, "image_id": n, "category_id": 1 + kind, "bbox": list(box),
             "area": box[2] * box[3], "iscrowd": 0, "segmentation": []}
            for n, picture in enumerate(pictures, first_id)
            for kind, box in enumerate(picture.boxes)
        ],
    }  # fmt: skip
    _write(path, json.dumps(content))


def _yolo_rows(picture: Picture) -> str:
    return "".join(
        f"{kind} {(x + w / 2) / WIDTH:.6f} {(y + h / 2) / HEIGHT:.6f} {w / WIDTH:.6f} "
        f"{h / HEIGHT:.6f}\n"
        for kind, (x, y, w, h) in enumerate(picture.boxes)
    )


def _roboflow_names(split: str, count: int, first: int) -> list[str]:
    """As Roboflow names the versions of an original: 20 letters and digits that differ."""
    return [
        f"clip-{3 * (first + n):04}_jpg.rf.{split[:1]}{n:02}SaptniQRRWmG0fIg.jpg"
        for n in range(count)
    ]


def _roboflow_parts(first_of_valid: int) -> dict[str, list[str]]:
    return {
        "train": _roboflow_names("train", NUM_IMAGES - 4, 0),
        "valid": _roboflow_names("valid", 4, first_of_valid),
        "test": _roboflow_names("x", 4, NUM_IMAGES),
    }


def roboflow_coco(root: Path, seed: int, first_of_valid: int = NUM_IMAGES - 4) -> None:
    """`train/`, `valid/` and `test/`, each with `_annotations.coco.json`."""
    for number, (split, names) in enumerate(_roboflow_parts(first_of_valid).items()):
        pictures = list(_pictures(10 * seed + number, names))
        for picture, image in pictures:
            _save(image, root / split / picture.name)
        _coco([one for one, _ in pictures], root / split / "_annotations.coco.json", 0)
    _write(root / "README.roboflow.txt", "exported\n")


def roboflow_coco_with_copies(root: Path, seed: int) -> None:
    """Augmented before it was divided: valid shows four originals of train; no test part."""
    roboflow_coco(root, seed, first_of_valid=0)
    shutil.rmtree(root / "test")


def roboflow_yolo(root: Path, seed: int) -> None:
    """`data.yaml`, `train/images`, `train/labels` and so on."""
    for number, (split, names) in enumerate(_roboflow_parts(NUM_IMAGES - 4).items()):
        for picture, image in _pictures(10 * seed + number, names):
            _save(image, root / split / "images" / picture.name)
            label = Path(picture.name).with_suffix(".txt").name
            _write(root / split / "labels" / label, _yolo_rows(picture))
    _write(
        root / "data.yaml",
        "train: ../train/images\nval: ../valid/images\ntest: ../test/images\n\n"
        f"nc: 2\nnames: ['{CLASSES[0]}', '{CLASSES[1]}']\n",
    )


def cvat_coco(root: Path, seed: int) -> None:
    """COCO 1.0: one file, `instances_default.json`."""
    pictures = list(_pictures(seed, _scenes()))
    for picture, image in pictures:
        _save(image, root / "images" / "default" / picture.name)
    _coco([one for one, _ in pictures], root / "annotations" / "instances_default.json", 1)


def cvat_yolo(root: Path, seed: int) -> None:
    """YOLO 1.1: labels beside the images, a list, obj.data and obj.names."""
    names = _scenes()
    for picture, image in _pictures(seed, names):
        _save(image, root / "obj_train_data" / picture.name)
        label = Path(picture.name).with_suffix(".txt").name
        _write(root / "obj_train_data" / label, _yolo_rows(picture))
    _write(root / "train.txt", "".join(f"data/obj_train_data/{name}\n" for name in names))
    _write(root / "obj.names", "\n".join(CLASSES) + "\n")
    _write(
        root / "obj.data",
        "classes = 2\ntrain = data/train.txt\nnames = data/obj.names\nbackup = backup/\n",
    )


def cvat_ultralytics(root: Path, seed: int) -> None:
    """Ultralytics YOLO Detection 1.0: data.yaml names a list."""
    names = _scenes()
    for picture, image in _pictures(seed, names):
        _save(image, root / "images" / "train" / picture.name)
        label = Path(picture.name).with_suffix(".txt").name
        _write(root / "labels" / "train" / label, _yolo_rows(picture))
    _write(root / "train.txt", "".join(f"data/images/train/{name}\n" for name in names))
    _write(
        root / "data.yaml",
        f"names:\n  0: {CLASSES[0]}\n  1: {CLASSES[1]}\npath: .\ntrain: train.txt\n",
    )


def cvat_voc(root: Path, seed: int) -> None:
    """Pascal VOC 1.1: the list is called default."""
    names = _scenes()
    for picture, image in _pictures(seed, names):
        _save(image, root / "JPEGImages" / picture.name)
        objects = "".join(
            f"<object><name>{name}</name><truncated>0</truncated><difficult>0</difficult><bndbox>"
            f"<xmin>{x}.0</xmin><ymin>{y}.0</ymin><xmax>{x + w}.0</xmax><ymax>{y + h}.0</ymax>"
            "</bndbox></object>"
            for name, (x, y, w, h) in zip(CLASSES, picture.boxes, strict=True)
        )
        _write(
            root / "Annotations" / Path(picture.name).with_suffix(".xml").name,
            f"<annotation><folder></folder><filename>{picture.name}</filename><size><width>{WIDTH}"
            f"</width><height>{HEIGHT}</height><depth></depth></size>{objects}</annotation>",
        )
    lines = "".join(f"{Path(name).stem}\n" for name in names)
    _write(root / "ImageSets" / "Main" / "default.txt", lines)
    _write(root / "labelmap.txt", "# label:color_rgb:parts:actions\n")


def visdrone(root: Path, seed: int) -> None:
    """VisDrone-DET: train and val, sequences in the first seven digits."""
    for number, (part, count) in enumerate((("train", NUM_IMAGES), ("val", 6))):
        folder = root / f"VisDrone2019-DET-{part}"
        names = [f"{number * 100 + n:07}_00001_d_{n:07}.jpg" for n in range(count)]
        for picture, image in _pictures(10 * seed + number, names):
            _save(image, folder / "images" / picture.name)
            rows = [
                f"{x},{y},{w},{h},1,{category},0,0"
                for category, (x, y, w, h) in zip((1, 4), picture.boxes, strict=True)
            ]
            label = Path(picture.name).with_suffix(".txt").name
            _write(folder / "annotations" / label, "\r\n".join([*rows, ""]))


def cutouts(root: Path) -> None:
    """Six figures with transparency."""
    root.mkdir(parents=True)
    for number in range(6):
        pixels = np.zeros((48, 24, 4), np.uint8)
        pixels[4:44, 6:18] = (40 * number, 60, 200, 255)
        Image.fromarray(pixels).save(root / f"figure{number}.png")


SHARES = [0.8, 0.2, 0.0]
DIVIDED: dict[str, object] = {
    "split": "train", "validation_split": "validation", "scene_fractions": SHARES,
}  # fmt: skip
OWN: dict[str, object] = {"split": "train", "validation_split": "validation"}

EXPORTS: dict[str, Export] = {
    "Roboflow, COCO": Export(
        roboflow_coco, {"reader": "coco", **OWN}, {"reader": "coco", "split": "test"}
    ),
    "Roboflow, COCO, copies in two parts": Export(
        roboflow_coco_with_copies,
        {"reader": "coco", **DIVIDED, "resplit": True},
        {"reader": "coco", "split": "validation"},
    ),
    "Roboflow, YOLO": Export(
        roboflow_yolo, {"reader": "yolo", **OWN}, {"reader": "yolo", "split": "test"}
    ),
    "CVAT, COCO 1.0": Export(
        cvat_coco, {"reader": "coco", **DIVIDED}, {"reader": "coco", "split": "all"}
    ),
    "CVAT, YOLO 1.1": Export(
        cvat_yolo,
        {"reader": "yolo", **DIVIDED, "resplit": True},
        {"reader": "yolo", "split": "train"},
    ),
    "CVAT, Ultralytics YOLO": Export(
        cvat_ultralytics,
        {"reader": "yolo", **DIVIDED, "resplit": True},
        {"reader": "yolo", "split": "train"},
    ),
    "CVAT, Pascal VOC 1.1": Export(
        cvat_voc, {"reader": "voc", **DIVIDED}, {"reader": "voc", "split": "all"}
    ),
    "VisDrone-DET": Export(
        visdrone, {"reader": "visdrone", **OWN}, {"reader": "visdrone", "split": "validation"}
    ),
}
