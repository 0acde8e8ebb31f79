"""REPRODUCTION.md: what a sweep was run with, and where that departs from the papers."""

from ptl_sweep.report.reproduction.record import write_record

__all__ = ["write_record"]
