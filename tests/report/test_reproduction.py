"""REPRODUCTION.md: every setting in exactly one table, and nothing of ours called the papers'."""

import dataclasses
import re
from pathlib import Path

import polars as pl
import pytest
import yaml

from ptl_sweep.compose.compose import compose_grid
from ptl_sweep.pipeline.plan import flat
from ptl_sweep.report import ReportContext
from ptl_sweep.report.content import beside
from ptl_sweep.report.reproduction import stated, write_record
from ptl_sweep.report.reproduction.stated import VARIED, other_settings, stated_settings
from tests.helpers.demo_context import demo_context

PTL = {
    "gaussian.covariance": "ml",
    "gaussian.min_iou": "0.5",
    "synthetic.temperature": "5.0",
    "synthetic.scales": "[128, 256, 384, 512]",
    "translator.crop": "tight",
}


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> ReportContext:
    return demo_context(tmp_path_factory.mktemp("pictures"))


def section(page: str, title: str) -> str:
    return page.split(f"## {title}\n", 1)[1].split("\n## ", 1)[0]


def keys_of(text: str) -> list[str]:
    return re.findall(r"^\| `([^`]+)`", text, re.M)


def test_a_value_is_the_papers_only_where_it_equals_it() -> None:
    found = {one.key: one for one in stated_settings({**PTL, "gaussian.covariance": "oas"})}
    assert not found["gaussian.covariance"].is_kept
    assert all(found[key].is_kept for key in PTL if key != "gaussian.covariance")
    assert found["synthetic.num_iterations"].ours == VARIED
    assert not found["synthetic.num_iterations"].is_kept
    grid = {one.key: one for one in stated_settings({"real_count": "[20, 50]", "target": "icg"})}
    assert not grid["real_count"].is_kept
    assert not grid["target"].is_kept
    every = {"real_count": "[20, 50, 100, 200]", "target": "['sard', 'icg', 'heridal', 'okutama']"}
    assert all(one.is_kept for one in stated_settings(every) if one.key in every)


def test_a_stated_setting_is_a_key_of_the_configuration_with_a_value_that_it_takes() -> None:
    config = compose_grid(["experiment=paper"], as_sweep=True)[0]
    known = flat(
        {
            item.name: dataclasses.asdict(part) if dataclasses.is_dataclass(part) else part
            for item in dataclasses.fields(config)
            for part in [getattr(config, item.name)]
        }
    ) | {"target": "icg"}
    for one in stated_settings(known):
        assert one.key in known
        if isinstance(one.value, bool | str):
            assert type(yaml.safe_load(known[one.key])) is type(one.value)


def test_the_papers_files_hold_nothing_but_what_is_read() -> None:
    for path in stated.PAPERS.glob("*.yaml"):
        paper = yaml.safe_load(path.read_text())
        assert set(paper) == {"paper", "settings"}
        for entry in paper["settings"]:
            assert {"key", "value", "where"} <= set(entry) <= {"key", "value", "where", "note"}


def test_every_setting_stands_in_one_table_and_none_of_where_it_ran(
    context: ReportContext, tmp_path: Path
) -> None:
    settings = {
        **PTL, "gaussian.covariance": "oas", "train.num_steps": "90", "train.image_cache_mb": "8",
        "dataset.root": "/somewhere", "synthetic.options": "{'a': 'x|y'}", "seed": "0",
    }  # fmt: skip
    path = write_record(tmp_path, dataclasses.replace(context, settings=settings))
    page = path.read_text()
    changed = keys_of(section(page, "Set otherwise than a paper states"))
    kept = keys_of(section(page, "Set as a paper states"))
    others = keys_of(section(page, "Ours, as far as we know"))
    assert {"gaussian.covariance", "real_count", "target", "dataset.name"} <= set(changed)
    assert set(kept) == set(PTL) - {"gaussian.covariance"}
    assert others == ["train.num_steps", "synthetic.options"]
    assert list(other_settings(settings, [])) != []
    assert not {*changed} & {*kept}
    assert "/somewhere" not in page
    assert r"x\|y" in page


def test_the_record_says_what_ran_where_and_what_came_of_it(
    context: ReportContext, tmp_path: Path
) -> None:
    page = write_record(tmp_path, context).read_text()
    assert context.provenance.command in page
    assert context.toy_note in page
    num_ok = context.study.rows.filter(pl.col("status") == "ok").height
    assert f"{num_ok} of {context.study.rows.height} cells have a result" in page
    assert re.search(r"^\| 2 \| commit 1a2b3c4d5e6f", page, re.M)
    assert section(page, "What came out").count("\n- **") == 2  # on and random, beside off


def test_published_changes_stand_beside_ours_as_direction_and_ratio(
    context: ReportContext, tmp_path: Path
) -> None:
    page = write_record(tmp_path, context).read_text()
    lines = section(page, "Beside published numbers").splitlines()
    rows = [line.strip("| ").split(" | ") for line in lines if line.startswith("| made-up")]
    assert len(rows) == beside(context.study).filter(pl.col("change") != "").height > 0
    for row in rows:
        assert {row[5], row[6]} <= {"up", "down", "same"}
        assert float(row[7]) > 0
        assert float(row[8]) > 0


def test_a_sweep_beside_no_published_number_says_so(context: ReportContext, tmp_path: Path) -> None:
    study = dataclasses.replace(context.study, published=context.study.published.clear())
    page = write_record(tmp_path, dataclasses.replace(context, study=study)).read_text()
    assert "No cell of this sweep stands beside" in section(page, "Beside published numbers")
