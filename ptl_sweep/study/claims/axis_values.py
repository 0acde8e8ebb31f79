"""Effects on AP50 where the values of axes are tried: each value is a statement, all are a family.

Nothing is pooled over the values of an axis.
"""

import re
from collections import defaultdict
from collections.abc import Mapping
from typing import NamedTuple, TypeAlias

from ptl_sweep.compose.cells.ids import name_before_axes, values_after_name
from ptl_sweep.study.claims.claim import Claim, family_claims
from ptl_sweep.study.claims.effects import PairedCells, effect, effects_by_target

Arm: TypeAlias = tuple[str, str]  # data set and value of synthetic, with the values of axes


class ArmEffects(NamedTuple):
    """What one arm changes against off of the same data set, and of the same values of axes."""

    whole: Claim
    by_target: Mapping[str, Claim]


def effects_of_arms(cells: Mapping[Arm, PairedCells | None]) -> dict[Arm, ArmEffects]:
    """Judge every measured arm; arms that differ in values of axes alone are one family."""
    families: defaultdict[tuple[str, ...], dict[Arm, PairedCells]] = defaultdict(dict)
    for arm, one in cells.items():
        if one is not None:
            families[tuple(map(name_before_axes, arm))][arm] = one
    found: dict[Arm, ArmEffects] = {}
    for own in families.values():
        if len(own) == 1:
            found |= {arm: ArmEffects(effect(one), effects_by_target(one))
                      for arm, one in own.items()}  # fmt: skip
        else:
            found |= _family(own)
    return found


def _family(cells: Mapping[Arm, PairedCells]) -> dict[Arm, ArmEffects]:
    axes = {axis: None for arm in cells for label in arm for axis in _axes(label)}
    values = f"{len(cells)} values of {' x '.join(axes)}"
    numbers = {str(place): arm for place, arm in enumerate(cells)}
    whole = family_claims({n: cells[arm].pooled_effect() for n, arm in numbers.items()}, values)
    targets = {
        f"{n} {target}": one
        for n, arm in numbers.items()
        for target, one in cells[arm].effects_by_target().items()
    }
    each = family_claims(targets, f"{len(targets)} targets at {values}")
    return {
        arm: ArmEffects(whole[n], {target: each[f"{n} {target}"] for target in cells[arm].targets})
        for n, arm in numbers.items()
    }


def _axes(label: str) -> list[str]:
    """The axes in `on, temperature=5, scales=[48, 72]`."""
    return re.findall(r", ([\w.]+)=", values_after_name(label))
