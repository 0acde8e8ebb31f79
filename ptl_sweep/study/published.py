"""Published AP (papers/*.yaml), and what of it can stand beside ours: direction and ratio.

Absolute values are never ranked together: recipe, weights and splits of the papers are not public.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from ptl_sweep.config.schema import ConfigError
from ptl_sweep.study.groups import number, text
from ptl_sweep.study.statistics import Interval
from ptl_sweep.study.summary import effect_of, find_summary
from ptl_sweep.vocabulary import OFF, Group, Row, Value

PAPERS = Path(__file__).with_name("papers")
ON = "on"
BEST = "best"  # iteration that was chosen on test data
METRICS = ("AP50", "AP")
OTHER_METHODS = ("pretrain_finetune", "naive_merge", "naive_merge_transform")  # PTL Table 1
PAPER_KEYS = ("paper", "arxiv", "tables")
TABLE_KEYS = ("table", "caption", "source", "entries")
ENTRY_KEYS = ("target", "real_count", "synthetic", "iteration")
OPTIONAL_KEYS = ("setting", *METRICS)
# One row per paper, table and cell of it; AP as fractions.
PUBLISHED_COLUMNS = (
    "paper", "table", "dataset", "target", "real_count", "synthetic", "iteration", "AP50", "AP",
)  # fmt: skip
BESIDE_COLUMNS = (
    "paper", "table", "dataset", "target", "real_count", "metric",
    "published_change", "published_ratio",  # up | down | same; AP with synthetic over AP without
    "change", "ratio",  # ours; empty without ours
    "note",
)  # fmt: skip


def load_published(folder: Path | None = None) -> list[Row]:
    """One row per entry of `folder`/*.yaml (default: PAPERS), with PUBLISHED_COLUMNS.

    AP as fractions, NaN where the paper gives none. `synthetic` is off, on, "on, SETTING" where a
    paper varies something, or another method of the paper; `iteration` is a number, BEST, or None
    where the paper has or states none.

    Raises: ConfigError that names file, table and entry.
    """
    paths = sorted((folder or PAPERS).glob("*.yaml"))
    return [row for path in paths for row in _read_paper(path)]


def _read_paper(path: Path) -> Iterator[Row]:
    where = f"{PAPERS.name}/{path.name}"
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise ConfigError(f"{where} is not valid YAML: {error}") from error
    _check_keys(content, PAPER_KEYS, (), where)
    seen: set[tuple[Value, ...]] = set()
    for table in content["tables"]:
        _check_keys(table, TABLE_KEYS, (), f"{where}, a table")
        for index, entry in enumerate(table["entries"], start=1):
            place = f"{where}, table {table['table']} ({table['source']}), entry {index}"
            row = _row(entry, place)
            row |= {
                "paper": f"{content['paper']} (arXiv {content['arxiv']})",
                "table": str(table["table"]),
                "dataset": str(table["source"]),
            }
            identity = tuple(row[name] for name in PUBLISHED_COLUMNS if name not in METRICS)
            if identity in seen:
                raise ConfigError(f"{place} repeats an entry before it")
            seen.add(identity)
            yield {name: row[name] for name in PUBLISHED_COLUMNS}


def _check_keys(content: Any, needed: Sequence[str], optional: Sequence[str], where: str) -> None:
    if not isinstance(content, Mapping):
        raise ConfigError(f"{where} must be a mapping with {', '.join(needed)}")
    missing = [name for name in needed if name not in content]
    unknown = [str(name) for name in content if name not in (*needed, *optional)]
    if missing:
        raise ConfigError(f"{where} lacks {', '.join(missing)}")
    if unknown:
        raise ConfigError(
            f"{where}: unknown {', '.join(unknown)}; known are {', '.join((*needed, *optional))}"
        )


def _row(entry: Any, where: str) -> dict[str, Value]:
    """Everything of a row that the entry itself says. Raises: ConfigError."""
    _check_keys(entry, ENTRY_KEYS, OPTIONAL_KEYS, where)
    synthetic, iteration, count = entry["synthetic"], entry["iteration"], entry["real_count"]
    if synthetic not in (OFF, ON, *OTHER_METHODS):
        hint = "; on and off need quotes in YAML" if isinstance(synthetic, bool) else ""
        allowed = ", ".join((OFF, ON, *OTHER_METHODS))
        raise ConfigError(f"{where}: synthetic must be one of {allowed}, got {synthetic}{hint}")
    if not _is_count(count, 1):
        raise ConfigError(f"{where}: real_count must be an integer >= 1, got {count}")
    if iteration not in (None, BEST) and not _is_count(iteration, 0):
        raise ConfigError(f"{where}: iteration must be a number, {BEST} or null, got {iteration}")
    if (synthetic == OFF) != (iteration == 0):
        raise ConfigError(f"{where}: iteration 0 is synthetic {OFF}, and the reverse")
    setting = f", {entry['setting']}" if "setting" in entry else ""
    return {
        "target": str(entry["target"]),
        "real_count": count,
        "synthetic": synthetic + setting,
        "iteration": iteration,
        **_fractions(entry, where),
    }


def _is_count(value: Any, low: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= low


def _fractions(entry: Mapping[str, Any], where: str) -> dict[str, float]:
    """AP50 and AP as fractions of 1. Raises: ConfigError."""
    values = {name: entry[name] for name in METRICS if name in entry}
    if not values:
        raise ConfigError(f"{where} has neither {' nor '.join(METRICS)}")
    for name, value in values.items():
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 100:
            raise ConfigError(f"{where}: {name} must be percent in [0, 100], got {value}")
    if len(values) == len(METRICS) and values["AP"] > values["AP50"]:
        raise ConfigError(
            f"{where}: AP {values['AP']} over IoU .5:.95 cannot exceed AP50 {values['AP50']}"
        )
    return {name: values[name] / 100 if name in values else np.nan for name in METRICS}


def published_beside(published: Sequence[Row], summary: Sequence[Row], dataset: str) -> list[Row]:
    """Change and ratio by synthetic images, published and ours, with BESIDE_COLUMNS.

    Of `published`: `on` with the paper's own settings at its last iteration, against `off` of the
    same paper; not BEST, which was chosen on test data. `summary` is summary.csv; the ratio of ours
    is that of the two means over seeds, the change that of the paired effect. A sweep that was not
    trained on the paper's data set (`dataset` is another) has nothing beside it.
    """
    rows: list[Row] = []
    for row in published:
        off = _baseline(published, row)
        if row["synthetic"] != ON or row["iteration"] == BEST or off is None:
            continue
        shared = {name: row[name] for name in BESIDE_COLUMNS[:5]}
        for metric in METRICS:
            low, high = number(off, metric), number(row, metric)
            if np.isnan(low) or np.isnan(high):
                continue
            theirs: Row = {
                "metric": metric,
                "published_change": _change(high - low),
                "published_ratio": _ratio(high, low),
            }
            rows.append({**shared, **theirs, **_ours(summary, row, metric, dataset)})
    return rows


def _baseline(published: Sequence[Row], row: Row) -> Row | None:
    """`off` of the same paper, data set, target and real count; a table may leave it to another."""
    wanted = {name: row[name] for name in ("paper", "dataset", "target", "real_count")}
    wanted["synthetic"] = OFF
    found = [other for other in published if all(other[k] == v for k, v in wanted.items())]
    same_table = [other for other in found if other["table"] == row["table"]]
    return next(iter(same_table or found), None)


def _ours(summary: Sequence[Row], row: Row, metric: str, dataset: str) -> dict[str, Value]:
    if row["dataset"] != dataset:
        return {"change": "", "ratio": np.nan, "note": f"different data: trained on {dataset}"}
    group = Group(dataset, int(number(row, "real_count")), ON, text(row, "target"))
    on = find_summary(summary, metric, group) or {}
    off = find_summary(summary, metric, group._replace(synthetic=OFF)) or {}
    effect = effect_of(on)
    if np.isnan(effect.mean):
        return {"change": "", "ratio": np.nan, "note": "not in this sweep"}
    return {
        "change": _change(effect.mean),
        "ratio": _ratio(number(on, "mean"), number(off, "mean")),
        "note": _doubt(effect),
    }


def _doubt(effect: Interval) -> str:
    if not effect.known:
        return "one seed of ours, no interval"
    return "ours not established: its 95 % interval includes 0" if effect.includes_zero else ""


def _change(difference: float) -> str:
    return "same" if difference == 0 else "up" if difference > 0 else "down"


def _ratio(high: float, low: float) -> float:
    """NaN where there is nothing to divide by."""
    return high / low if low > 0 else np.nan
