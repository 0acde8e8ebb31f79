"""The smallest effect on AP50 that a sweep can find, before anything of it is computed.

Ours; docs/method.md, section 4.
"""

import numpy as np
import polars as pl
from scipy import optimize, stats

from ptl_sweep.pipeline.plan import Plan
from ptl_sweep.study.claims.claim import MIN_SEEDS
from ptl_sweep.study.statistics import SIGNIFICANCE, smallest_p
from ptl_sweep.vocabulary import ALL_TARGETS, OFF

POWER = 0.8
DEFAULT_SD = 0.02  # of the effect over seeds, AP50: the six-seed demo of outputs/example
MIN_PAIRS = 2  # seeds that a spread needs


def power_text(plan: Plan) -> str:
    """What the number of seeds can show; empty for a sweep that compares nothing with `off`."""
    names = {cell.id.synthetic for cell in plan.cells}
    if OFF not in names or len(names) < 2:
        return ""
    num_seeds = len({cell.id.seed for cell in plan.cells})
    measured = _measured_sd(plan)
    sd = DEFAULT_SD if measured is None else measured
    effect = detectable_effect(sd, num_seeds)
    if effect is None:
        some = f"{num_seeds} seed{'s' if num_seeds > 1 else ''}"
        return f"no verdict over trainings with {some}: {MIN_SEEDS} are needed"
    origin = "the demo's, a guess here" if measured is None else "of this sweep's cells"
    return (
        f"{num_seeds} seeds find a mean effect of {100 * effect:.1f} points of AP50 in "
        f"{100 * POWER:.0f} % of studies; spread over seeds {100 * sd:.1f} points, {origin}"
        + ("; this is for one value of the axes, several need more" if plan.axes else "")
    )


def _measured_sd(plan: Plan) -> float | None:
    """The largest spread of a pooled effect in the tables of an earlier reduction."""
    path = plan.folder / "summary.parquet"
    if not path.is_file():
        return None
    pooled = pl.read_parquet(path).filter(
        pl.col("real_count").is_null(), pl.col("num_pairs") >= MIN_PAIRS,
        metric="AP50", target=ALL_TARGETS,
    )  # fmt: skip
    largest = pooled["effect_sd"].max()
    return float(largest) if isinstance(largest, float) else None


def detectable_effect(sd: float, num_seeds: int, power: float = POWER) -> float | None:
    """The smallest mean effect found with probability `power`, in the unit of `sd`.

    `sd` is that of the per-seed effects. Solves the noncentral t law of the two-sided test. With
    6 seeds only six equal signs give p <= 0.05, so the effect must also satisfy
    Phi(effect / sd)^6 = power, which asks for more: 1.79 sd instead of 1.44 sd.
    None where so few seeds cannot give a verdict.
    """
    if num_seeds < MIN_SEEDS:
        return None
    # an effect this large is found almost surely: the search ends below it
    largest = (2 * stats.t.ppf(1 - SIGNIFICANCE / 2, num_seeds - 1) + 8) / np.sqrt(num_seeds)
    effect = float(optimize.brentq(lambda size: t_power(size, num_seeds) - power, 0.0, largest))
    if 2 * smallest_p(num_seeds) > SIGNIFICANCE:
        effect = max(effect, float(stats.norm.ppf(power ** (1 / num_seeds))))
    return effect * sd


def t_power(effect: float, num_seeds: int) -> float:
    """Probability that the two-sided t test finds an effect of so many sd, with its right sign."""
    critical = stats.t.ppf(1 - SIGNIFICANCE / 2, num_seeds - 1)
    return float(stats.nct.sf(critical, num_seeds - 1, effect * np.sqrt(num_seeds)))
