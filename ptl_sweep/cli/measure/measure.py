"""`measure`: AP, train2test distance and AP_t2t of any detector's exported detections."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ptl_sweep.cli.arguments import OK, command_parser, parse_overrides, whole_number
from ptl_sweep.cli.measure.text import measures_text
from ptl_sweep.compose.compose import compose_grid
from ptl_sweep.compose.grid import all_keys
from ptl_sweep.config.schema import ConfigError, FeatureConfig
from ptl_sweep.terminal import answer, did_you_mean

if TYPE_CHECKING:  # torch comes with it
    from ptl_sweep.own_detector.measure import MeasureOrder

FOLDER = "detections"  # of detections=DIR
KEYS = ("gaussian.min_score", "gaussian.min_iou", "evaluate.score_thresholds")
UNUSED = ("analysis.num_workers", "analysis.ap_t2t")  # one detector is one process; a group
MEASURE_WORDS = (
    "DIR holds train/, validation/ and a folder for each target, each with ground_truth.json, "
    "results.json and features.npy (docs/own-detector.md). Of key=value this command takes "
    f"{FOLDER}=DIR in place of DIR, analysis.*, {', '.join(KEYS)}; their defaults are those of a "
    "sweep."
)
ANY_CELL = ("target=field", "synthetic=off", "seed=0")  # which of them changes no analysis


def measure_command(arguments: list[str]) -> int:
    """Measure any detector from exported detections: AP, train2test distance and AP_t2t."""
    parser = command_parser(measure_command, words=MEASURE_WORDS)
    _add_flags(parser)
    overrides, options = parse_overrides(parser, arguments)
    folder = _folder(options.folder, overrides)
    order = _order(options, [one for one in overrides if not one.startswith(f"{FOLDER}=")])
    from ptl_sweep.own_detector.files import measures_content, measures_frame, write_measures
    from ptl_sweep.own_detector.measure import measure_folder
    from ptl_sweep.predict.folder import refuse_nesting

    if options.out is not None:
        refuse_nesting(options.out, folder)
    measured = measure_folder(folder, order)
    content = measures_content(folder, measured)
    if options.out is not None:
        equal_counts = order.analysis.ap_t2t.equal_counts
        table = measures_frame(measured, order.score_thresholds, equal_counts)
        write_measures(options.out, table, content)
    text = measures_text(content, order.score_thresholds, options.out)
    answer(content, text, as_json=options.json)
    return OK


def _add_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", nargs="?", metavar="DIR", help="exported detections; see below")
    parser.add_argument("--out", type=Path, metavar="DIR",
                        help="write measures.csv, .parquet and .json into this folder")  # fmt: skip
    parser.add_argument("--category", metavar="NAME", help="which category is measured; default: "
                        "the only one, or person")  # fmt: skip
    parser.add_argument("--equal-n", type=whole_number, metavar="N", help="training features of "
                        "the equal_n distance, the same for all that you compare")  # fmt: skip


def _folder(named: str | None, overrides: Sequence[str]) -> Path:
    """Read the folder, named alone or as detections=DIR. Raises: ConfigError."""
    given = [one.partition("=")[2] for one in overrides if one.startswith(f"{FOLDER}=")]
    given += [] if named is None else [named]
    if len(given) != 1 or not given[0]:
        raise ConfigError(
            f"needs one folder of detections{', got ' * bool(given)}{' and '.join(given)}\n"
            "usage: python -m ptl_sweep measure DIR, or measure detections=DIR"
        )
    return Path(given[0]).expanduser()


def measure_keys() -> list[str]:
    """List the keys that decide how detections are measured."""
    analysis = [key for key in all_keys() if key.startswith("analysis.") and key not in UNUSED]
    return [*analysis, *KEYS]


def _order(options: argparse.Namespace, overrides: Sequence[str]) -> "MeasureOrder":
    """Read how to measure: the keys that a sweep's analysis has. Raises: ConfigError."""
    for word in overrides:
        key = word.partition("=")[0]
        if key not in measure_keys():
            hint = did_you_mean(key, [FOLDER, *measure_keys()])
            raise ConfigError(
                f"{key}: this command takes {FOLDER}=DIR, analysis.*, {', '.join(KEYS)} only{hint}"
            )
    cells = compose_grid([*ANY_CELL, *overrides], as_sweep=False)
    if len(cells) != 1:
        raise ConfigError(f"{' '.join(overrides)}: one value for each key, without commas")
    from ptl_sweep.own_detector.measure import MeasureOrder

    (cell,) = cells
    gaussian = cell.gaussian
    return MeasureOrder(
        analysis=cell.analysis,
        features=FeatureConfig(min_score=gaussian.min_score, min_iou=gaussian.min_iou),
        score_thresholds=tuple(cell.evaluate.score_thresholds),
        category=options.category,
        equal_n=options.equal_n or None,
    )
