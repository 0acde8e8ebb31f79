"""Which distance predicts AP50 between detectors of one target, in one table."""

from collections.abc import Iterator, Mapping

import numpy as np

from ptl_sweep.report.paper.layout import GAP, GAP_NOTE, PaperTable
from ptl_sweep.report.paper.source import PaperSource
from ptl_sweep.study.claims.claim import Claim, Verdict
from ptl_sweep.study.questions.predictors import PREDICTORS, predictor_claims

ABOUT_P = (
    "p is over the orders of the seeds (up to seven: all of them), adjusted for the distances that "
    "were measured; all are about the same detectors."
)


def predictors(source: PaperSource) -> PaperTable:
    """Rank correlation of each distance with AP50 among detectors that differ in the seed only."""
    found = predictor_claims(source.results)
    rows = tuple(row for dataset, claims in found.items() for row in _rows(dataset, claims))
    has_gap = any(GAP in row for row in rows)
    return PaperTable(
        title="Predictors",
        caption="Spearman's rho with AP50 among detectors of one target, one number of real images "
        "and one value of synthetic that differ in the seed only; mean over seeds with its 95 % "
        "interval.",
        header=("trained on", "distance", "rho", "p", "verdict", "seeds"),
        rows=rows,
        notes=(
            "A negative rho: the nearer of two detectors has the higher AP50.",
            ABOUT_P,
            *(_sentence(dataset, claims) for dataset, claims in found.items()),
            *([GAP_NOTE] if has_gap else []),
        ),
    )


def _rows(dataset: str, claims: Mapping[str, Claim]) -> Iterator[tuple[str, ...]]:
    for column, name in PREDICTORS.items():
        claim = claims.get(column)
        if claim is None:
            yield dataset, f"{name} ({column})", GAP, GAP, str(Verdict.OPEN), "0"
            continue
        p = GAP if np.isnan(claim.p_family) else f"{claim.p_family:.3f} adj."
        seeds = str(claim.num_seeds)
        yield dataset, f"{name} ({column})", _rho(claim), p, str(claim.verdict), seeds


def _rho(claim: Claim) -> str:
    if np.isnan(claim.value):
        return GAP
    bounds = "" if np.isnan(claim.low) else f" [{claim.low:+.2f}, {claim.high:+.2f}]"
    return f"{claim.value:+.2f}{bounds}"


def _sentence(dataset: str, claims: Mapping[str, Claim]) -> str:
    """Which one predicts, or none of those that were measured."""
    among = f"{dataset}: among detectors of a target that differ in the seed only"
    found = {name: one for name, one in claims.items() if one.verdict is Verdict.FOUND}
    judged = [name for name, one in claims.items() if one.num_seeds]
    if found:
        words = " and ".join(
            f"the {PREDICTORS[name]} ({'nearer' if one.value < 0 else 'farther'} is better)"
            for name, one in found.items()
        )
        return f"{among}, AP50 is predicted by {words}."
    if not judged:
        return f"{among}, no distance can be judged: none has a number beside AP50 on one target."
    if any(claims[name].verdict is Verdict.OPEN for name in judged):
        return f"{among}, which distance predicts AP50 is open: a verdict needs six seeds."
    return f"{among}, there is no evidence that {' or '.join(judged)} predicts AP50."
