"""report.html: one self-contained file that opens offline and says what the sweep found."""

from ptl_sweep.report.context import (
    Provenance,
    ReportContext,
    SamplePicture,
    StageCost,
    StageFailure,
)
from ptl_sweep.report.page import write_report

__all__ = [
    "Provenance",
    "ReportContext",
    "SamplePicture",
    "StageCost",
    "StageFailure",
    "write_report",
]
