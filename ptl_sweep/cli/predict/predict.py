"""`predict`: a detector of the store run over any folder of pictures."""

import argparse
import math
from pathlib import Path
from typing import TYPE_CHECKING

from ptl_sweep.cli.arguments import FAILED, OK, command_parser
from ptl_sweep.cli.predict.arguments import STAGE_WORDS, Request, parse_request
from ptl_sweep.terminal import answer, duration

if TYPE_CHECKING:  # torch comes with it
    from ptl_sweep.predict.predict import Prediction, PredictionOrder

MIN_SCORE = 0.3  # as of the pictures that an evaluation shows


def predict_command(arguments: list[str]) -> int:
    """Detect persons in any folder of pictures: COCO files, and pictures with boxes."""
    parser = command_parser(predict_command, words=STAGE_WORDS)
    parser.add_argument("--out", type=Path, metavar="DIR", help="where to write; default: "
                        "predictions/STAGE/FOLDER below sweep.root")  # fmt: skip
    parser.add_argument("--score", type=_score, default=MIN_SCORE, metavar="X",
                        help=f"least score of a box that is drawn (default {MIN_SCORE}); "
                        "the files hold every detection")  # fmt: skip
    parser.add_argument("--no-pictures", action="store_true", help="write no pictures")
    parser.add_argument("--threads", type=_threads, metavar="N", help="CPU threads; default: as "
                        "many as its stage has, which gives the same digits")  # fmt: skip
    return _predict(parse_request(parser, arguments, "FOLDER"))


def _predict(request: Request) -> int:
    from ptl_sweep.predict.pictures import list_pictures
    from ptl_sweep.predict.predict import PredictionOrder, predict_pictures
    from ptl_sweep.predict.published import analysis_of
    from ptl_sweep.worker.running import prepare_process

    pictures = list_pictures(request.place)
    options, published = request.options, request.published
    order = PredictionOrder(
        place=request.place,
        out=options.out or _default_folder(request),
        min_score=options.score,
        has_pictures=not options.no_pictures,
    )
    prepare_process(options.threads or published.num_threads)
    found = predict_pictures(published, pictures, order, analysis_of(request.root, published.key))
    answer(_content(request, order, found), _text(request, order, found), as_json=options.json)
    return FAILED if found.skipped else OK


def _default_folder(request: Request) -> Path:
    place = request.place.resolve()
    name = (place.stem if place.is_file() else place.name) or "pictures"
    return request.root / "predictions" / request.published.key / name


def _content(request: Request, order: "PredictionOrder", found: "Prediction") -> dict[str, object]:
    return {
        "stage": request.published.key,
        "folder": str(order.out),
        "images": found.num_images,
        "skipped": [one._asdict() for one in found.skipped],
        "detections": found.num_detections,
        "score": order.min_score,
        "detections_with_score": found.num_scored,
        "median_distance_with_score": found.median_distance,
        "train2test_distance": found.distance,
        "seconds": found.seconds,
    }


def _text(request: Request, order: "PredictionOrder", found: "Prediction") -> str:
    images, seconds = found.num_images, found.seconds
    rate = f", {seconds / images:.2f} s each" if images else ""
    pictures = f"{images} picture{'s' * (images != 1)} of {order.place}"
    drawn = f"{found.num_scored} with a score of {order.min_score:g} or more"
    lines = [
        f"stage       {request.published.key} ({request.published.spec.architecture})",
        f"searched    {pictures} in {duration(seconds)}{rate}",
        f"found       {found.num_detections} detections, {drawn}",
        f"distance    {_distance(found)}",
        f"written     {order.out}",
    ]
    if found.skipped:
        count = len(found.skipped)
        names = ", ".join(one.file_name for one in found.skipped[:3]) + ", ..." * (count > 3)
        lines.append(
            f"skipped     {count} picture{'s' * (count != 1)} that cannot be read: {names}"
        )
    return "\n".join(lines)


def _distance(found: "Prediction") -> str:
    which = found.distance
    if which["reason"]:
        return f"none: {which['reason']}"
    training = f"{which['training_median']:.0f} of the {which['num_features']} training detections"
    if found.median_distance is None:
        return f"train2test, shrunk: median {training}"
    return f"train2test, shrunk: median {found.median_distance:.0f} of these, {training}"


def _score(text: str) -> float:
    """Read a score. Raises: ArgumentTypeError, which ends with code 2."""
    try:
        score = float(text)
    except ValueError:
        score = math.nan
    if not 0 <= score <= 1:
        raise argparse.ArgumentTypeError(f"must be a score from 0 to 1, got {text[:40]}")
    return score


def _threads(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 1024:
        raise argparse.ArgumentTypeError(f"must be a number from 1 to 1024, got {text[:40]}")
    return int(text)
