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


def paired(results: pl.DataFrame, arm: str = "on") -> str:
    """Change from off in points, mean over cells in each seed, with its 95 % interval."""
    means = results.group_by("synthetic", "seed").agg(pl.col("AP50").mean()).sort("seed")
    off, on = (means.filter(synthetic=value)["AP50"].to_numpy() for value in ("off", arm))
    change = 100 * (on - off)
    assert len(change) == 6
    mean, half = change.mean(), stats.t.ppf(0.975, 5) * stats.sem(change)
    return f"{mean:+.1f} [{mean - half:+.1f}, {mean + half:+.1f}]"


def of_real(statement: str, **wanted: str) -> list[dict[str, object]]:
    """Rows of the claims on genuine pictures, not of what they are judged by."""
    claims = pl.read_csv(REAL / "claims.csv").filter(pl.col("part").fill_null("") == "")
    return claims.filter(statement=statement, **wanted).to_dicts()


def test_the_seeds_on_genuine_pictures_are_those_of_their_table() -> None:
    results = pl.read_csv(REAL / "results.csv")
    places = results.partition_by("target", "real_count", as_dict=True)
    assert len(places) == 16
    for (target, count), own in places.items():
        means = {
            name: f"{100 * one['AP50'].mean():.1f}"
            for (name,), one in own.partition_by("synthetic", as_dict=True).items()
        }
        arms = " | ".join(means[name] for name in ("off", "on", "random", "identity"))
        assert f"| {target} | {count} | {arms} | {paired(own)} |" in REAL_PAGE


@pytest.mark.parametrize("arm", ["on", "random", "identity"])
def test_what_is_claimed_of_genuine_pictures_is_what_the_claims_say(arm: str) -> None:
    def marked(row: dict[str, object]) -> str:
        return f"**{shown(row)}**" if row["verdict"] == "found" else shown(row)

    results = pl.read_csv(REAL / "results.csv")
    held_out = paired(results.filter(pl.col("domain") != "cross"), arm)
    rows = [*of_real("effect", treated=arm), *of_real("effect on a target", treated=arm)]
    assert [row["target"] for row in rows[1:]] == sorted(str(row["target"]) for row in rows[1:])
    line = next(one for one in REAL_PAGE.splitlines() if one.startswith(f"| `{arm}`:"))
    assert line.split(" | ", 1)[1] == " | ".join([*map(marked, rows), f"{held_out} |"])


def test_the_contrasts_and_errors_of_genuine_pictures_are_those_of_the_claims() -> None:
    page = " ".join(REAL_PAGE.split())
    for treated, reference, verdict in (
        ("on", "random", "none"), ("identity", "random", "found"), ("identity", "on", "none"),
    ):  # fmt: skip
        (row,) = of_real("contrast", treated=treated, reference=reference)
        assert row["verdict"] == verdict
        assert f"`{treated}` minus `{reference}`" in page
        assert shown(row) in page
    for arm, verdict in (("on", "none"), ("random", "found"), ("identity", "found")):
        kind = {"treated": arm, "metric": "cost_background"}
        (row,) = of_real("cost of a type of error", **kind)
        assert (row["verdict"], shown(row) in page) == (verdict, True)
    for statement, arm, agreement, p in (
        ("targets differ", "on", "agrees", 0.11), ("targets differ", "random", "agrees", 0.036),
        ("through false positives", "on", "contradicted", 0.08),
        ("replacement grows", "identity", "agrees", 0.13),
    ):  # fmt: skip
        (row,) = of_real(statement, treated=arm)
        assert row["agreement"] == agreement
        assert row["p_family"] == pytest.approx(p, abs=0.005)
    others = ("medium confidence", "rises only with synthetic", "replacement grows")
    assert {of_real(name, treated="on")[0]["agreement"] for name in others} == {"no evidence"}


def test_the_distance_that_predicts_is_the_one_of_its_table() -> None:
    table = pl.read_csv(REAL / "predictors.csv")
    assert table.filter(pl.col("verdict") == "found")["distance"].to_list() == [
        "distance of all persons to neighbours (d_knn)"
    ]
    for name in ("d_knn", "d_relative"):
        row = table.filter(pl.col("distance").str.contains(f"({name})", literal=True))
        assert row["rho"].item() in REAL_PAGE
    (judged,) = of_real("prediction", metric="d_relative")
    assert table["rho"][0].startswith(f"{judged['value']:+.2f} [")


def test_both_runs_of_the_same_seeds_are_those_of_their_tables() -> None:
    runs = [pl.read_csv(REAL / f"{name}.csv") for name in ("results", "bfloat16")]
    rows = {"all foreign targets": pl.col("domain") == "cross",
            "held out of the source": pl.col("domain") != "cross"}  # fmt: skip
    foreign = ("hituav_small", "mountains", "seadronessee_small")
    rows |= {name: pl.col("target") == name for name in foreign}
    for name, own in rows.items():
        assert f"| {name} | {' | '.join(paired(run.filter(own)) for run in runs)} |" in REAL_PAGE


def test_the_readme_quotes_the_genuine_pictures() -> None:
    (whole,) = of_real("effect", treated="on")
    for text in (REAL_PAGE, (ROOT / "README.md").read_text()):
        assert shown(whole).split(" ")[0] in text
    assert shown(whole) in " ".join((ROOT / "README.md").read_text().split())
