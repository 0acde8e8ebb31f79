"""Persons that no detection hits, by size and by distance to the training set: levels only."""

from collections.abc import Iterator

import polars as pl

from ptl_sweep.report.aggregates import with_intervals
from ptl_sweep.report.evidence import bounded_text, off_first
from ptl_sweep.report.tables import PageColumn
from ptl_sweep.vocabulary import NEARNESS, SIZES

ALL = "all"
SPLITS = {ALL: (ALL,), "size": SIZES, "distance": NEARNESS}
COLUMNS = (
    PageColumn("dataset", "source"),
    PageColumn("synthetic", "synthetic"),
    PageColumn("split", "by"),
    PageColumn("part", "persons"),
    PageColumn("num_ground_truth", "persons", "per seed", 1, 0),
    PageColumn("share", "not hit", "% [over seeds]", 100, bounds=("share_low", "share_high")),
    PageColumn("missed", "nor nearly hit", "%", 100),
    PageColumn("gain_fixed", "cost", "points of AP50, mean over cells", 100),
    PageColumn("num_seeds", "seeds", "", 1, 0),
)


def person_lines(missed_persons: pl.DataFrame) -> pl.DataFrame:
    """Shares of the persons of all cells of a seed, then means over seeds, off first.

    Seeds that lack a cell are left out: their persons would be others.
    """
    series, cell = ("dataset", "synthetic"), pl.struct("real_count", "target")
    together = {"split": pl.lit(ALL), "part": pl.lit(ALL), "gain_fixed": pl.lit(None, pl.Float64)}
    every = missed_persons.filter(split="size").with_columns(**together)
    cells = pl.concat([every, missed_persons]).with_columns(
        num_cells=cell.n_unique().over(*series, "seed")
    )
    complete = cells.filter(pl.col("num_cells") == pl.col("num_cells").max().over(*series))
    total = pl.col("num_ground_truth").sum()
    by_seed = complete.group_by(*series, "split", "part", "seed", maintain_order=True).agg(
        total,
        pl.col("gain_fixed").mean(),
        share=pl.col("num").sum() / total,
        missed=pl.col("num_missed").sum() / total,
    )
    lines = by_seed.group_by(*series, "split", "part", maintain_order=True).agg(
        pl.col("num_ground_truth", "gain_fixed", "missed").mean(), "share"
    )
    classes = [(split, part) for split, parts in SPLITS.items() for part in parts]
    order = {name: place for place, name in enumerate(off_first(lines["synthetic"].unique()))}
    return with_intervals(lines, "share").sort(
        "dataset",
        pl.col("synthetic").replace_strict(order, return_dtype=pl.Int64),
        pl.concat_str("split", "part").replace_strict(
            {split + part: place for place, (split, part) in enumerate(classes)},
            return_dtype=pl.Int64,
        ),
    )


def missed_persons(rows: pl.DataFrame) -> list[str]:
    """How many persons no detection hits, per source: a level, and no comparison."""
    lines = person_lines(rows)
    return [
        _sentence(dataset, lines.filter(dataset=dataset))
        for dataset in lines["dataset"].unique(maintain_order=True)
    ]


def _sentence(dataset: str, lines: pl.DataFrame) -> str:
    synthetics = lines["synthetic"].unique(maintain_order=True)
    ends = lines.filter(split=ALL).select("share", "share_low", "share_high")
    shares = [bounded_text(found, unit=" %", scale=100) for found in ends.iter_rows()]
    return (
        f"Persons that no detection hits at any score, trained on {dataset} "
        f"({', '.join(synthetics)}): {', '.join(shares)}{''.join(_splits(lines))}."
    )


def _splits(lines: pl.DataFrame) -> Iterator[str]:
    """`; by size: small 70.0, 55.8 %, medium 25.0, 20.0 %`: in the order of the arms."""
    for split in ("size", "distance"):
        own = lines.filter(split=split).group_by("part", maintain_order=True).agg("share")
        shares = [
            f"{part} {', '.join(f'{100 * share:.1f}' for share in found)} %"
            for part, found in own.iter_rows()
        ]
        yield f"; by {split}: {', '.join(shares)}"
