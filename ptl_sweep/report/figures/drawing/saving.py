"""A figure on disk: PNG, and an SVG with hover texts that can stand in a page beside others."""

import io
import itertools
import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from xml.etree import ElementTree as ET

import matplotlib as mpl
from matplotlib.artist import Artist
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from ptl_sweep.report.figures.drawing.style import STYLE
from ptl_sweep.store import write_atomically

SVG = "http://www.w3.org/2000/svg"
XLINK = "http://www.w3.org/1999/xlink"
HREF = f"{{{XLINK}}}href"
MARK = "mark:"  # beginning of the gid that carries series and tips until the SVG is written
LONG_NUMBER = re.compile(r"-?\d+\.\d{3,}")
PNG_DPI = 150
PIXELS_PER_POINT = 96 / 72  # of CSS
ENLARGED = 1.3  # at most, on a wide screen
ET.register_namespace("", SVG)
ET.register_namespace("xlink", XLINK)


class FigureFile(NamedTuple):
    """A figure on disk: `svg`, and beside it the same as .png."""

    title: str
    svg: Path
    caption: str = ""  # one sentence: how to read it


def slug(name: str) -> str:
    """Letters, digits, `-` and `_` only: for file names, ids and classes."""
    return re.sub(r"[^A-Za-z0-9_-]", "_", name)


def series_class(synthetic: str) -> str:
    """Class of everything in an SVG that belongs to one value of `synthetic`."""
    return f"series-{slug(synthetic)}"


def mark(artist: Artist, *, series: str = "", tip: str | Sequence[str] = "") -> None:
    """Remember what the artist shows until the SVG is written.

    `tip` is a hover text for the whole artist, or one for each of its markers, in drawing order
    (markers at NaN are not drawn and have none). `series` is a value of `synthetic`.
    """
    tips = tip if isinstance(tip, str) else list(tip)
    artist.set_gid(MARK + json.dumps([series, tips]))


def save_figure(folder: Path, name: str, draw: Callable[[], Figure], title: str = "") -> Path:
    """Draw in the report's style; write `name`.svg and .png. Equal input gives an equal SVG.

    Raises: ValueError when an artist has more or fewer tips than markers.
    """
    folder.mkdir(parents=True, exist_ok=True)
    svg = folder / f"{slug(name)}.svg"
    buffer = io.BytesIO()
    with mpl.rc_context(STYLE):
        figure = draw()
        metadata = {"Date": None, "Creator": None, "Format": None, "Type": None, "Title": title}
        # straight to the canvases: `savefig` would draw everything twice
        vector: Any = FigureCanvasSVG(figure)
        vector.print_svg(buffer, metadata=metadata)
        figure.set_layout_engine("none")  # the SVG has placed everything
        figure.dpi = PNG_DPI
        pixels: Any = FigureCanvasAgg(figure)
        pixels.print_png(svg.with_suffix(".png"), metadata={"Software": None})
    write_atomically(svg, finished_svg(buffer.getvalue(), slug(name)))
    return svg


def finished_svg(drawn: bytes, prefix: str) -> bytes:
    """Matplotlib's SVG with tips and classes, ids that begin with `prefix`, and no global style."""
    root = ET.fromstring(drawn)
    for element in list(root.iter()):
        _apply_mark(element)
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag in {f"{{{SVG}}}style", f"{{{SVG}}}metadata"}:
                parent.remove(child)
    root.set("style", "stroke-linejoin:round;stroke-linecap:butt")  # was a rule for all elements
    _rename_ids(root, prefix)
    _round_numbers(root)
    finished: bytes = ET.tostring(root, encoding="utf-8", xml_declaration=True)
    return finished


def _apply_mark(element: ET.Element) -> None:
    """The gid of a marked artist becomes a class and hover texts."""
    gid = element.get("id", "")
    if not gid.startswith(MARK):
        return
    del element.attrib["id"]
    series, tips = json.loads(gid.removeprefix(MARK))
    if series:
        element.set("class", series_class(series))
    if isinstance(tips, str):
        _add_title(element, tips)
        return
    markers = list(element.iter(f"{{{SVG}}}use")) or list(element.iter(f"{{{SVG}}}path"))
    if not tips or len(markers) % len(tips):  # a marker of two halves is drawn twice
        raise ValueError(f"{len(markers)} markers, {len(tips)} tips; the first: {tips[:1]}")
    for marker, tip in zip(markers, itertools.cycle(tips)):
        _add_title(marker, tip)


def _add_title(element: ET.Element, tip: str) -> None:
    if tip:
        title = ET.Element(f"{{{SVG}}}title")
        title.text = tip
        element.insert(0, title)


def _rename_ids(root: ET.Element, prefix: str) -> None:
    """Ids that something refers to get a short name of their own; the others go."""
    names: dict[str, str] = {}
    pattern = re.compile(r"url\(#([^)]+)\)")

    def renamed(name: str) -> str:
        return names.setdefault(name, f"{prefix}-{len(names)}")

    for element in root.iter():
        for key, value in element.attrib.items():
            if key in {HREF, "href"} and value.startswith("#"):
                element.set(key, f"#{renamed(value[1:])}")
            elif "url(#" in value:
                element.set(key, pattern.sub(lambda hit: f"url(#{renamed(hit[1])})", value))
    for element in root.iter():
        name = element.attrib.pop("id", None)
        if name in names:
            element.set("id", names[name])


def _round_numbers(root: ET.Element) -> None:
    """Coordinates to a hundredth of a point: half the size, nothing to see."""
    for element in root.iter():
        for key in {"d", "x", "y", "transform", "width", "height"} & element.attrib.keys():
            element.set(key, LONG_NUMBER.sub(_rounded, element.attrib[key]))


def _rounded(number: re.Match[str]) -> str:
    return f"{float(number[0]):.2f}".rstrip("0").rstrip(".")


def inline_svg(path: Path) -> str:
    """The figure as an <svg> element for a page: no prolog, named by its title, as wide as fits.

    Its ids begin with the name of its file, so figures of one folder can share a page.
    """
    root = ET.fromstring(path.read_bytes())
    width = float(root.attrib.pop("width").removesuffix("pt"))
    root.attrib.pop("height")
    title = root.find(f"{{{SVG}}}title")
    if title is not None:
        root.remove(title)  # it would be the hover text of the empty ground
    root.set("role", "img")
    root.set("aria-label", (title.text if title is not None else None) or path.stem)
    size = f"width:100%;max-width:{ENLARGED * width * PIXELS_PER_POINT:.0f}px;height:auto"
    root.set("style", f"{size};{root.get('style', '')}")
    return ET.tostring(root, encoding="unicode")
