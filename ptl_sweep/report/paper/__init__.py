"""Tables for a paper, made of the tables of a sweep: `python -m ptl_sweep table NAME`."""

from collections.abc import Callable
from pathlib import Path

from ptl_sweep.report.paper.arms import contrasts, effects
from ptl_sweep.report.paper.crossdomain import crossdomain
from ptl_sweep.report.paper.dose import dose, write_dose_figures
from ptl_sweep.report.paper.errors import errors
from ptl_sweep.report.paper.first_experiments import first_experiments
from ptl_sweep.report.paper.forecast import forecast
from ptl_sweep.report.paper.layout import PaperTable
from ptl_sweep.report.paper.predictors import predictors
from ptl_sweep.report.paper.source import PaperSource
from ptl_sweep.report.paper.variance import variance

TABLES: dict[str, Callable[[PaperSource], PaperTable]] = {
    "crossdomain": lambda source: crossdomain(source.iteration_rows),
    "first": lambda source: first_experiments(source.iteration_rows, source.score_thresholds),
    "effects": effects,
    "contrasts": contrasts,
    "dose": dose,
    "predictors": predictors,
    "errors": errors,
    "forecast": forecast,
    "variance": variance,
}

# what is drawn when it is asked for; the reducer draws the others
FIGURES: dict[str, Callable[[PaperSource, Path], None]] = {"dose": write_dose_figures}
