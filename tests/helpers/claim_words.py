"""Prints every claim of claims.csv, and reads the words alone: is something claimed?"""

import re

import polars as pl

from ptl_sweep.report.verdicts.answers import answers
from ptl_sweep.report.verdicts.distances import distances, prediction
from ptl_sweep.report.verdicts.effects import effects
from ptl_sweep.report.verdicts.key_results import TEXTS, key_result_lines, key_results
from ptl_sweep.report.verdicts.medium_confidence import medium_confidence
from ptl_sweep.study.claims.table import Statement
from ptl_sweep.study.schemas import SUMMARY, frame_of
from ptl_sweep.vocabulary import ALL_TARGETS

DISCLAIMERS = ("no evidence", "no verdict", "no answer", "no effect", "no selection")
CLAIMING = re.compile(
    r"\b(raises?|lowers?|higher|lower|nearer|farther|prefers?|agrees?|contradicted)\b"
)
COUNTED = re.compile(r"(\d+) agrees? .*, (\d+) (?:is|are) contradicted,")
WITHOUT_EVIDENCE = "(no evidence at this count)"


def page_words(claims: pl.DataFrame) -> dict[str, list[str]]:
    """What the page says of claims.csv, by kind of sentence; key results by their statement."""
    by_target, contrasts = (
        effects(claims.filter(statement=one))
        for one in (Statement.TARGET_EFFECT, Statement.CONTRAST)
    )
    lines = key_result_lines(claims)
    return {
        "answer": [one.sentence for one in answers(claims, image_intervals(claims))],
        "targets": by_target,
        "contrasts": contrasts,
        "prediction": prediction(claims),
        "distances": distances(claims),
        "medium": medium_confidence(claims),
        "key results": key_results(claims),
        **{
            statement: lines.filter(statement=text.statement)["agreement"].to_list()
            for statement, text in TEXTS.items()
        },
    }


def image_intervals(claims: pl.DataFrame) -> pl.DataFrame:
    """summary.csv of the arms, whose intervals over test images all exclude zero."""
    arms = claims.filter(pl.col("part") == "", statement=Statement.EFFECT)
    of_all = {"target": ALL_TARGETS, "metric": "AP50", "image_low": 1.0, "image_high": 3.0}
    rows = [
        of_all | {"dataset": dataset, "synthetic": name}
        for dataset, name in arms.select("dataset", "treated").iter_rows()
    ]
    return frame_of(rows, SUMMARY)


def claims_something(sentence: str) -> bool:
    """Whether a sentence, or a verdict in a table, says more than that nothing is known.

    Whatever does not open with a disclaimer claims; so does a disclaimer whose numbers are
    followed by the words of a claim. A count of key results claims unless it is zero.
    """
    if COUNTED.search(sentence):
        return any(counted(sentence))
    opening, _, rest = sentence.partition(":")
    return not opening.lower().startswith(DISCLAIMERS) or bool(CLAIMING.search(rest))


def counted(sentence: str) -> tuple[int, int]:
    """How many key results agree, and how many are contradicted."""
    found = COUNTED.search(sentence)
    if found is None:
        raise ValueError(f"not a count of key results: {sentence!r}")
    return int(found[1]), int(found[2])


def claims_worth(sentence: str) -> bool:
    """Whether the answer says at any count what synthetic images are worth."""
    _, found, listed = sentence.partition("Real images that detect as well")
    return bool(found) and any(WITHOUT_EVIDENCE not in one for one in listed.split("; "))
