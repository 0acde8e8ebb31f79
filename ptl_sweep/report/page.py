"""Writing report.html: one page without any request, small enough to mail."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from ptl_sweep.report import content
from ptl_sweep.report.context import ReportContext
from ptl_sweep.report.evidence import off_first
from ptl_sweep.report.figures import (
    PRIORITY,
    FigureFile,
    inline_svg,
    series_class,
    write_figures,
)
from ptl_sweep.report.figures.drawing.style import line_style
from ptl_sweep.report.pictures import crop_plates, sample_plates
from ptl_sweep.report.verdicts.answers import answer_of, arms
from ptl_sweep.report.verdicts.headline import headlines
from ptl_sweep.store import write_atomically
from ptl_sweep.study.study import Study

logger = logging.getLogger(__name__)

MAX_REPORT_BYTES = 5_000_000
MAX_SAMPLE_BYTES = 1_400_000  # thumbnails of all samples together
MAX_CROP_BYTES = 800_000  # of all false positives together
TEMPLATES = Path(__file__).parent / "templates"


class Series(NamedTuple):
    """A value of `synthetic` that can be hidden."""

    name: str
    css_class: str
    colour: str


class Shown(NamedTuple):
    """A figure in the page: drawn, or as a link only."""

    title: str
    caption: str
    name: str  # of the files, without suffix
    svg: Markup | None  # an <svg> that this package wrote


def write_report(folder: Path, context: ReportContext) -> Path:
    """Write figures/ and report.html into `folder`; returns the path of the report.

    The page needs no other file and makes no request; tables and figures beside it are linked.
    Figures that would take it over 5 MB are links only, in the reverse order of PRIORITY.
    """
    study = context.study
    figures = write_figures(folder / "figures", study, context.histograms)
    template = environment().get_template("page.html.jinja")
    parts = _parts(context, study)
    page = template.render(parts, figures=chosen_figures(figures, 0))
    room = MAX_REPORT_BYTES - len(page.encode())
    page = template.render(parts, figures=chosen_figures(figures, room))
    path = folder / "report.html"
    write_atomically(path, page.encode())
    if len(page.encode()) > MAX_REPORT_BYTES:
        logger.warning("%s has %.1f MB, more than a mail takes", path, len(page) / 1e6)
    return path


def environment() -> Environment:
    """Templates that escape everything and know every name they use."""
    return Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _parts(context: ReportContext, study: Study) -> dict[str, object]:
    """Everything of the page but its figures."""
    found = arms(study.claims, study.summary)
    first = headlines(found, context.stage_costs)
    rest = [answer_of(arm) for arm in found]
    return {
        "context": context,
        "headlines": first,
        "other_answers": [one for one in rest if one not in [head.answer for head in first]],
        "leads": content.leads(context, study),
        "tables": content.page_tables(context, study),
        "shares_published": (content.beside(study)["change"] != "").any(),
        "num_failed": (study.rows["status"] != "ok").sum(),
        "samples": sample_plates(context.samples, MAX_SAMPLE_BYTES),
        "crops": crop_plates(study.crops, MAX_CROP_BYTES),
        "all_series": all_series(study.rows["synthetic"]),
        **assets(),
    }


def assets() -> dict[str, Markup]:
    """Style and script, files of ours, which go into the page as they are."""
    return {
        "style": Markup((TEMPLATES / "page.css").read_text()),
        "script": Markup((TEMPLATES / "page.js").read_text()),
    }


def all_series(synthetics: Iterable[str]) -> list[Series]:
    """The values of `synthetic`, `off` first."""
    names = off_first(set(synthetics))
    return [Series(name, series_class(name), line_style(name, names)["color"]) for name in names]


def chosen_figures(
    figures: Mapping[str, Sequence[FigureFile]], room: int
) -> dict[str, list[Shown]]:
    """Figures by kind; drawn while they fit into `room` bytes, by PRIORITY, then links."""
    shown: dict[str, list[Shown]] = {}
    for kind in sorted(figures, key=[*PRIORITY, *figures].index):
        shown[kind] = []
        for figure in figures[kind]:
            size = figure.svg.stat().st_size
            fits = size <= room
            room -= size if fits else 0
            svg = Markup(inline_svg(figure.svg)) if fits else None
            shown[kind].append(Shown(figure.title, figure.caption, figure.svg.stem, svg))
    return shown
