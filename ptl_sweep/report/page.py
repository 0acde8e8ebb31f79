"""Writing report.html: one page without any request, small enough to mail."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from ptl_sweep.report import content
from ptl_sweep.report.answers import answers
from ptl_sweep.report.context import ReportContext
from ptl_sweep.report.figures import FigureFile, inline_svg, series_class, write_figures
from ptl_sweep.report.figures.style import axes_of, line_style
from ptl_sweep.report.pictures import crop_plates, sample_plates
from ptl_sweep.store import write_atomically
from ptl_sweep.vocabulary import Row

logger = logging.getLogger(__name__)

MAX_REPORT_BYTES = 5_000_000
MAX_SAMPLE_BYTES = 1_400_000  # thumbnails of all samples together
MAX_CROP_BYTES = 800_000  # of all false positives together
TEMPLATES = Path(__file__).parent / "templates"
PRIORITY = (  # kinds of figures; the last become links first when the page grows too large
    "equivalent", "effect", "ap", "prediction", "bands", "ap_t2t", "published", "errors", "spreads",
    "distances", "iterations", "gaps", "selected", "precision",
)  # fmt: skip


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
    figures = write_figures(folder / "figures", context.study, context.histograms)
    parts = _parts(context)
    template = environment().get_template("page.html.jinja")
    page = template.render(**parts, figures=chosen_figures(figures, 0))
    room = MAX_REPORT_BYTES - len(page.encode())
    page = template.render(**parts, figures=chosen_figures(figures, room))
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


def _parts(context: ReportContext) -> dict[str, Any]:
    """Everything of the page but its figures."""
    study = context.study
    return {
        "context": context,
        "answers": answers(study.summary),
        "leads": content.leads(context),
        "tables": content.page_tables(context),
        "shares_published": any(row["change"] for row in content.beside(study)),
        "reasons": content.missing_reasons(study.rows),
        "num_failed": sum(row["status"] != "ok" for row in study.rows),
        "samples": sample_plates(context.samples, MAX_SAMPLE_BYTES),
        "crops": crop_plates(study.crops, MAX_CROP_BYTES),
        "all_series": all_series(study.rows),
        **assets(),
    }


def assets() -> dict[str, Markup]:
    """Style and script, files of ours, which go into the page as they are."""
    return {
        "style": Markup((TEMPLATES / "page.css").read_text()),
        "script": Markup((TEMPLATES / "page.js").read_text()),
    }


def all_series(rows: Sequence[Row]) -> list[Series]:
    """The values of `synthetic`, `off` first."""
    names = axes_of(rows).synthetics
    return [Series(name, series_class(name), line_style(name, names)["color"]) for name in names]


def chosen_figures(
    figures: Mapping[str, Sequence[FigureFile]], room: int
) -> dict[str, list[Shown]]:
    """Figures by kind; drawn while they fit into `room` bytes, by PRIORITY, then links."""
    shown: dict[str, list[Shown]] = {}
    for kind in (*PRIORITY, *(kind for kind in figures if kind not in PRIORITY)):
        shown[kind] = []
        for figure in figures.get(kind, ()):
            size = figure.svg.stat().st_size
            fits = size <= room
            room -= size if fits else 0
            svg = Markup(inline_svg(figure.svg)) if fits else None
            shown[kind].append(Shown(figure.title, figure.caption, figure.svg.stem, svg))
    return shown
