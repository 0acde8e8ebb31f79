"""report.html: one self-contained file that opens offline and says what the sweep found."""

import base64
import io
import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from PIL import Image

from ptl_sweep.analysis.answers import answers
from ptl_sweep.analysis.figures import CellHistogram, FigureFile, write_figures
from ptl_sweep.analysis.statistics import Interval
from ptl_sweep.analysis.tables import (
    OFF,
    Row,
    Value,
    ap_t2t_labels,
    effect_of,
    find_summary,
    groups_over_targets,
    mean_of,
    number,
    text,
)
from ptl_sweep.analysis.train2test import expected_raw_distance
from ptl_sweep.store import write_atomically

logger = logging.getLogger(__name__)

MAX_REPORT_BYTES = 5_000_000
MAX_SAMPLE_BYTES = 2_000_000  # thumbnails of all samples together
THUMBNAIL_PX = 320  # longer side
MISSING = "\N{EN DASH}"


class SamplePicture(NamedTuple):
    """A virtual image that PTL selected, and the same after its transformation, boxes drawn in."""

    selected_png: Path
    transformed_png: Path
    caption: str


class StageCost(NamedTuple):
    """Stages of one kind: how many the cells need, how many there are, what they took."""

    kind: str
    num_naive: int  # if every cell computed its own
    num_unique: int
    num_cached: int  # found in the store
    num_run: int
    num_failed: int
    seconds: float  # over all unique stages, cached ones included, as measured when they ran


class StageFailure(NamedTuple):
    """A stage that raised."""

    key: str
    what: str
    log: str  # path of the log, relative to the sweep's folder where possible


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """What it takes to make the same numbers again."""

    command: str
    commit: str
    created: str  # date and time
    versions: Mapping[str, str]
    stage_keys: Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportContext:
    """Everything the report shows; rows as in results.csv, iterations.csv and summary.csv."""

    title: str
    rows: Sequence[Row]
    iteration_rows: Sequence[Row]
    summary_rows: Sequence[Row]
    stage_costs: Sequence[StageCost]
    histograms: Sequence[CellHistogram]
    provenance: Provenance
    feature_dim: int  # D
    is_miniature: bool
    samples: Sequence[SamplePicture] = ()
    failures: Sequence[StageFailure] = ()
    drops: Mapping[str, Mapping[str, int]] = field(default_factory=dict)  # data set, reason: boxes
    warnings: Sequence[str] = ()


class Column(NamedTuple):
    """A column of a table of cells."""

    name: str  # in results.csv
    header: str
    unit: str
    scale: float | None  # of a number; None: text
    decimals: int = 1


class TableCell(NamedTuple):
    """One cell of a table: what is shown, what it is sorted by (empty: missing, always last)."""

    shown: str
    sort: str
    is_number: bool


class Picture(NamedTuple):
    """An image inside the page."""

    uri: str
    width: int
    height: int


KEY_COLUMNS = (
    Column("dataset", "source", "", None),
    Column("real_count", "real", "images", 1, 0),
    Column("synthetic", "synthetic", "", None),
    Column("target", "target", "", None),
    Column("seed", "seed", "", 1, 0),
)
AP_COLUMNS = (Column("AP50", "AP50", "%", 100), Column("AP", "AP", "%", 100))
STATUS = Column("status", "status", "", None)
REASON = Column("reason", "reason", "", None)
DISTANCE_TABLE = (
    *KEY_COLUMNS,
    Column("gaussian_n", "n", "of fit", 1, 0),
    Column("t2t_tp_mean_shrunk", "TP mean", "shrunk d²", 1),
    Column("t2t_fp_mean_shrunk", "FP mean", "shrunk d²", 1),
    Column("t2t_tp_median_shrunk", "TP median", "shrunk d²", 1),
    Column("t2t_fp_median_shrunk", "FP median", "shrunk d²", 1),
    Column("t2t_tp_mean", "TP mean", "raw d²", 1),
    Column("t2t_fp_mean", "FP mean", "raw d²", 1),
    Column("t2t_auroc", "AUROC", "TP nearer", 1, 3),
)


def write_report(folder: Path, context: ReportContext) -> Path:
    """Write figures/ and report.html into `folder`; returns the path of the report.

    The page needs no other file and makes no request; tables beside it are linked.
    """
    figures = write_figures(
        folder / "figures", context.summary_rows, context.iteration_rows, context.histograms
    )
    samples, num_left_out = _sample_pictures(context.samples)
    page = (
        _environment()
        .get_template("report.html.jinja")
        .render(
            context=context,
            answers=answers(context.summary_rows),
            figures=figures,
            samples=samples,
            num_samples_left_out=num_left_out,
            tables=_tables(context),
            effects=_effect_lines(context.summary_rows),
            training_sets=_training_sets(context),
            num_failed=sum(row["status"] != "ok" for row in context.rows),
            reasons=Counter(text(row, "reason") for row in context.rows if row.get("reason")),
        )
    )
    path = folder / "report.html"
    write_atomically(path, page.encode())
    if len(page) > MAX_REPORT_BYTES:
        logger.warning("%s has %.1f MB, more than a mail takes", path, len(page) / 1e6)
    return path


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"svg_uri": svg_uri, "duration": duration}
    return environment


def svg_uri(figure: FigureFile) -> str:
    """The figure as a data URI: an image of its own, so that ids of two figures cannot clash."""
    return f"data:image/svg+xml;base64,{base64.b64encode(figure.svg.read_bytes()).decode()}"


def duration(seconds: float) -> str:
    """`1 h 05 min`, `3 min 20 s`, `4.2 s`."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def thumbnail(path: Path) -> Picture:
    """The picture at most 320 px wide or high, as JPEG in a data URI."""
    with Image.open(path) as image:
        small = image.convert("RGB")
    small.thumbnail((THUMBNAIL_PX, THUMBNAIL_PX))
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=88, subsampling=0)
    encoded = base64.b64encode(buffer.getvalue()).decode()
    return Picture(f"data:image/jpeg;base64,{encoded}", *small.size)


def _sample_pictures(
    samples: Sequence[SamplePicture],
) -> tuple[list[tuple[Picture, Picture, str]], int]:
    """Thumbnails as far as the page may grow, and how many samples were left out."""
    pictures: list[tuple[Picture, Picture, str]] = []
    used = 0
    for sample in samples:
        pair = thumbnail(sample.selected_png), thumbnail(sample.transformed_png)
        used += sum(len(picture.uri) for picture in pair)
        if used > MAX_SAMPLE_BYTES:
            break
        pictures.append((*pair, sample.caption))
    return pictures, len(samples) - len(pictures)


def _tables(
    context: ReportContext,
) -> dict[str, tuple[list[Column], list[tuple[str, list[TableCell]]]]]:
    """Columns and rows (status, cells) of the three tables of cells."""
    labels = ap_t2t_labels(context.rows)
    headline = [
        Column(f"AP_t2t_{s}_shrunk", "AP_t2t", f"%, s ≥ {int(s) / 100:g}", 100) for s in labels
    ]
    kinds = {"": "raw", "_shrunk": "shrunk", "_lift": "lift, points"}
    variants = [
        Column(f"AP_t2t_{s}{kind}", f"s ≥ {int(s) / 100:g}", unit, 100)
        for s in labels
        for kind, unit in kinds.items()
    ]
    distance, num_features = DISTANCE_TABLE[6], DISTANCE_TABLE[5]
    grid = [*KEY_COLUMNS, STATUS, *AP_COLUMNS, *headline, distance, num_features, REASON]
    choices = {"grid": grid, "ap_t2t": [*KEY_COLUMNS, *variants], "distances": [*DISTANCE_TABLE]}
    if len({row["dataset"] for row in context.rows}) == 1:
        choices = {name: columns[1:] for name, columns in choices.items()}
    return {
        name: (
            columns,
            [(text(row, "status"), [_table_cell(row, c) for c in columns]) for row in context.rows],
        )
        for name, columns in choices.items()
    }


def _table_cell(row: Row, column: Column) -> TableCell:
    if column.scale is None:
        shown = text(row, column.name)
        return TableCell(shown, shown, is_number=False)
    value = column.scale * number(row, column.name)
    if np.isnan(value):
        return TableCell(MISSING, "", is_number=True)
    return TableCell(f"{value:,.{column.decimals}f}", repr(float(value)), is_number=True)


def _effect_lines(summary: Sequence[Row]) -> list[dict[str, Value]]:
    """Per training set, over targets: AP50 of off and on, the paired change and its test."""
    lines: list[dict[str, Value]] = []
    for group in groups_over_targets(summary):
        row = find_summary(summary, "AP50", group) or {}
        mean, effect = mean_of(row), effect_of(row)
        lines.append(
            {
                "dataset": group.dataset,
                "real_count": group.real_count,
                "synthetic": group.synthetic,
                "seeds": mean.num,
                "mean": _with_bounds(mean),
                "effect": "" if group.synthetic == OFF else _with_bounds(effect, "+"),
                "p": "" if effect.num < 2 else f"{number(row, 'p'):.3g}",
                "note": text(row, "note"),
            }
        )
    return lines


def _with_bounds(interval: Interval, sign: str = "") -> str:
    """`12.4 [9.1, 15.7]`, in hundredths."""
    if np.isnan(interval.mean):
        return MISSING
    mean = f"{100 * interval.mean:{sign}.1f}"
    if not interval.known:
        return mean
    return f"{mean} [{100 * interval.low:{sign}.1f}, {100 * interval.high:{sign}.1f}]"


def _training_sets(context: ReportContext) -> list[dict[str, Value]]:
    """Per training set: features of its Gaussian, and what raw distances read without a shift."""
    sets: dict[tuple[str, float, str, float], Row] = {}
    for row in context.rows:
        key = (
            text(row, "dataset"),
            number(row, "real_count"),
            text(row, "synthetic"),
            number(row, "seed"),
        )
        if np.isfinite(number(row, "gaussian_n")):
            sets.setdefault(key, row)
    lines: list[dict[str, Value]] = []
    for (dataset, real_count, synthetic, seed), row in sorted(sets.items()):
        n = int(number(row, "gaussian_n"))
        unshifted = expected_raw_distance(n, context.feature_dim)
        rank = number(row, "gaussian_rank")
        lines.append(
            {
                "dataset": dataset,
                "real_count": int(real_count),
                "synthetic": synthetic,
                "seed": int(seed),
                "n": n,
                "rank": MISSING if np.isnan(rank) else str(int(rank)),
                "unshifted": "does not exist" if np.isnan(unshifted) else f"{unshifted:,.0f}",
            }
        )
    return lines
