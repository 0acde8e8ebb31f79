"""Make the manifest of a virtual pool from a folder of images and masks."""

import csv
import io
import math
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from jaxtyping import Float
from numpy import ndarray

from ptl_sweep.config.checks import ConfigError
from ptl_sweep.datasets.images import image_size, list_images
from ptl_sweep.datasets.readers.archangel.manifest import COLUMNS, GROUPS, MEASURES
from ptl_sweep.datasets.readers.archangel.masks import mask_box, read_mask
from ptl_sweep.datasets.validation import data_error, nearest, number, quoted
from ptl_sweep.store import write_atomically

NUM_EXAMPLES = 3


class ManifestSummary(NamedTuple):
    """What `build_manifest` wrote and what it left out."""

    path: Path
    num_images: int
    num_unmatched: int  # files that do not match the pattern and are no mask of one that does
    num_without_mask: int
    num_empty_masks: int  # nobody to be seen
    examples: tuple[str, ...]  # paths below the folder of some that were left out


class _Image(NamedTuple):
    """One image that matches the pattern; paths below the folder."""

    image: str
    mask: str
    values: tuple[str, ...]  # those of GROUPS


def build_manifest(
    folder: Path,
    pattern: str,
    output: Path,
    *,
    masks: str = "masks/{stem}.png",
    progress: Callable[[int, int], None] | None = None,
) -> ManifestSummary:
    r"""Write the manifest of a pool of virtual images: boxes from masks, the rest from file names.

    PATTERN is a regular expression that a file's path below FOLDER, without suffix, must match as
    a whole. Its named groups become columns: character, pose, altitude_m, radius_m, pitch_deg,
    azimuth_deg; all are optional. MASKS says where the mask of an image lies below FOLDER, with
    {stem}, {parent} (the image's folder) and the named groups. For images/anna_stand_10_5_-30.png
    with its mask masks/anna_stand_10_5_-30.png:

        images/(?P<character>\w+)_(?P<pose>\w+)_(?P<altitude_m>\d+)_(?P<radius_m>\d+)_(?P<pitch_deg>-?\d+)

    A mask is a greyscale PNG of 8 bits that shows one person; the box is the smallest one around
    its pixels above 0. OUTPUT must lie in FOLDER or above it, as its paths are relative to it.
    Files that do not match, images without mask and masks without person are left out and counted.

    `progress` is told (images done, images in all). Raises: ConfigError for a pattern or template
    that cannot be used, DataError for files that cannot, and when nothing matches.
    """
    folder, output = folder.absolute(), output.absolute()
    _require_output(folder, output)
    found, unmatched = _found(folder, _compiled(pattern), masks)
    without, empty = [], []
    rows: list[Sequence[str]] = [COLUMNS]
    for done, item in enumerate(found, 1):
        if not (folder / item.mask).is_file():
            without.append(item.image)
        elif (box := _box(folder, item)) is None:
            empty.append(item.image)
        else:
            files = ((folder / name).relative_to(output.parent) for name in item[:2])
            corners = (f"{corner:g}" for corner in box)
            rows.append((*(path.as_posix() for path in files), *corners, *item.values))
        if progress is not None:
            progress(done, len(found))
    if len(rows) == 1:
        raise data_error(
            folder,
            f"no image has a mask that shows a person: {len(without)} have no mask, {len(empty)} "
            f"an empty one; the first is {found[0].image} with its mask {found[0].mask}",
            "correct the template of the masks",
        )
    _write(output, rows)
    examples = tuple([*unmatched, *without, *empty][:NUM_EXAMPLES])
    counts = (len(rows) - 1, len(unmatched), len(without), len(empty))
    return ManifestSummary(output, *counts, examples)


def _write(output: Path, rows: Sequence[Sequence[str]]) -> None:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    write_atomically(output, text.getvalue().encode())


def _require_output(folder: Path, output: Path) -> None:
    """Raise DataError when the manifest cannot be written, before any mask is read."""
    if not folder.is_dir():
        raise data_error(folder, "is not a folder", "name the folder with the images and masks")
    if output.exists():
        raise data_error(output, "is already there", "delete it or name another output")
    if not output.parent.is_dir() or not folder.is_relative_to(output.parent):
        raise data_error(
            output,
            f"does not lie directly in {folder} or in a folder above it",
            "a manifest names its files relative to its own folder: write it there",
        )
    if output.suffix != ".csv":
        raise data_error(output, "does not end in .csv", "name the output manifest.csv")


def _compiled(pattern: str) -> re.Pattern[str]:
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise ConfigError(
            f"pattern {quoted(pattern)} is not a regular expression: {error}"
        ) from error
    for name in compiled.groupindex:
        if name not in GROUPS:
            raise ConfigError(
                f"group {name!r} of the pattern is not a column; the nearest is "
                f"{nearest(name, GROUPS)!r} (all: {', '.join(GROUPS)})"
            )
    return compiled


def _found(folder: Path, pattern: re.Pattern[str], masks: str) -> tuple[list[_Image], list[str]]:
    """The images that match, and the files that do not; masks of images are neither.

    Raises: DataError when none matches.
    """
    names = [path.relative_to(folder) for path in list_images(folder)]
    images, others = [], []
    for name in names:
        match = pattern.fullmatch(name.with_suffix("").as_posix())
        if match is None:
            others.append(name.as_posix())
        else:
            images.append(_image(name, match.groupdict(default=""), masks))
    targets = {image.mask for image in images}
    images = [image for image in images if image.image not in targets]
    if not images:
        first = ", ".join(name.with_suffix("").as_posix() for name in names[:NUM_EXAMPLES])
        raise data_error(
            folder,
            f"none of {len(names)} images matches {quoted(pattern.pattern)}, or each is its own "
            f"mask; without suffix the first are {first}",
            "correct the pattern: it must match such a path as a whole",
        )
    return images, [name for name in others if name not in targets]


def _image(name: Path, groups: Mapping[str, str], masks: str) -> _Image:
    """An image, its mask and its columns. Raises: ConfigError for a group or template."""
    for group in MEASURES:
        text = groups.get(group, "")
        if text and math.isnan(number(text)):
            raise ConfigError(
                f"group {group} of the pattern is {text!r} in {name.as_posix()}, must be a number: "
                "leave letters outside the parentheses"
            )
    places = {"stem": name.stem, "parent": name.parent.as_posix(), **groups}
    try:
        mask = PurePosixPath(masks.format(**places))
    except (AttributeError, IndexError, KeyError, ValueError) as error:
        raise ConfigError(
            f"template of the masks {quoted(masks)} cannot be filled in ({error}); it may hold "
            f"{', '.join(f'{{{place}}}' for place in places)}"
        ) from error
    if mask.is_absolute() or ".." in mask.parts:
        raise ConfigError(f"template of the masks {quoted(masks)} leads out of the folder")
    return _Image(name.as_posix(), mask.as_posix(), tuple(groups.get(name, "") for name in GROUPS))


def _box(folder: Path, item: _Image) -> Float[ndarray, "4"] | None:
    return mask_box(read_mask(folder / item.mask, image_size(folder / item.image)))
