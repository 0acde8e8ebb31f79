"""The command `check`: every data set, pool and target of a grid, read once and summed up."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from ptl_sweep.cli.dataset_report import CheckResult, DatasetCheck, Decoding, percent
from ptl_sweep.compose.requirements import ROLES, Need, needed_sets, rules, too_few
from ptl_sweep.config.schema import Config, ConfigError, DatasetConfig
from ptl_sweep.datasets.anchors import (
    MIN_SHARE,
    InputView,
    find_anchors,
    matched_share,
    seen_boxes,
)
from ptl_sweep.datasets.readers.division import UNUSED_SHARES
from ptl_sweep.datasets.summary import sample_sheet, summarise
from ptl_sweep.datasets.validation import DataError
from ptl_sweep.detection.architectures import architecture_of
from ptl_sweep.store import is_disk_full
from ptl_sweep.terminal import progress_bar

TILE_SIZES = (2048, 1536, 1024, 768, 512)  # stored pixels, tried where anchors alone do not help


def check_data(
    cells: Sequence[Config], *, named: Sequence[str], sheet: str | None, fast: bool = False
) -> CheckResult:
    """Read each data set once; an unusable one does not hide the others.

    Only the roles that `named` overrides name are read; when it names none, all that the cells
    use. Every picture is decoded once, unless `fast`. With `sheet`, a folder, example pictures are
    drawn there.
    """
    keys = {override.split("=")[0].lstrip("+~") for override in named}
    todo = _todo(cells, {key.split(".")[0] for key in keys})
    decoding = None if fast else Decoding()
    if sheet is not None:
        Path(sheet).mkdir(parents=True, exist_ok=True)
    found = []
    with progress_bar() as bar:
        task = bar.add_task("", total=len(todo))
        for need in todo:
            bar.update(task, description=f"reading {need.role} {need.data.name}")
            found.append(_check(need, None if sheet is None else Path(sheet), decoding))
            bar.advance(task)
    found = _ruled(cells, todo, found, keys)
    return CheckResult([_with_words(c, found, keys) for c in found], decoding)


def _todo(cells: Sequence[Config], named: set[str]) -> list[Need]:
    """List the data sets of the grid, each once, by role and in the order of its cells."""
    roles = named & set(ROLES) or set(ROLES)
    if "dataset" in roles:
        roles = roles | {"validation"}  # a run reads it with the other
    needs = needed_sets(cells, with_pools="pool" in named)
    return [need for need in needs if need.role in roles]


def _check(need: Need, sheets: Path | None, decoding: Decoding | None) -> DatasetCheck:
    """Read one data set and draw its sheet; what makes it unusable is kept as `error`."""
    found = _unread(need)
    try:
        image_set = need.read()
        if decoding is not None:
            decoding.decode(image_set)
        seen = seen_boxes(image_set.records, found.view)
        sheet = None
        if sheets is not None and need.role != "validation":
            sheet = sheets / f"{found.role}-{image_set.name}-{image_set.split}.png"
            sample_sheet(image_set, sheet)
    except (DataError, ConfigError) as error:
        return replace(found, error=str(error))
    except OSError as error:
        if is_disk_full(error):
            raise
        return replace(found, error=f"{error.filename} cannot be used: {error.strerror}")
    detector = found.view.detector
    has_anchors = architecture_of(detector).has_anchors
    summary = summarise(image_set, seen, detector if has_anchors else None)
    return replace(found, image_set=image_set, seen=seen, summary=summary, sheet=sheet)


def _unread(need: Need) -> DatasetCheck:
    data, config = need.data, need.config
    stride = architecture_of(config.detector).finest_stride
    return DatasetCheck(
        role=need.role,
        name=config.dataset.name if need.role == "validation" else data.name,
        source="; ".join(text for text in (data.licence, data.citation) if text),
        view=InputView(config.detector, config.tiling, stride),
    )


def _ruled(
    cells: Sequence[Config], todo: Sequence[Need], found: Sequence[DatasetCheck], keys: set[str]
) -> list[DatasetCheck]:
    """Add what a run would refuse although each set can be read."""
    by_key = {need.key: checked for need, checked in zip(todo, found, strict=True)}
    for rule in rules(cells):
        if all(key in by_key and by_key[key].error is None for key in rule.needs):
            try:
                rule.check()
            except (ConfigError, DataError) as error:
                blamed = rule.needs[-1]
                by_key[blamed] = replace(by_key[blamed], error=str(error))
    for need in todo:
        fault = _too_few(cells, need, by_key[need.key])
        if fault and keys & {"real_count", "experiment"}:
            by_key[need.key] = replace(by_key[need.key], error=fault)
        elif fault:  # nobody asked for so many
            by_key[need.key] = replace(by_key[need.key], notes=(fault,))
    return list(by_key.values())


def _too_few(cells: Sequence[Config], need: Need, checked: DatasetCheck) -> str | None:
    if need.role != "dataset" or checked.summary is None or checked.error is not None:
        return None
    assert isinstance(need.data, DatasetConfig)
    return too_few(cells, need.data, checked.summary.num_images_with_persons)


def _with_words(
    checked: DatasetCheck, found: Sequence[DatasetCheck], keys: set[str]
) -> DatasetCheck:
    """Add what is odd: as warnings, or as notes where a default of ours is what does not fit."""
    groups = {key.split(".")[0] for key in keys}
    part = "dataset" if checked.role == "validation" else checked.role
    warnings: list[str] = []
    notes = list(checked.notes)
    for warning in _warnings(checked):
        is_default = f"{part}.scene_fractions" not in keys and warning.startswith(UNUSED_SHARES)
        (notes if is_default else warnings).append(warning)
    for warning in _anchor_warnings(checked, found):
        chosen = groups & {"detector", "tiling", "experiment"}
        (warnings if chosen else notes).append(warning)
    return replace(checked, warnings=tuple(warnings), notes=tuple(notes))


def _warnings(checked: DatasetCheck) -> Iterator[str]:
    """Yield what its reader found odd, and what the detector will."""
    summary = checked.summary
    if summary is None:
        return
    yield from summary.warnings
    if not summary.num_persons:
        yield "no image shows a person"


def _anchor_warnings(checked: DatasetCheck, found: Sequence[DatasetCheck]) -> Iterator[str]:
    """Yield that the detector's anchors miss persons."""
    summary = checked.summary
    if summary is not None and summary.matched_share < MIN_SHARE:
        yield (
            f"anchors match {percent(summary.matched_share)} % of the persons at IoU 0.5, "
            f"should be {percent(MIN_SHARE)} %\n        fix: {_anchor_fix(checked, found)}"
        )


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
