"""Writing REPRODUCTION.md beside the tables of a sweep."""

from collections.abc import Mapping
from math import isnan
from pathlib import Path

import polars as pl
from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template

from ptl_sweep.report.content import beside
from ptl_sweep.report.context import ReportContext
from ptl_sweep.report.reproduction.stated import other_settings, stated_settings
from ptl_sweep.report.verdicts.answers import answers
from ptl_sweep.store import write_atomically
from ptl_sweep.study.study import Study
from ptl_sweep.terminal import duration

NAME = "REPRODUCTION.md"


def write_record(folder: Path, context: ReportContext) -> Path:
    """Write REPRODUCTION.md into `folder`; returns its path.

    It says what ran, every setting beside what the papers state of it, and our changes beside the
    published ones, as direction and ratio.
    """
    study = context.study
    settings = {**context.settings, **_grid(study.rows)}
    stated = stated_settings(settings)
    page = _template().render(
        context=context,
        seeds=sorted(study.rows["seed"].unique()),
        num_ok=study.rows.filter(pl.col("status") == "ok").height,
        answers=answers(study.claims, study.summary),
        changed=[one for one in stated if not one.is_kept],
        kept=[one for one in stated if one.is_kept],
        others=list(other_settings(settings, stated)),
        published=_published(study),
    )
    path = folder / NAME
    write_atomically(path, page.encode())
    return path


def _template() -> Template:
    """The template of the record, which is Markdown: a bar in a cell must not end it."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=False,  # no HTML
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["cell"] = lambda value: str(value).replace("|", "\\|").replace("\n", " ")
    environment.filters["duration"] = duration
    environment.filters["ratio"] = lambda value: (
        "-" if value is None or isnan(value) else f"{value:.2f}"
    )
    return environment.get_template("record.md.jinja")


def _grid(rows: pl.DataFrame) -> Mapping[str, str]:
    """The axes of the grid as settings, because no single value of them is shared by all cells."""
    axes = {"dataset.name": "dataset", "real_count": "real_count", "target": "target"}
    values = {key: sorted(rows[column].unique()) for key, column in axes.items()}
    return {key: str(found if len(found) > 1 else found[0]) for key, found in values.items()}


def _published(study: Study) -> list[dict[str, object]]:
    """Published changes that one of ours stands beside."""
    shared = beside(study).filter(pl.col("change") != "")
    return list(shared.iter_rows(named=True))
