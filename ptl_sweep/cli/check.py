"""The command `check`: every data set, pool and target of a grid, read once and summed up."""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

from ptl_sweep.cli.dataset_report import CheckResult, DatasetCheck, percent
from ptl_sweep.compose.leakage import shared_images
from ptl_sweep.config.schema import Config, ConfigError
from ptl_sweep.datasets import registry
from ptl_sweep.datasets.anchors import (
    MIN_SHARE,
    InputView,
    find_anchors,
    matched_share,
    seen_boxes,
)
from ptl_sweep.datasets.records import ImageSet
from ptl_sweep.datasets.summary import sample_sheet, summarise
from ptl_sweep.datasets.validation import DataError
from ptl_sweep.store import is_disk_full
from ptl_sweep.terminal import progress_bar

ROLES = ("dataset", "target", "pool")
Read = Callable[[], ImageSet]
TILE_SIZES = (2048, 1536, 1024, 768, 512)  # stored pixels, tried where anchors alone do not help


def check_data(cells: Sequence[Config], *, named: Sequence[str], sheet: str | None) -> CheckResult:
    """Read each data set once; an unusable one does not hide the others.

    Only the roles that `named` overrides name are read; when it names none, all that the cells
    use. With `sheet`, a folder, example pictures are drawn there.
    """
    todo = _todo(cells, {override.split("=")[0].split(".")[0] for override in named})
    if sheet is not None:
        Path(sheet).mkdir(parents=True, exist_ok=True)
    found = []
    with progress_bar() as bar:
        task = bar.add_task("", total=len(todo))
        for unread, read in todo:
            bar.update(task, description=f"reading {unread.title}")
            found.append(_check(unread, read, None if sheet is None else Path(sheet)))
            bar.advance(task)
    return CheckResult([replace(c, warnings=tuple(_warnings(c, found))) for c in found])


def _todo(cells: Sequence[Config], named: set[str]) -> list[tuple[DatasetCheck, Read]]:
    """List the data sets of the grid, each once, by role and in the order of its cells."""
    roles = named & set(ROLES) or set(ROLES)
    todo: dict[tuple[str, str], tuple[DatasetCheck, Read]] = {}
    for config in cells:
        reads: dict[str, Read] = {
            "dataset": partial(registry.read_split, config.dataset, config.dataset.split),
            "target": partial(registry.read_split, config.target, config.target.split),
            "pool": partial(registry.read_pool, config.pool),
        }
        if config.synthetic.method == "off" and "pool" not in named:
            del reads["pool"]
        for role in roles & reads.keys():
            data = getattr(config, role)
            unread = DatasetCheck(
                role=role,
                name=data.name,
                source="; ".join(text for text in (data.licence, data.citation) if text),
                view=InputView(config.detector, config.tiling),
            )
            key = role, json.dumps(asdict(data), sort_keys=True)
            todo.setdefault(key, (unread, reads[role]))
    return sorted(todo.values(), key=lambda item: ROLES.index(item[0].role))


def _check(found: DatasetCheck, read: Read, sheets: Path | None) -> DatasetCheck:
    """Read one data set and draw its sheet; what makes it unusable is kept as `error`."""
    try:
        image_set = read()
        seen = seen_boxes(image_set.records, found.view)
        sheet = None
        if sheets is not None:
            sheet = sheets / f"{found.role}-{image_set.name}-{image_set.split}.png"
            sample_sheet(image_set, sheet)
    except (DataError, ConfigError) as error:
        return replace(found, error=str(error))
    except OSError as error:
        if is_disk_full(error):
            raise
        return replace(found, error=f"{error.filename} cannot be used: {error.strerror}")
    summary = summarise(image_set, seen, found.view.detector)
    return replace(found, image_set=image_set, seen=seen, summary=summary, sheet=sheet)


def _warnings(checked: DatasetCheck, found: Sequence[DatasetCheck]) -> Iterator[str]:
    """Yield what its reader found odd, and what the detector will."""
    summary = checked.summary
    if summary is None:
        return
    yield from summary.warnings
    if not summary.num_persons:
        yield "no image shows a person"
    yield from _shared(checked, found)
    if summary.matched_share < MIN_SHARE:
        yield (
            f"anchors match {percent(summary.matched_share)} % of the persons at IoU 0.5, "
            f"should be {percent(MIN_SHARE)} %\n        fix: {_anchor_fix(checked, found)}"
        )


def _shared(checked: DatasetCheck, found: Sequence[DatasetCheck]) -> Iterator[str]:
    """Warn of a target that shows what subsets are drawn from: such a sweep is refused."""
    sources = [c for c in found if c.role == "dataset" and checked.role == "target"]
    for source in sources:
        if source.image_set is not None and checked.image_set is not None:
            shared = shared_images(source.image_set, checked.image_set)
            if shared:
                yield f"{len(shared)} images are also in {source.title} (first: {shared[0]})"


def _anchor_fix(checked: DatasetCheck, found: Sequence[DatasetCheck]) -> str:
    """Name settings that were verified to reach MIN_SHARE: for all sets, or for this one."""
    assert checked.seen is not None
    detector = checked.view.detector
    together = [c.seen for c in found if c.seen is not None and c.view.detector == detector]
    for sets, where in ((together, "in every set here"), ([checked.seen], "in this set alone")):
        best = find_anchors(sets, detector)
        if best.share >= MIN_SHARE:
            return f"{percent(best.share)} % or more match {where} with {best.overrides()}"
    return _tile_fix(checked) or (
        f"of all anchors tried none match more than {percent(best.share)} %: the persons are "
        "too small at the network's input, so raise detector.min_size and detector.max_size"
    )


def _tile_fix(checked: DatasetCheck) -> str | None:
    """Name the largest tiles on which these or other anchors reach MIN_SHARE."""
    assert checked.image_set is not None
    records, detector = checked.image_set.records, checked.view.detector
    longest = max(max(record.width, record.height) for record in records)
    tiling = checked.view.tiling
    for size in (size for size in TILE_SIZES if 2 * tiling.overlap <= size < longest):
        view = checked.view._replace(tiling=replace(tiling, size=size))
        seen = seen_boxes(records, view)
        present = matched_share(seen, detector)
        if present >= MIN_SHARE:
            return f"{percent(present)} % match with tiling.size={size}"
        best = find_anchors([seen], detector)
        if best.share >= MIN_SHARE:
            words = f"tiling.size={size} {best.overrides()}"
            return f"{percent(best.share)} % match in this set with {words}"
    return None
