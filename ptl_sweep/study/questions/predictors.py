"""Which distance predicts AP50 between detectors of a target: train2test, or another one.

Detectors are compared that differ in the seed only (docs/method.md, section 4): pooled over targets
or over arms, any two numbers that both change with them would seem to predict each other.
"""

from collections.abc import Mapping

import numpy as np
import polars as pl

from ptl_sweep.study.claims.cells import strata
from ptl_sweep.study.claims.claim import Claim
from ptl_sweep.study.claims.distances import predictions
from ptl_sweep.study.groups import on_the_same_pictures, split_domains
from ptl_sweep.vocabulary import (
    COMPARABLE_DISTANCE,
    KNN_DISTANCE,
    NEG_LOG_P,
    RELATIVE_DISTANCE,
    RELATIVE_MAHALANOBIS,
)

METRIC = "AP50"
PREDICTORS: Mapping[str, str] = {  # column of results.csv -> what it is called
    RELATIVE_DISTANCE: "relative distance of all persons",
    COMPARABLE_DISTANCE.name: "equal_n distance of true positives",
    NEG_LOG_P: "-log p of all persons",
    KNN_DISTANCE: "distance of all persons to neighbours",
    RELATIVE_MAHALANOBIS: "relative Mahalanobis distance of all persons",
}


def predictor_claims(results: pl.DataFrame) -> dict[str, dict[str, Claim]]:
    """A claim for each data set that detectors were trained on, and each of PREDICTORS measured.

    `results` is results.csv. All are judged in the strata that have every number of each, so that
    they are about the same detectors. Targets of the source's own domain are left out, as of every
    mean, and those whose pictures change with the seed.
    """
    kept = on_the_same_pictures(split_domains(results)[0])
    found: dict[str, dict[str, Claim]] = {}
    for own in kept.partition_by("dataset", maintain_order=True):
        seeds = tuple(sorted(set(own["seed"])))
        every = {name: strata(own, name) for name in PREDICTORS}
        measured = {name: one for name, one in every.items() if np.isfinite(one).any()}
        whole = np.all([np.isfinite(one) for one in measured.values()], axis=0)
        common = {name: np.where(whole, one, np.nan) for name, one in measured.items()}
        found[own["dataset"][0]] = predictions(seeds, common, strata(own, METRIC))
    return found
