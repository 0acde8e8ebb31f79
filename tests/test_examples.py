"""Numbers of README and docs are those of the tables that lie in outputs/example."""

import re
from pathlib import Path

import polars as pl
import pytest
from scipy import stats

ROOT = Path(__file__).parents[1]
EXAMPLE = ROOT / "outputs" / "example"
ARMS = {  # as README words them
    "PTL": "on",
    "without selection: virtual images drawn at random": "random",
    "without translation: virtual images as drawn": "identity",
    "a pool with other bodies in another light": "other_renderer_pool",
    "a pool of only the source's poses, pitches and heights": "source_like_pool",
    "a pool whose boxes show nobody": "null_pool",
    "no pool: vertical flips and the best number of steps": "off_tuned",
}


def claim(folder: Path, treated: str, reference: str = "off") -> dict[str, object]:
    """The effect of one value of synthetic, or the contrast of two, over all counts and targets."""
    claims = pl.read_csv(folder / "claims.csv")
    kind = "effect" if reference == "off" else "contrast"
    (row,) = claims.filter(
        (pl.col("statement") == kind)
        & (pl.col("treated") == treated)
        & (pl.col("reference") == reference)
    ).to_dicts()
    return row


def shown(row: dict[str, object], sign: int = 1) -> str:
    """`+1.0 [-3.0, +5.0]`, points; `sign=-1` for the contrast the other way round."""
    value, low, high = (100 * sign * float(str(row[key])) for key in ("value", "low", "high"))
    return f"{value:+.1f} [{min(low, high):+.1f}, {max(low, high):+.1f}]"


def rows_of(page: str) -> dict[str, list[str]]:
    """The rows of its tables by their first cell."""
    lines = (ROOT / page).read_text().splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if "|" in line]
    return {row[0]: row[1:] for row in cells}


@pytest.mark.parametrize("words", ARMS)
def test_the_readme_says_of_each_control_what_its_sweep_found(words: str) -> None:
    row = claim(EXAMPLE / "controls", ARMS[words])
    assert rows_of("README.md")[words] == [shown(row), row["verdict"]]


def test_the_page_on_limits_says_the_same() -> None:
    named = rows_of("docs/limitations.md").items()
    rows = {words.split("`")[1]: row for words, row in named if words.startswith("`")}
    summary = pl.read_csv(EXAMPLE / "controls" / "summary.csv")
    for arm in ARMS.values():
        row = claim(EXAMPLE / "controls", arm)
        level = summary.filter(
            (pl.col("synthetic") == arm)
            & (pl.col("target") == "(all)")
            & (pl.col("metric") == "AP50")
            & pl.col("real_count").is_not_null()
        )
        assert rows[arm] == [f"{100 * level['mean'].item():.1f}", shown(row), row["verdict"]]


def test_selection_and_translation_are_said_to_add_what_their_contrasts_are() -> None:
    controls = EXAMPLE / "controls"
    for arm in ("random", "identity"):
        row = claim(controls, arm, "on") if arm < "on" else claim(controls, "on", arm)
        text = shown(row, -1 if arm < "on" else 1)
        for page in ("README.md", "docs/limitations.md"):
            assert text in (ROOT / page).read_text()
        assert row["verdict"] == "none"


def test_the_readme_quotes_the_effect_of_the_demo() -> None:
    row = claim(EXAMPLE, "on")
    value, low, high = re.findall(r"[-+]?[\d.]+", shown(row))
    sentence = f"by {value.lstrip('+')} points (95 % interval {low} to {high} over 6 seeds)"
    assert sentence in (ROOT / "README.md").read_text()


def changes(name: str, column: str, scale: float = 1) -> str:
    """Mean change from off to on over seeds, with its 95 % interval: `-6.3 [-10.3, -2.3]`."""
    arms = pl.col("synthetic").is_in(["off", "on"])
    table = pl.read_csv(EXAMPLE / "controls" / name).filter(arms)
    means = table.group_by("synthetic", "seed").agg(pl.col(column).mean()).sort("seed")
    off, on = (means.filter(synthetic=value)[column].to_numpy() for value in ("off", "on"))
    change = scale * (on - off)
    assert len(change) == 6
    mean, half = change.mean(), stats.t.ppf(0.975, 5) * stats.sem(change)
    return f"{mean:+.1f} [{mean - half:+.1f}, {mean + half:+.1f}]"


@pytest.mark.parametrize("name", ["in_domain.csv", "results.csv"])
def test_true_positives_come_as_much_nearer_as_their_tables_say(name: str) -> None:
    text = (ROOT / "docs" / "method.md").read_text()
    assert changes(name, "t2t_tp_median_shrunk") in text


def test_the_gain_within_the_domain_is_that_of_its_table() -> None:
    text = " ".join((ROOT / "docs" / "limitations.md").read_text().split())
    assert f"the gain is {changes('in_domain.csv', 'AP50', 100)}" in text


REAL = EXAMPLE / "visdrone_small"
REAL_PAGE = (ROOT / "docs" / "results-real.md").read_text()


def paired(results: pl.DataFrame) -> str:
    """Change from off to on in points, mean over cells in each seed, with its 95 % interval."""
    means = results.group_by("synthetic", "seed").agg(pl.col("AP50").mean()).sort("seed")
    off, on = (means.filter(synthetic=value)["AP50"].to_numpy() for value in ("off", "on"))
    change = 100 * (on - off)
    assert len(change) == 6
    mean, half = change.mean(), stats.t.ppf(0.975, 5) * stats.sem(change)
    return f"{mean:+.1f} [{mean - half:+.1f}, {mean + half:+.1f}]"


def test_the_seeds_on_genuine_pictures_are_those_of_their_table() -> None:
    results = pl.read_csv(REAL / "results.csv")
    places = results.partition_by("target", "real_count", as_dict=True)
    assert len(places) == 16
    for (target, count), own in places.items():
        means = {
            name: 100 * one["AP50"].mean()
            for (name,), one in own.partition_by("synthetic", as_dict=True).items()
        }
        row = f"| {target} | {count} | {means['off']:.1f} | {means['on']:.1f} | {paired(own)} |"
        assert row in REAL_PAGE
    held_out = results.filter(pl.col("domain") != "cross")
    assert paired(held_out) in " ".join(REAL_PAGE.split())


def test_what_is_claimed_of_genuine_pictures_is_what_the_claims_say() -> None:
    claims = pl.read_csv(REAL / "claims.csv")
    whole = claims.filter(statement="effect").row(0, named=True)
    for page in (REAL_PAGE, (ROOT / "README.md").read_text()):
        assert shown(whole) in page
    assert whole["verdict"] == "none"
    for row in claims.filter(statement="effect on a target").iter_rows(named=True):
        p = f"p adjusted {row['p_family']:.3f}"
        assert f"| on {row['target']} | {shown(row)}, {p} | {row['verdict']} |" in REAL_PAGE
    differ = claims.filter(statement="targets differ").row(0, named=True)
    assert (differ["agreement"], differ["p_family"] <= 0.05) == ("agrees", True)
    alone = claims.filter(statement="rises only with synthetic").row(0, named=True)
    assert (alone["agreement"], round(alone["p_family"], 2)) == ("contradicted", 0.19)


def test_the_seed_of_four_arms_is_that_of_its_table() -> None:
    table = pl.read_csv(REAL / "one_seed.csv")
    arms = ("off", "on", "random", "identity")
    cells = table.pivot(on="synthetic", index=["target", "real_count"], values="AP50")
    assert len(cells) == 16
    for row in cells.to_dicts():
        values = [f"{100 * row[arm]:.1f}" for arm in arms]
        assert f"| {row['target']} | {row['real_count']} | {' | '.join(values)} |" in REAL_PAGE
