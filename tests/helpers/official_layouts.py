"""Tiny data sets in the layouts in which their owners ship them, with pictures to learn from.

Every picture is one of the miniature world's, so that a person looks like a person.
"""

import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from ptl_sweep.datasets.miniature.domains import DOMAINS
from ptl_sweep.datasets.miniature.scene import render_scene
from ptl_sweep.datasets.readers.icg import BOXES

LABEL_SCALE = 30  # Okutama's labels are drawn at 3840x2160, the frames here have 128x72
POSTURES = ("Standing", "Walking", "Running", "Sitting", "Lying", "Not Defined")
POOL_PATTERN = (
    r"images/(?P<character>\w+)_(?P<pose>\w+)_(?P<altitude_m>\d+)_(?P<radius_m>\d+)"
    r"_(?P<pitch_deg>\d+)_\d+"
)
IGNORED = (0, 0, 64, 128)  # region of every VisDrone validation image: its left half


class Layouts(NamedTuple):
    """What was written; counts by name of the target."""

    root: Path
    num_images: dict[str, int]  # with an annotation of their own, also an empty one
    num_persons: dict[str, int]


class Picture(NamedTuple):
    """A picture and its persons, xyxy pixels, all whole numbers."""

    pixels: np.ndarray
    boxes: list[tuple[int, int, int, int]]
    mask: np.ndarray  # of the first person


def draw(domain: str, index: int, size: tuple[int, int]) -> Picture:
    """Picture `index` of a domain, cut to `size`; persons that the cut hides have no box."""
    side = max(size)
    scene = render_scene(domain, 0, index, side, DOMAINS[domain].altitude_m)
    left, top = (side - size[0]) // 2, (side - size[1]) // 2
    window = np.s_[top : top + size[1], left : left + size[0]]
    cut = np.clip(scene.boxes - [left, top, left, top], 0, [*size, *size])
    seen = (cut[:, 2:] - cut[:, :2] >= 6).all(1)
    boxes = [tuple(int(side) for side in box) for box in cut[seen]]
    return Picture(scene.image[window], boxes, scene.masks[0][window])


def draw_several(domain: str, size: tuple[int, int], count: int) -> list[Picture]:
    """The first `count` pictures that show a person."""
    drawn = (draw(domain, index, size) for index in range(100))
    return [picture for picture in drawn if picture.boxes][:count]


def save(pixels: np.ndarray, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    file_format = "PNG" if path.suffix == ".png" else "JPEG"
    Image.fromarray(pixels).save(path, format=file_format, quality=95)


def write_text(path: Path, *lines: str, end: str = "\n") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes("".join(f"{line}{end}" for line in lines).encode())


def write_visdrone(root: Path) -> tuple[int, int]:
    """13 training images, one without a person; 4 validation images with an ignored region."""
    car = _visdrone_row((5, 5, 40, 30), category=4)
    pictures = draw_several("town", (128, 128), 16)
    nobody = Picture(np.full((128, 128, 3), 120, np.uint8), [], np.zeros((0, 0)))
    for index, picture in enumerate([*pictures[:5], nobody, *pictures[5:12]]):
        rows = [_visdrone_row(box, category=1 + index % 2) for box in picture.boxes] or [car]
        _write_visdrone_image(root / "VisDrone2019-DET-train", index, picture.pixels, rows)
    kept = 0
    for index, picture in enumerate(pictures[12:]):
        right = [box for box in picture.boxes if box[0] >= IGNORED[2]]
        rows = [_visdrone_row(box, category=2) for box in right]
        region = "{},{},{},{},0,0,0,0".format(*IGNORED)
        _write_visdrone_image(
            root / "VisDrone2019-DET-val", index, picture.pixels, [region, *rows, car]
        )
        kept += len(right)
    return 4, kept


def _visdrone_row(box: tuple[int, int, int, int], category: int) -> str:
    left, top, right, bottom = box
    return f"{left},{top},{right - left},{bottom - top},1,{category},0,1"


def _write_visdrone_image(folder: Path, index: int, pixels: np.ndarray, rows: list[str]) -> None:
    stem = f"{index // 3:07d}_{index:05d}_d_{index:07d}"
    save(pixels, folder / "images" / f"{stem}.jpg")
    write_text(folder / "annotations" / f"{stem}.txt", *rows, end="\r\n")


def write_okutama(root: Path) -> tuple[int, int]:
    """Two test sequences of frames 0, 5, 10: every tenth is used; labels in 3840x2160."""
    pictures = iter(draw_several("field", (128, 72), 6))
    persons = 0
    base = root / "TestSetFrames"
    for sequence in ("1.1.8", "2.2.10"):
        drone, period, _ = sequence.split(".")
        day = {"1": "Morning", "2": "Noon"}[period]
        frames = base / f"Drone{drone}" / day / "Extracted-Frames-1280x720" / sequence
        rows = ['9 0 0 90 90 0 1 0 0 "Person"']  # lost: outside the picture
        for frame in (0, 5, 10):
            picture = next(pictures)
            save(picture.pixels, frames / f"{frame}.jpg")
            for track, box in enumerate(picture.boxes):
                corners = " ".join(str(side * LABEL_SCALE) for side in box)
                rows.append(f'{track} {corners} {frame} 0 0 {frame % 2} "Person" "Walking"')
            persons += len(picture.boxes) * (frame != 5)
        write_text(base / "Labels/MultiActionLabels/3840x2160" / f"{sequence}.txt", *rows)
    return 4, persons


def write_icg(root: Path) -> tuple[int, int]:
    """Four public images of 192x128, the last one without a person, boxes in a pickle."""
    content: dict[str, list[np.ndarray]] = {}
    for index, picture in enumerate(draw_several("yard", (192, 128), 4)):
        save(picture.pixels, root / "training_set/images" / f"{index * 7:03d}.jpg")
        boxes = [np.array(box, dtype=np.float64).reshape(2, 2) for box in picture.boxes]
        content[f"{index * 7:03d}"] = boxes if index < 3 else []
    path = root / "training_set" / BOXES
    path.parent.mkdir(parents=True)
    official = pickle.dumps(content, protocol=3).replace(b"numpy._core", b"numpy.core")
    path.write_bytes(official)
    return 4, sum(map(len, content.values()))


def write_heridal(root: Path) -> tuple[int, int]:
    """Four test photographs of 256x192, larger than all others, .JPG; one shows nobody."""
    persons = 0
    for index, picture in enumerate(draw_several("karst", (256, 192), 4)):
        stem = f"test_{'BLI' if index else 'VRD'}_{index:04d}"
        boxes = [("human", box) for box in picture.boxes] if index < 3 else []
        save(picture.pixels, root / "testImages" / f"{stem}.JPG")
        write_text(root / "testImages/labels" / f"{stem}.xml", *_voc((256, 192), boxes), end="\r\n")
        persons += len(boxes)
    return 4, persons


def write_sard(root: Path) -> tuple[int, int]:
    """Four frames in two runs with Pascal VOC beside them; every posture is a person."""
    persons = 0
    pictures = draw_several("field", (128, 72), 10)[6:]
    for number, picture in zip((1, 2, 40, 41), pictures, strict=True):
        boxes = [(POSTURES[(number + i) % 6], box) for i, box in enumerate(picture.boxes)]
        save(picture.pixels, root / f"gss{number}.jpg")
        write_text(root / f"gss{number}.xml", *_voc((128, 72), boxes))
        persons += len(boxes)
    return 4, persons


def _voc(
    size: tuple[int, int], boxes: list[tuple[str, tuple[int, int, int, int]]]
) -> Iterator[str]:
    yield "<annotation>"
    yield f"<size><width>{size[0]}</width><height>{size[1]}</height></size>"
    for name, box in boxes:
        sides = zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True)
        corners = "".join(f"<{side}>{value}</{side}>" for side, value in sides)
        yield f"<object><name>{name}</name><bndbox>{corners}</bndbox></object>"
    yield "</annotation>"


def write_archangel(root: Path) -> None:
    """12 virtual images with one person each and its mask, as POOL_PATTERN reads their names."""
    drawn = (draw("virtual", index, (128, 128)) for index in range(100))
    alone = (picture for picture in drawn if len(picture.boxes) == 1)
    for index, picture in zip(range(12), alone, strict=False):
        stem = f"{'anna' if index % 2 else 'bob'}_stand_{20 + index}_30_45_{index}"
        save(picture.pixels, root / "images" / f"{stem}.png")
        save(picture.mask, root / "masks" / f"{stem}.png")


TARGETS: dict[str, Callable[[Path], tuple[int, int]]] = {
    "visdrone": write_visdrone,  # with the source
    "okutama": write_okutama,
    "icg": write_icg,
    "heridal": write_heridal,
    "sard": write_sard,
}


def write_layouts(root: Path) -> Layouts:
    """Source, targets and pool below `root`, each in the folder that its YAML file names."""
    counts = {name: write(root / name) for name, write in TARGETS.items()}
    write_archangel(root / "archangel")
    return Layouts(
        root,
        {name: images for name, (images, _) in counts.items()},
        {name: persons for name, (_, persons) in counts.items()},
    )
