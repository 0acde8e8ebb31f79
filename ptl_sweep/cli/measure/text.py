"""What `measure` says on the terminal: a table for each target."""

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ptl_sweep.terminal import WIDTH, text_table
from ptl_sweep.vocabulary import RELATIVE_DISTANCE, ApT2t, Distance, bounded

KINDS = {"tp": "true positives", "fp": "false positives"}
UNITS = {"raw": "", "shrunk": "", "calibrated": " [units of validation]", "equal_n": ""}


def measures_text(content: Mapping[str, Any], thresholds: Sequence[float], out: Path | None) -> str:
    """Say what was measured, why something was not, and what nothing here can say."""
    lines = [f"training    {content['training']}"]
    for row in content["targets"]:
        lines += ["", *_target(row, thresholds)]
    lines += ["", *textwrap.wrap(content["note"], WIDTH)]
    if out is not None:
        lines.append(f"written     {out}")
    return "\n".join(lines)


def _target(row: Mapping[str, Any], thresholds: Sequence[float]) -> Iterator[str]:
    counts = {"images": "num_images", "ground truths": "num_ground_truth"}
    shown = ", ".join(f"{row[name]} {what}" for what, name in counts.items())
    unit = "images" if row["num_blocks"] == row["num_images"] else "scenes"
    yield f"{row['target']}: {shown}, {row['num_detections']} detections"
    rows = [*_precisions(row, thresholds), *_distances(row)]
    yield text_table(("", "value", f"95 % over {row['num_blocks']} {unit}"), rows)
    for reason in (row["reason"] or "").split("; "):
        if reason:
            yield from textwrap.wrap(f"note: {reason}", WIDTH, subsequent_indent="      ")


def _precisions(row: Mapping[str, Any], thresholds: Sequence[float]) -> Iterator[tuple[str, ...]]:
    """AP and AP_t2t, in hundredths."""
    names = {"AP50": "AP50 [%]", "AP": "AP, IoU 0.5 to 0.95 [%]"}
    names |= {ApT2t(s).name: f"AP_t2t, score >= {s:.2f} [%]" for s in thresholds}
    for name, meaning in names.items():
        low, high = (row.get(bound) for bound in bounded(name)[1:])
        interval = "" if low is None or high is None else f"{100 * low:.1f} to {100 * high:.1f}"
        yield meaning, "-" if row[name] is None else f"{100 * row[name]:.1f}", interval


def _distances(row: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    """Mean train2test distances, the relative one last."""
    for variant, unit in UNITS.items():
        for kind, what in KINDS.items():
            value = row[Distance(kind, "mean", variant).name]
            yield f"mean train2test {variant}, {what}{unit}", _number(value), ""
    yield "mean train2test relative, all ground truths", _number(row[RELATIVE_DISTANCE]), ""


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"
