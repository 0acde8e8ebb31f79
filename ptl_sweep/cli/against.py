"""`report --against OTHER`: which values of two sweeps are compared, and the page about them."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from ptl_sweep.cli.arguments import OK, find_sweep
from ptl_sweep.cli.tables import reduce_where_needed
from ptl_sweep.compose.cells.ids import CellId
from ptl_sweep.config.schema import ConfigError
from ptl_sweep.pipeline.plan import Plan, flat
from ptl_sweep.stages.evaluate import EvaluateStage
from ptl_sweep.terminal import answer, did_you_mean, wrap
from ptl_sweep.vocabulary import OFF

if TYPE_CHECKING:
    from ptl_sweep.report.comparison.page import Compared
    from ptl_sweep.study.claims.between import Values

RESULTS = "results.parquet"
CONFIG_NAMES = {  # of fields and parts of a stage that the configuration calls otherwise
    "data": "dataset",
    "features": "gaussian",
    "inference": "evaluate",
    "method": "synthetic",
    "method.covariance": "gaussian.covariance",
    "num_threads": "train.num_threads",
    "t": "synthetic.num_iterations",
}


class NamedSweep(NamedTuple):
    """A sweep and, where the user named one, its value of `synthetic`."""

    plan: Plan
    value: str | None

    @property
    def synthetics(self) -> list[str]:
        """Values of `synthetic` of its cells."""
        return list(dict.fromkeys(cell.id.synthetic for cell in self.plan.cells))

    def places(self, synthetic: str) -> set[CellId]:
        """Cells of one value of `synthetic`, which is left out of them."""
        ids = (cell.id for cell in self.plan.cells if cell.id.synthetic == synthetic)
        return {one._replace(synthetic="") for one in ids}


def find_named(text: str | None, overrides: Sequence[str]) -> NamedSweep:
    """Find the sweep of `SWEEP`, `SWEEP:VALUE`, or `:VALUE`, the newest. Raises: ConfigError."""
    name, colon, value = (text or "").partition(":")
    found = NamedSweep(find_sweep(name or None, overrides), value if colon else None)
    if colon and value not in found.synthetics:
        raise ConfigError(
            f"no synthetic={value} in {found.plan.name}{did_you_mean(value, found.synthetics)}; "
            f"name one of {', '.join(found.synthetics)}"
        )
    return found


def compare_sweeps(own: NamedSweep, other: NamedSweep, *, as_json: bool) -> int:
    """Write the page into the folder of the own sweep. Raises: ConfigError."""
    values = compared_values_of(own, other)
    require_comparable(own, other, values)
    reduce_where_needed(own.plan, RESULTS)
    from ptl_sweep.report.comparison.page import write_comparison

    first, second = own.plan, other.plan
    label = "-".join([*([own.value] if own.value else []), "with", second.name,
                      *([other.value] if other.value else [])])  # fmt: skip
    found = write_comparison(first.folder, label, _compared(first), _compared(second), values)
    content = {
        "sweep": first.name,
        "against": second.name,
        "comparison": str(found.page),
        "contrasts": str(found.table),
        "findings": [one._asdict() for one in found.findings],
        "notes": found.notes,
    }
    parts = [wrap(f"{one.verdict:<8}{one.sentence}") for one in found.findings]
    parts += [wrap(f"note    {one}") for one in found.notes]
    parts.append(f"comparison  {found.page}\ncontrasts   {found.table}")
    answer(content, "\n\n".join(parts), as_json=as_json)
    return OK


def compared_values_of(own: NamedSweep, other: NamedSweep) -> list["Values"]:
    """Equal values by default; with OTHER:VALUE, every value but off against that one.

    Raises: ConfigError where the sweeps have no value in common and none was named.
    """
    from ptl_sweep.study.claims.between import Values

    if other.value is None:
        mine = own.synthetics if own.value is None else [own.value]
        found = [Values(name, name) for name in mine if name in other.synthetics]
    else:
        mine = [name for name in own.synthetics if name != OFF] or own.synthetics
        found = [Values(name, other.value) for name in ([own.value] if own.value else mine)]
    if not found:
        raise ConfigError(
            f"{own.plan.name} has synthetic={','.join(own.synthetics)} and {other.plan.name} "
            f"{','.join(other.synthetics)}; name the two that are compared: "
            f"report {own.plan.name}:{own.synthetics[-1]} "
            f"--against {other.plan.name}:{other.synthetics[-1]}"
        )
    return found


def require_comparable(own: NamedSweep, other: NamedSweep, values: Sequence["Values"]) -> None:
    """Refuse what has no contrast. Raises: ConfigError."""
    one, two = own.plan, other.plan
    if one.name == two.name:
        raise ConfigError(
            f"{one.name} is compared with itself; name another sweep (two values of one sweep are "
            "compared in its report.html and claims.csv)"
        )
    scores = [plan.settings.score_thresholds for plan in (one, two)]
    if scores[0] != scores[1]:
        raise ConfigError(
            f"{one.name} has AP_t2t at the scores {scores[0]} and {two.name} at {scores[1]}; run "
            f"one again with evaluate.score_thresholds of the other (no detector is trained anew)"
        )
    if not any(own.places(v.treated) & other.places(v.reference) for v in values):
        raise ConfigError(
            f"{one.name} and {two.name} share no cell: {_apart(own, other, values)}; run one again "
            "with the values of the other"
        )
    if not (two.folder / RESULTS).is_file():
        raise ConfigError(
            f"{two.name} is not reduced; run: python -m ptl_sweep report {two.name} "
            f"sweep.root={two.root}"
        )


def _apart(own: NamedSweep, other: NamedSweep, values: Sequence["Values"]) -> str:
    """The first axis on which two sweeps have nothing in common."""
    mine = set().union(*(own.places(one.treated) for one in values))
    theirs = set().union(*(other.places(one.reference) for one in values))
    for axis in ("dataset", "real_count", "target", "seed"):
        here, there = ({getattr(cell, axis) for cell in cells} for cells in (mine, theirs))
        if not here & there:
            shown = (",".join(map(str, sorted(side))) for side in (here, there))
            return f"{axis}={' and '.join(shown)}"
    return "no dataset, real_count, target and seed together"


def _compared(plan: Plan) -> "Compared":
    from ptl_sweep.report.comparison.page import Compared
    from ptl_sweep.study.tables import read_table

    rows = read_table(plan.folder / RESULTS)
    settings = plan.settings
    return Compared(
        plan.name, rows, settings.score_thresholds, settings.shared, evaluation_settings(plan)
    )


def evaluation_settings(plan: Plan) -> dict[str, dict[str, str]]:
    """What the number of each evaluation depends on, as the configuration names it.

    Fields of the stage and of all that it descends from; `dataset` is the source, `target` its own.
    """
    keys = {reading.evaluate for cell in plan.cells for reading in cell.readings}
    return {key: _settings_of(plan, key) for key in keys}


def _settings_of(plan: Plan, key: str) -> dict[str, str]:
    stage = plan.stages[key]
    names = CONFIG_NAMES | ({"data": "target"} if isinstance(stage, EvaluateStage) else {})
    found: dict[str, str] = {}
    for parent in stage.parents:
        found |= _settings_of(plan, parent)
    for field, text in flat(stage.spec).items():
        part, point, rest = field.partition(".")
        found[names.get(field) or names.get(part, part) + point + rest] = text
    return found
