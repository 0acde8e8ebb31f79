"""`export-detections`: a detector of a sweep in the format that `measure` reads."""

import re
from pathlib import Path

from ptl_sweep.cli.arguments import OK, command_parser, find_sweep
from ptl_sweep.cli.predict.arguments import detector_of
from ptl_sweep.config.schema import ConfigError
from ptl_sweep.terminal import answer

CELL_WORDS = (
    "The detector is that of a cell, named as real_count=20 synthetic=on seed=0 (axes that make "
    "no difference may be left out); every target that it was evaluated on is written. key=value "
    "beside it is sweep.root=FOLDER alone, below which the store lies (default: outputs)."
)


def export_detections_command(arguments: list[str]) -> int:
    """Write a detector's detections and features as COCO and NumPy files, which `measure` reads."""
    parser = command_parser(export_detections_command, words=CELL_WORDS)
    parser.usage = f"{parser.prog} real_count=20 ... DIR [options]"
    parser.add_argument("names", nargs="*", metavar="DIR", help="folder to make")
    parser.add_argument("--sweep", help="whose cell is meant: name or folder; default: the newest")
    settings = [word for word in arguments if re.match(r"[a-z_.]+=", word)]
    options = parser.parse_intermixed_args([word for word in arguments if word not in settings])
    overrides = [word for word in settings if word.startswith("sweep.root=")]
    cell = [word for word in settings if word not in overrides]
    if len(options.names) != 1:
        got = f", got {' '.join(options.names)}" if options.names else ""
        raise ConfigError(f"needs a cell and one DIR{got}\nusage: {parser.usage}")
    plan = find_sweep(options.sweep, overrides)
    detector = detector_of(plan, cell)
    from ptl_sweep.own_detector.export import export_detections

    folder = Path(options.names[0]).expanduser()
    splits = export_detections(plan, detector, folder)
    content = {"stage": detector, "folder": str(folder), "splits": splits}
    answer(content, f"wrote {folder}: {', '.join(splits)} of {detector}", as_json=options.json)
    return OK
