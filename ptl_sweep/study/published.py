"""Published AP (papers/*.yaml), and what of it can stand beside ours: direction and ratio.

Absolute values are never ranked together: recipe, weights and splits of the papers are not public.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import yaml

from ptl_sweep.config.schema import ConfigError
from ptl_sweep.study.claims.claim import MIN_SEEDS
from ptl_sweep.study.schemas import BESIDE, PUBLISHED, frame_of
from ptl_sweep.study.statistics import Interval
from ptl_sweep.study.summary import MeanAndEffect, means_and_effects
from ptl_sweep.vocabulary import OFF, Group, Value

PAPERS = Path(__file__).with_name("papers")
ON = "on"
BEST = "best"  # iteration that was chosen on test data
METRICS = ("AP50", "AP")
OTHER_METHODS = ("pretrain_finetune", "naive_merge", "naive_merge_transform")  # PTL Table 1
PAPER_KEYS = ("paper", "arxiv", "tables")
TABLE_KEYS = ("table", "caption", "source", "entries")
ENTRY_KEYS = ("target", "real_count", "synthetic", "iteration")
OPTIONAL_KEYS = ("setting", *METRICS)
PLACE = ("paper", "dataset", "target", "real_count")  # of a published number


def load_published(folder: Path | None = None) -> pl.DataFrame:
    """One row per entry of `folder`/*.yaml (default: PAPERS), with the schema PUBLISHED.

    AP as fractions, NaN where the paper gives none. `synthetic` is off, on, "on, SETTING" where a
    paper varies something, or another method of the paper; `iteration` is a number, BEST, or null
    where the paper has or states none.

    Raises: ConfigError that names file, table and entry.
    """
    paths = sorted((folder or PAPERS).glob("*.yaml"))
    return frame_of([row for path in paths for row in _read_paper(path)], PUBLISHED)


def _read_paper(path: Path) -> Iterator[dict[str, Value]]:
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
            identity = tuple(row[name] for name in PUBLISHED if name not in METRICS)
            if identity in seen:
                raise ConfigError(f"{place} repeats an entry before it")
            seen.add(identity)
            yield row


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
        "iteration": None if iteration is None else str(iteration),
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


def published_beside(published: pl.DataFrame, summary: pl.DataFrame, dataset: str) -> pl.DataFrame:
    """Change and ratio by synthetic images, published and ours, with the schema BESIDE.

    Of `published`: `on` with the paper's own settings at its last iteration, against `off` of the
    same paper; not BEST, which was chosen on test data. `summary` is summary.csv; the ratio of ours
    is that of the two means over seeds, the change that of the paired effect. A sweep that was not
    trained on the paper's data set (`dataset` is another) has nothing beside it.
    """
    ours = {metric: means_and_effects(summary, metric) for metric in METRICS}
    on = published.filter(pl.col("synthetic") == ON, pl.col("iteration").ne_missing(BEST))
    rows: list[dict[str, Value]] = []
    for row in on.iter_rows(named=True):
        off = _baseline(published, row)
        place = {name: row[name] for name in (*PLACE, "table")}
        for metric in METRICS:
            low, high = off[metric], row[metric]
            if np.isnan(low) or np.isnan(high):
                continue
            group = Group(row["dataset"], row["real_count"], ON, row["target"])
            rows.append(
                {
                    **place,
                    "metric": metric,
                    "published_change": _change(high - low),
                    "published_ratio": _ratio(high, low),
                    **_ours(ours[metric], group, dataset),
                }
            )
    return frame_of(rows, BESIDE)


def _baseline(published: pl.DataFrame, row: Mapping[str, Value]) -> dict[str, float]:
    """AP of `off` at the same place, NaN without; a table may leave it to another of the paper."""
    off = published.filter(synthetic=OFF, **{name: row[name] for name in PLACE})
    same_table_first = off.sort(pl.col("table") != row["table"], maintain_order=True)
    found = same_table_first.select(METRICS).rows() or [(np.nan, np.nan)]
    return dict(zip(METRICS, found[0], strict=True))


def _ours(found: Mapping[Group, MeanAndEffect], group: Group, dataset: str) -> dict[str, Value]:
    if group.dataset != dataset:
        return {"change": "", "note": f"different data: trained on {dataset}"}
    on, off = found.get(group), found.get(group._replace(synthetic=OFF))
    if on is None or off is None or np.isnan(on.effect.mean):
        return {"change": "", "note": "not in this sweep"}
    return {
        "change": _change(on.effect.mean),
        "ratio": _ratio(on.mean.mean, off.mean.mean),
        "note": _doubt(on.effect),
    }


def _doubt(effect: Interval) -> str:
    if effect.num < MIN_SEEDS:
        seeds = "1 seed" if effect.num == 1 else f"{effect.num} seeds"
        return f"ours open: {seeds}, {MIN_SEEDS} are needed"
    return "ours not established: its 95 % interval includes 0" if effect.includes_zero else ""


def _change(difference: float) -> str:
    return "same" if difference == 0 else "up" if difference > 0 else "down"


def _ratio(high: float, low: float) -> float:
    """NaN where there is nothing to divide by."""
    return high / low if low > 0 else np.nan
