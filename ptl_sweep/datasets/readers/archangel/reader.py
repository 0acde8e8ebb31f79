"""A pool of virtual images with one mask per person, listed in a manifest: Archangel-Synthetic."""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, UInt8
from numpy import ndarray

from ptl_sweep.config.schema import PoolConfig
from ptl_sweep.datasets.contents import hash_files
from ptl_sweep.datasets.images import decode, image_size
from ptl_sweep.datasets.readers.archangel.manifest import (
    FIX,
    MEASURES,
    TEXTS,
    ManifestRow,
    read_manifest,
)
from ptl_sweep.datasets.readers.archangel.masks import mask_box, read_mask, require_mask
from ptl_sweep.datasets.records import ImageRecord, ImageSet
from ptl_sweep.datasets.subsets import spread
from ptl_sweep.datasets.validation import (
    CLIP_TOLERANCE_PX,
    MIN_SIDE_PX,
    DataError,
    data_error,
)

MANIFESTS = ("manifest.csv", "manifest.jsonl")
COMBINATION = ("character", "pose", "altitude_m", "radius_m", "pitch_deg")
NUM_IMAGES = 17_280  # of the subset of PTL: 8 characters, 3 poses, 10 x 6 x 12 camera places
NUM_LOOKED_INTO = 8  # masks that are decoded while reading, to learn early that they are none


class PersonMask(NamedTuple):
    """Where the coverage of one person is."""

    path: Path
    window: tuple[int, int, int, int] | None  # left, top, right, bottom; None: the whole picture


@dataclass(frozen=True, slots=True)
class PoolImage:
    """Pixels and masks of one virtual image."""

    path: Path
    size: tuple[int, int]  # width, height
    masks: tuple[PersonMask, ...]  # one per box of the record

    @property
    def files(self) -> list[Path]:
        """The image, then the mask of each person."""
        return [self.path, *(mask.path for mask in self.masks)]

    def read(self) -> UInt8[ndarray, "h w 3"]:
        """Read the RGB image. Raises: DataError."""
        return decode(self.path)

    def read_masks(self) -> UInt8[ndarray, "n h w"]:
        """Read the coverage (0..255) of the person in each box.

        A mask that several persons share is cut by box. Raises: DataError.
        """
        width, height = self.size
        masks = np.zeros((len(self.masks), height, width), dtype=np.uint8)
        coverage = {path: read_mask(path, self.size) for path in {mask.path for mask in self.masks}}
        for index, (path, window) in enumerate(self.masks):
            left, top, right, bottom = window or (0, 0, width, height)
            masks[index, top:bottom, left:right] = coverage[path][top:bottom, left:right]
        return masks


def read_archangel(config: PoolConfig) -> ImageSet:
    """Read the images of `root`/manifest.csv (or manifest.jsonl), every image a scene.

    One row or JSON object per person; several rows may name one image. Columns:

    - image, mask: paths below the manifest's folder. A mask is a greyscale PNG of 8 bits as large
      as its image: 255 where the person covers a pixel, 0 where not, values between at the edge.
      Persons of one image may share a mask when their boxes do not overlap.
    - x1, y1, x2, y2: the box in pixels, (0, 0) the upper left corner of the image. When all four
      are empty, the box is the smallest one around the mask; then every mask is decoded here.
    - character, pose (text), altitude_m, radius_m, pitch_deg, azimuth_deg (numbers): optional.

    With `num_images`, images are drawn by a fixed shuffle.
    Raises: DataError that names line and column for a manifest or a file that cannot be used.
    """
    path = _manifest(config)
    pool = _Pool(path)
    images: dict[str, list[ManifestRow]] = {}
    for row in read_manifest(path):
        images.setdefault(row.image, []).append(row)
    if not images:
        raise data_error(path, "has no rows", FIX)
    warnings = _count_warnings(images)
    for name in _drawn(sorted(images), config.num_images):
        pool.add(name, images[name])
    pool.look_into_masks()
    return pool.image_set(config, warnings)


def _manifest(config: PoolConfig) -> Path:
    """The one manifest in the pool's folder. Raises: DataError."""
    folder = None if config.root is None else Path(config.root).expanduser().absolute()
    found = [folder / name for name in MANIFESTS if (folder / name).is_file()] if folder else []
    if len(found) == 1:
        return found[0]
    problem = "pool.root is not set" if folder is None else f"{folder} has no {MANIFESTS[0]}"
    if found:
        problem = f"{folder} has both {' and '.join(MANIFESTS)}"
    raise DataError(
        f"pool {config.name!r}: {problem}\n  fix: set pool.root to the folder with one of "
        f"{', '.join(MANIFESTS)}; `python -m ptl_sweep manifest --help` says how to write one"
    )


def _drawn(names: list[str], count: int | None) -> list[str]:
    """`count` names; shuffled, as even distances would meet the grid of angles at one place."""
    if count is None or count >= len(names):
        return names
    order = np.random.default_rng(0).permutation(len(names))
    return sorted(names[index] for index in order[:count])


def _count_warnings(images: Mapping[str, Sequence[ManifestRow]]) -> list[str]:
    warnings = []
    if len(images) != NUM_IMAGES:
        warnings.append(
            f"{len(images)} images, PTL's subset of Archangel-Synthetic has {NUM_IMAGES}"
        )
    seen: Counter[tuple[float | str, ...]] = Counter()
    for rows in images.values():
        attributes = rows[0].attributes
        if all(name in attributes for name in COMBINATION):
            seen[tuple(attributes[name] for name in COMBINATION)] += 1
    doubled = [values for values, count in seen.items() if count > 1]
    if doubled:
        first = ", ".join(
            f"{key}={value}" for key, value in zip(COMBINATION, doubled[0], strict=True)
        )
        warnings.append(f"combinations that several images have: {len(doubled)} (first: {first})")
    return warnings


class _Person(NamedTuple):
    """One person whose row is used."""

    box: Float[ndarray, "4"]  # xyxy, pixels, inside the image
    mask: PersonMask
    name: str  # of the mask in the manifest


class _Pool:
    """Collects the checked images, and counts what is left out."""

    def __init__(self, manifest: Path) -> None:
        self._manifest = manifest
        self._folder = manifest.parent
        self._records: list[ImageRecord] = []
        self._pixels: dict[str, PoolImage] = {}
        self._masks: dict[Path, tuple[int, int]] = {}
        self._drops: Counter[str] = Counter()
        self._clipped: Counter[str] = Counter()

    def add(self, name: str, rows: Sequence[ManifestRow]) -> None:
        """Check one image, its masks and boxes. Raises: DataError."""
        image = self._folder / name
        size = image_size(image)
        persons = self._persons(rows, size)
        boxes = np.array([person.box for person in persons], dtype=np.float32).reshape(-1, 4)
        self._pixels[name] = PoolImage(image, size, tuple(person.mask for person in persons))
        self._records.append(
            ImageRecord(
                image_id=name,
                width=size[0],
                height=size[1],
                boxes=boxes,
                ignored=np.zeros((0, 4), np.float32),
                scene=name,
                pixels=self._pixels[name],
                attributes=_merged(rows, self._manifest),
            )
        )

    def _persons(self, rows: Sequence[ManifestRow], size: tuple[int, int]) -> list[_Person]:
        """The rows of one image that can be used."""
        num_sharing = Counter(row.mask for row in rows)
        persons: list[_Person] = []
        for row in rows:
            mask = self._folder / row.mask
            if mask not in self._masks:
                require_mask(mask, size)
                self._masks[mask] = size
            box = self._box(row, mask, size)
            if box is None:
                continue
            if any(row.mask == other.name and (box == other.box).all() for other in persons):
                self._drops["duplicate row"] += 1
                continue
            window = _window(box) if num_sharing[row.mask] > 1 else None
            persons.append(_Person(box, PersonMask(mask, window), row.mask))
        return persons

    def _box(
        self, row: ManifestRow, mask: Path, size: tuple[int, int]
    ) -> Float[ndarray, "4"] | None:
        """Clipped to the image; None and counted when nothing is left."""
        if not row.box:
            derived = mask_box(read_mask(mask, size))
            self._drops["nobody in the mask"] += derived is None
            return derived
        given = np.array(row.box)
        box = given.clip(0, [*size, *size])
        if (box[:2] >= size).any() or (box[2:] <= 0).any():
            self._drops["outside the image"] += 1
            return None
        if (box[2:] - box[:2] < MIN_SIDE_PX).any():
            self._drops["under 1 px"] += 1
            return None
        if (np.abs(box - given) > CLIP_TOLERANCE_PX).any():
            self._clipped[row.image] += 1
        return box

    def look_into_masks(self) -> None:
        """Raise DataError when one of a few masks cannot be used."""
        for path, size in spread(list(self._masks.items()), NUM_LOOKED_INTO):
            read_mask(path, size)

    def image_set(self, config: PoolConfig, warnings: list[str]) -> ImageSet:
        """Return the images by name, what was dropped and what was odd. Raises: DataError."""
        if self._clipped:
            count, first = self._clipped.total(), next(iter(self._clipped))
            warnings.append(f"boxes past the image border, clipped: {count} (first: {first})")
        sources = [(record, self._pixels[record.image_id]) for record in self._records]
        files = [path for _, pixels in sources for path in pixels.files]
        contents = hash_files(files, config)
        return ImageSet(
            name=config.name,
            split="pool",
            records=tuple(replace(r, content=contents[pixels.path]) for r, pixels in sources),
            fingerprint=_fingerprint(sources, contents),
            drops={reason: count for reason, count in sorted(self._drops.items()) if count},
            warnings=tuple(warnings),
        )


def _fingerprint(
    sources: Sequence[tuple[ImageRecord, PoolImage]], contents: Mapping[Path, str]
) -> str:
    """16 hex digits over names, bytes of images and masks, sizes and boxes; never over paths."""
    digest = hashlib.sha256()
    for record, pixels in sources:
        shape = (record.width, record.height, len(record.boxes))
        digest.update(f"{record.image_id}\0{contents[pixels.path]}\0{shape}\0".encode())
        digest.update(record.boxes.astype("<f4").tobytes())
        for path, window in pixels.masks:
            digest.update(f"{contents[path]}\0{window}\0".encode())
    return digest.hexdigest()[:16]


def _window(box: Float[ndarray, "4"]) -> tuple[int, int, int, int]:
    """Every pixel that the box touches."""
    (left, top), (right, bottom) = np.floor(box[:2]), np.ceil(box[2:])
    return int(left), int(top), int(right), int(bottom)


def _merged(rows: Sequence[ManifestRow], manifest: Path) -> dict[str, float | str]:
    """Texts of all persons in order, joined by +; the camera must be the same in all rows."""
    merged = dict(rows[0].attributes)
    for row in rows[1:]:
        for name in MEASURES:
            if row.attributes.get(name) != merged.get(name):
                raise data_error(
                    manifest,
                    f"{name} is {row.attributes.get(name)}, in line {rows[0].line} of the same "
                    f"image it is {merged.get(name)}",
                    FIX,
                    row.line,
                )
    for name in TEXTS:
        texts = [str(row.attributes[name]) for row in rows if name in row.attributes]
        if texts:
            merged[name] = "+".join(texts)
    return merged
