"""What one value of `synthetic` changes against another, paired seed by seed."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from ptl_sweep.study.claims.claim import Claim, claim_over_seeds, family_claims

Arm: TypeAlias = Literal["treated", "reference"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedCells:
    """A metric of detectors that share seed, real images and target, and differ in `synthetic`.

    NaN is a cell without a number: its seed is left out of every mean that the cell belongs to.
    Targets of the source's own domain do not belong here: the study asks what helps elsewhere.
    Raises: ValueError when an array does not have the shape of the axes, or counts do not rise.
    """

    seeds: tuple[int, ...]
    counts: tuple[int, ...]  # real images, rising
    targets: tuple[str, ...]
    treated: Float[ndarray, "s c t"]  # for example synthetic=on, or one of two sweeps
    reference: Float[ndarray, "s c t"]  # for example off, random or the translator identity

    def __post_init__(self) -> None:
        shape = (len(self.seeds), len(self.counts), len(self.targets))
        for name, values in (("treated", self.treated), ("reference", self.reference)):
            if values.shape != shape:
                raise ValueError(
                    f"{name} has shape {values.shape} for {shape[0]} seeds, {shape[1]} counts and "
                    f"{shape[2]} targets; give it {shape}"
                )
        if list(self.counts) != sorted(set(self.counts)):
            raise ValueError(f"counts must rise, got {self.counts}; sort the cells by real count")

    @property
    def effects(self) -> Float[ndarray, "s c t"]:
        """Treated minus reference, cell by cell."""
        return np.asarray(self.treated - self.reference)

    def pooled_effect(self) -> dict[int, float]:
        """Mean effect over counts and targets of each seed."""
        return self._by_seed(self.effects.mean(axis=(1, 2)))

    def effects_by_target(self) -> dict[str, dict[int, float]]:
        """Mean effect over counts of each target and seed."""
        each = self.effects.mean(axis=1)
        return {name: self._by_seed(each[:, i]) for i, name in enumerate(self.targets)}

    def effect_slopes(self) -> dict[int, float]:
        """Least-squares slope of the effect, mean over targets, per doubling of the real images."""
        return self._by_seed(slopes_per_doubling(self.counts, self.effects.mean(axis=2)))

    def arm_slopes(self, arm: Arm) -> dict[int, float]:
        """Least-squares slope of one arm, mean over targets, per doubling of the real images."""
        values = self.treated if arm == "treated" else self.reference
        return self._by_seed(slopes_per_doubling(self.counts, values.mean(axis=2)))

    def real_images_effect(self) -> dict[int, float]:
        """Change of the reference from the smallest to the largest count, mean over targets.

        NaN with one count.
        """
        levels = self.reference.mean(axis=2)
        change = levels[:, -1] - levels[:, 0]
        return self._by_seed(change if len(self.counts) > 1 else np.full_like(change, np.nan))

    def _by_seed(self, values: Float[ndarray, " s"]) -> dict[int, float]:
        return dict(zip(self.seeds, values.tolist(), strict=True))


def slopes_per_doubling(
    counts: tuple[int, ...], levels: Float[ndarray, "s c"]
) -> Float[ndarray, " s"]:
    """Least-squares slope over log2(count) of each row; NaN with one count or a missing level."""
    if len(counts) < 2:
        return np.full(len(levels), np.nan)
    centred = np.log2(counts) - np.mean(np.log2(counts))
    return np.asarray(levels @ centred / (centred @ centred))


def effect(cells: PairedCells) -> Claim:
    """Judge treated - reference, averaged over targets and real counts within each seed.

    The same for every contrast: on - off, on - random, cyclegan - identity, sweep A - sweep B.
    Cells of one seed share images and weights, so a seed is one observation, not many.
    """
    return claim_over_seeds(cells.pooled_effect())


def effects_by_target(cells: PairedCells) -> dict[str, Claim]:
    """Judge treated - reference on each target, averaged over counts; the targets are a family.

    Whether targets *differ* is another question: `key_results.targets_differ`.
    """
    return family_claims(cells.effects_by_target(), "targets")
