"""Writes a small data set for every reader of files, and damages it as a stranger would."""

import json
import os
import pickle
import re
import shutil
import socket
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from helpers.official_layouts import TARGETS, draw_several, save, write_archangel, write_text

Random = np.random.Generator
IMAGES = {".jpg", ".jpeg", ".png"}
NUMBERS = ["nan", "inf", "-1", "1e308", "1e999", "9" * 5000, "-" + "9" * 5000, "", "0x10",
           "1_0", "٣", "1,5", "-0.0", "4294967296", "true", "null", "0", '"7"', "[]"]  # fmt: skip
NESTED = [b"[" * 100_000, b"<a>" * 100_000, b'{"a":' * 100_000, b"- " * 50_000, b"a:\n " * 10_000]
BOMBS = [
    b"a: &a [x,x,x,x,x,x,x,x,x]\n"
    + b"".join(
        b"%c: &%c [%s]\n" % (c, c, b",".join([b"*%c" % (c - 1)] * 9)) for c in range(98, 110)
    ),
    b'<!DOCTYPE a [<!ENTITY b "x">'
    + b"".join(b'<!ENTITY %c "%s">' % (c, b"&%c;" % (c - 1) * 9) for c in range(99, 110))
    + b"]><annotation>&m;</annotation>",
    b'<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><annotation>&b;</annotation>',
    pickle.dumps({"a": [np.zeros((1, 2))]}, protocol=3) * 2,
    b"cos\nsystem\n(S'touch /tmp/hostile'\ntR.",
    b"\x80\x04\x95" + b"\xff" * 8 + b"]" * 100_000 + b".",
]


class Layout(NamedTuple):
    """A data set on disk, and the words of a command line that read it."""

    name: str
    words: list[str]  # {root} stands for its folder


def write_sets(root: Path) -> list[Layout]:
    """Write a data set for each reader of files below `root`; returns them by name."""
    for name, write in TARGETS.items():
        write(root / name)
    write_archangel(root / "archangel")
    rows = [f"images/{path.name},masks/{path.name},,,," for path in _pool(root)]
    write_text(root / "archangel/manifest.csv", "image,mask,x1,y1,x2,y2", *rows)
    for name, write_other in OTHERS.items():
        write_other(root / name)
    shutil.rmtree(root / "visdrone/VisDrone2019-DET-train")
    words = {name: [f"target={name}", "target.root={root}"] for name in (*TARGETS, *OTHERS)}
    for name in OTHERS:
        words[name].append("target.split=all")
    words["archangel"] = ["pool=archangel", "pool.root={root}", "target=field"]
    return [Layout(name, own) for name, own in words.items()]


def _pool(root: Path) -> list[Path]:
    """The pool's pictures; most of the twelve are deleted."""
    found = sorted((root / "archangel/images").iterdir())
    for path in found[4:]:
        path.unlink()
        (root / "archangel/masks" / path.name).unlink()
    return found[:4]


def write_coco(root: Path) -> None:
    """Four pictures and one JSON file."""
    pictures = draw_several("town", (96, 96), 4)
    images = [{"id": i, "file_name": f"{i}.png", "width": 96, "height": 96} for i in range(4)]
    boxes = [(i, box) for i, picture in enumerate(pictures) for box in picture.boxes]
    annotations = [
        {"id": n, "image_id": i, "category_id": 1, "bbox": [a, b, c - a, d - b], "iscrowd": 0}
        for n, (i, (a, b, c, d)) in enumerate(boxes)
    ]
    content = {"images": images, "annotations": annotations,
               "categories": [{"id": 1, "name": "person"}]}  # fmt: skip
    for entry, picture in zip(images, pictures, strict=True):
        save(picture.pixels, root / "images" / str(entry["file_name"]))
    write_text(root / "annotations/instances_all.json", json.dumps(content))


def write_yolo(root: Path) -> None:
    """Four pictures with a text file each, and data.yaml."""
    for index, picture in enumerate(draw_several("field", (96, 96), 4)):
        save(picture.pixels, root / f"images/{index}.png")
        centres = [np.array([a + c, b + d, 2 * (c - a), 2 * (d - b)]) / 192
                   for a, b, c, d in picture.boxes]  # fmt: skip
        rows = ["0 " + " ".join(f"{side:.6f}" for side in box) for box in centres]
        write_text(root / f"labels/{index}.txt", *rows)
    write_text(root / "data.yaml", "names: [person]")


def write_voc(root: Path) -> None:
    """The four pictures of SARD and their XML under the names of Pascal VOC."""
    shutil.copytree(root.with_name("sard"), root)
    for path in sorted(root.iterdir()):
        folder = root / ("JPEGImages" if path.suffix == ".jpg" else "Annotations")
        folder.mkdir(exist_ok=True)
        if path.suffix == ".xml":
            text = re.sub("<name>.*?</name>", "<name>person</name>", path.read_text())
            path.write_text(text)
        path.rename(folder / path.name)


OTHERS = {"coco": write_coco, "yolo": write_yolo, "voc": write_voc}

# --- what becomes of the bytes of a file


def _cut(data: bytes, rng: Random) -> bytes:
    return data[: int(rng.integers(len(data) + 1))]


def _flip_bits(data: bytes, rng: Random) -> bytes:
    flipped = bytearray(data or b"\x00")
    for place in rng.integers(len(flipped), size=rng.integers(1, 20)):
        flipped[place] ^= 1 << int(rng.integers(8))
    return bytes(flipped)


def _insert(data: bytes, rng: Random) -> bytes:
    place = int(rng.integers(len(data) + 1))
    words = [b"\x00", b"\x00" * 1000, b"\xff", b"\xed\xa0\x80", b"\x1b[31m", b"\r", b"&", b"'\"",
             b"\xe2\x80\xae", *NESTED]  # fmt: skip
    return data[:place] + words[rng.integers(len(words))] + data[place:]


def _change_number(data: bytes, rng: Random) -> bytes:
    found = list(re.finditer(rb"\d+(\.\d+)?", data))
    if not found:
        return b"\x00"
    one, word = found[rng.integers(len(found))], NUMBERS[rng.integers(len(NUMBERS))]
    return data[: one.start()] + word.encode() + data[one.end() :]


def _change_lines(data: bytes, rng: Random) -> bytes:
    lines = data.splitlines(keepends=True) or [b""]
    place = int(rng.integers(len(lines)))
    lines[place] *= int(rng.choice([0, 2, 1000]))
    rng.shuffle(lines)
    return b"".join(lines)


def _encode_otherwise(data: bytes, rng: Random) -> bytes:
    text = data.decode("latin-1")
    ways = [b"\xef\xbb\xbf" + data, text.encode("utf-16"), text.encode("utf-32"),
            data.replace(b"\n", b"\r"), zlib.compress(data), data + b"\xe9"]  # fmt: skip
    return ways[rng.integers(len(ways))]


def _bomb(data: bytes, rng: Random) -> bytes:
    del data
    return [*BOMBS, *NESTED][rng.integers(len(BOMBS) + len(NESTED))]


def _another_picture(data: bytes, rng: Random) -> bytes:
    del data
    return PICTURES[rng.integers(len(PICTURES))]


def _png(width: int, height: int, *chunks: tuple[bytes, bytes], depth: int = 8) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, depth, 2, 0, 0, 0)
    parts = [(b"IHDR", header), *chunks, (b"IDAT", zlib.compress(b"\x00" * 4)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in parts
    )


ZEROS = zlib.compress(bytes(50_000_000))
PICTURES = [
    b"", b"GIF89a" + b"\x01\x00" * 20, b"version https://git-lfs.github.com/spec/v1\n", b"<svg/>",
    _png(1, 1), _png(1, 1, depth=16), _png(0, 0), _png(60_000, 60_000), _png(2**31 - 1, 2**31 - 1),
    _png(1, 1, (b"zTXt", b"a\x00\x00" + ZEROS)), _png(1, 1, (b"eXIf", b"MM")), _png(1, 1)[:40],
    _png(1, 1, (b"iCCP", b"a\x00\x00" + ZEROS)),
    b"\xff\xd8\xff\xc0\x00\x11\x08\xff\xff\xff\xff\x03\x01\x11\x00\x02\x11\x01\x03\x11\x01",
    b"\xff\xd8\xff\xe1\xff\xff", b"\xff\xd8" + b"\xff\xfe\x00\x02" * 50_000,
]  # fmt: skip

TEXT_CHANGES = (_cut, _flip_bits, _insert, _change_number, _change_lines, _encode_otherwise, _bomb)
PICTURE_CHANGES = (_cut, _flip_bits, _insert, _another_picture, _another_picture)


# --- what stands in the place of a file


def _pipe(path: Path) -> None:
    os.mkfifo(path)


def _socket(path: Path) -> None:
    here = os.open(".", os.O_RDONLY)
    with socket.socket(socket.AF_UNIX) as made:  # whose address may have a hundred letters
        os.chdir(path.parent)
        try:
            made.bind(path.name)
        finally:
            os.fchdir(here)
            os.close(here)


def _unreadable_name(path: Path) -> None:
    shutil.copy(next(p for p in path.parent.parent.rglob("*") if p.is_file()),
                os.fsencode(path.parent) + b"/b\xff" + os.fsencode(path.suffix))  # fmt: skip


PLACES: dict[str, Callable[[Path], None]] = {
    "nothing": Path.exists,
    "folder": Path.mkdir,
    "pipe": _pipe,
    "socket": _socket,
    "loop": lambda path: path.symlink_to(path.name),
    "dangling link": lambda path: path.symlink_to("nowhere"),
    "link to a folder": lambda path: path.symlink_to(".."),
    "endless device": lambda path: path.symlink_to("/dev/zero"),
    "name that is not UTF-8": _unreadable_name,
}


def make_hostile(root: Path, rng: Random) -> tuple[Path, str]:
    """Change one file below `root`; which one, and how."""
    files = sorted(path for path in root.rglob("*") if path.is_file())
    texts = [path for path in files if path.suffix.lower() not in IMAGES]
    pictures = [path for path in files if path not in texts]
    chosen = texts if rng.random() < 0.6 else pictures
    path = chosen[rng.integers(len(chosen))]
    if rng.random() < 0.25:
        how = str(rng.choice(list(PLACES)))
        path.unlink()
        PLACES[how](path)
        return path, how
    changes = TEXT_CHANGES if chosen is texts else PICTURE_CHANGES
    change = changes[rng.integers(len(changes))]
    path.write_bytes(change(path.read_bytes(), rng))
    return path, change.__name__.strip("_").replace("_", " ")
