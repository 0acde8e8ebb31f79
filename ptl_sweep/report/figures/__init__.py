"""Figures of the report, SVG and PNG, each with hover texts and a class per series."""

from ptl_sweep.report.figures.distances import CellHistogram
from ptl_sweep.report.figures.drawing.saving import FigureFile, inline_svg, series_class
from ptl_sweep.report.figures.writing import PRIORITY, write_figures

__all__ = [
    "PRIORITY",
    "CellHistogram",
    "FigureFile",
    "inline_svg",
    "series_class",
    "write_figures",
]
