"""`publish`: workspace and report speak of what the stages log, and are saved where runs are."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers.wandb_server.backend import FakeBackend

from ptl_sweep.pipeline.plan import Plan
from ptl_sweep.pipeline.wandb_runs import reduce_run, stage_run

pytestmark = pytest.mark.wandb
ALWAYS = {"train/loss", "train/images_per_second", "ptl/gap_median", "ptl/effective_sample_size"}
IDS = ("id", "__id__")  # made up anew whenever a workspace or a report is built
Json = dict[str, Any]


def strings_of(content: Any) -> Iterator[str]:
    if isinstance(content, str):
        yield content
    elif isinstance(content, dict):
        for key, value in content.items():
            yield from strings_of([key, value])
    elif isinstance(content, list):
        for value in content:
            yield from strings_of(value)


def values_of(content: Any, name: str) -> Iterator[Any]:
    """What stands below a name, anywhere."""
    if isinstance(content, dict):
        for key, value in content.items():
            if key == name:
                yield value
            yield from values_of(value, name)
    elif isinstance(content, list):
        for value in content:
            yield from values_of(value, name)


def without_ids(content: Any) -> Any:
    if isinstance(content, dict):
        return {key: without_ids(value) for key, value in content.items() if key not in IDS}
    return [without_ids(value) for value in content] if isinstance(content, list) else content


def publish(sweep: Any, *flags: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """In a process of its own: W&B's settings are one per process."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("WANDB_")}
    command = [sys.executable, "-m", "ptl_sweep", "publish", *flags, f"sweep.root={sweep.root}"]
    return subprocess.run(
        command,
        check=False,
        capture_output=True,
        text=True,
        cwd=sweep.root,
        env=own | {"HOME": str(sweep.root), "WANDB_ERROR_REPORTING": "false"} | environment,
        timeout=150,  # W&B's service must not outlive an answer
    )


def account(server: FakeBackend) -> dict[str, str]:
    return {"WANDB_BASE_URL": server.url, "WANDB_API_KEY": "0" * 40}


@pytest.fixture
def sweep(tiny_sweep: Any, copy_of: Any) -> Any:
    """A finished sweep that `publish` may write into."""
    return copy_of(tiny_sweep)


@pytest.fixture(scope="module")
def written(tiny_sweep: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Json]:
    """What --dry-run writes, without an account."""
    root = tmp_path_factory.mktemp("written") / "outputs"
    shutil.copytree(tiny_sweep.root, root)
    done = publish(tiny_sweep._replace(root=root), "--dry-run", "--json")
    assert done.returncode == 0, done.stderr
    paths = json.loads(done.stdout)
    return {name: json.loads(Path(paths[name]).read_text()) for name in ("workspace", "report")}


@pytest.fixture
def server() -> Iterator[FakeBackend]:
    """A W&B server that is up and knows the project."""
    with FakeBackend() as backend:
        yield backend


def test_the_workspace_has_its_sections_over_the_runs_of_the_sweep(
    written: dict[str, Json], tiny_sweep: Any
) -> None:
    names = set(strings_of(written["workspace"]))
    assert {"Results", "PTL", "Evaluation", "System"} <= names
    assert any(tiny_sweep.plan.name in name for name in names)
    assert {"ptl/iteration", "train/step"} <= names


def test_every_panel_of_a_section_is_on_its_first_page(written: dict[str, Json]) -> None:
    for section in written["workspace"]["spec"]["section"]["panelBankConfig"]["sections"]:
        layout = section["flowConfig"]
        assert len(section["panels"]) <= layout["columnsPerPage"] * layout["rowsPerPage"]


def test_runs_are_grouped_by_sweep_and_job_type_and_panels_show_single_ones(
    written: dict[str, Json],
) -> None:
    section = written["workspace"]["spec"]["section"]
    (runs,) = section["runSets"]
    assert [(key["section"], key["name"]) for key in runs["grouping"]] == [
        ("run", "group"), ("run", "jobType"),
    ]  # fmt: skip
    settings = list(values_of(section, "useRunsTableGroupingInPanels"))
    assert settings == [False] * (2 + len(section["panelBankConfig"]["sections"]))


def test_panels_show_metrics_that_the_stages_log(written: dict[str, Json], tiny_sweep: Any) -> None:
    names = set(strings_of(written["workspace"]))
    logged = {
        name
        for path in tiny_sweep.plan.store.root.glob("*/history.jsonl")
        for line in path.read_text().splitlines()
        for name in json.loads(line)
    }
    curves = {name for name in names if name.startswith(("train/", "ptl/", "translate/"))}
    media = {"ptl/transformed", "ptl/selected_pool"}
    on_cuda = {"train/gpu_memory_mb", "translate/gpu_memory_mb"}
    assert curves >= ALWAYS
    of_fastcut = {"translate/loss_nce"}  # CycleGAN has no such loss
    assert curves - media - on_cuda - of_fastcut <= logged


def test_the_report_says_what_the_numbers_say_beside_what_was_published(
    written: dict[str, Json],
) -> None:
    text = "\n".join(strings_of(written["report"]))
    assert "toy" in text
    assert "2211.01778" in text
    for metric in ("AP50", "AP_t2t_010_shrunk", "t2t_tp_mean_shrunk"):
        assert metric in text
    assert "real_count" in text


def grids_of(report: Json) -> list[Json]:
    return [
        block["metadata"] for block in report["spec"]["blocks"] if block["type"] == "panel-grid"
    ]


def test_no_two_panels_of_a_grid_overlap_and_all_lie_within_its_width(
    written: dict[str, Json],
) -> None:
    grids = [grid["panelBankSectionConfig"]["panels"] for grid in grids_of(written["report"])]
    assert max(len(panels) for panels in grids) >= 4
    for panels in grids:
        taken: set[tuple[int, int]] = set()
        for layout in (panel["layout"] for panel in panels):
            across = range(layout["x"], layout["x"] + layout["w"])
            down = range(layout["y"], layout["y"] + layout["h"])
            places = {(x, y) for x in across for y in down}
            assert across.stop <= 24
            assert not places & taken
            taken |= places


# which runs a panel is about

BUILD = """
import json, sys
from pathlib import Path
from ptl_sweep.cli.publish.dashboards import DashboardPlace, build_report, build_workspace
from ptl_sweep.cli.publish.save import write_dashboards
from ptl_sweep.study.schemas import frame_of, results_schema
from ptl_sweep.study.study import Study
content = json.load(sys.stdin)
place = DashboardPlace(entity="team", project="project", sweep=content["sweep"])
rows = frame_of(content["rows"], results_schema((0.01, 0.1, 0.5)))
study = Study(rows=rows, iteration_rows=rows.clear())
made = build_workspace(place, study), build_report(place, study)
paths = write_dashboards(Path(content["folder"]), place, *made)
print(json.dumps({name: json.loads(Path(path).read_text()) for name, path in paths.items()}))
"""


@pytest.fixture(params=["field", "field,source"])
def plan(make_plan: Callable[..., Plan], request: pytest.FixtureRequest) -> Plan:
    """Chains of two iterations, all evaluated, on the target and on what the source holds back.

    That calibrates distances, and is a target as well where the grid has target=source.
    """
    return make_plan(
        "real_count=2,3", "synthetic=off,on", f"target={request.param}", "seed=0",
        "synthetic.num_iterations=2", "evaluate.iterations=all", "dataset.num_images=12",
        "analysis.calibration=validation",
    )  # fmt: skip


def built(plan: Plan) -> dict[str, Json]:
    """Workspace and report of a sweep whose cells have no numbers."""
    rows = [{**c.id._asdict(), "iteration": c.readings[-1].iteration} for c in plan.cells]
    done = subprocess.run(
        [sys.executable, "-c", BUILD],
        input=json.dumps({"sweep": plan.name, "rows": rows, "folder": str(plan.folder)}),
        check=True,
        capture_output=True,
        text=True,
    )
    return dict(json.loads(done.stdout))


def runs_of(plan: Plan) -> dict[str, Json]:
    """Each run by stage key: its tags and job type, and its config, as filters name them."""
    infos = [stage_run(plan, stage) for key, stage in plan.stages.items()]
    return {
        info.key: {"run": {"tags": info.tags, "jobType": info.job_type}, "config": info.config}
        for info in [*infos, reduce_run(plan)]
    }


def is_chosen(run: Json, items: list[Json]) -> bool:
    """W&B's rule for a list of filters: AND binds before OR, a group stands in brackets."""
    alternatives: list[bool] = []
    for item in items:
        if "filters" in item:
            holds = is_chosen(run, item["filters"])
        else:
            value = run[item["key"]["section"]].get(item["key"]["name"])
            if item["op"] == "IN":  # of tags
                holds = bool(set(value) & set(item["value"]))
            else:
                holds = {"=": value == item["value"], "!=": value != item["value"]}[item["op"]]
        if alternatives and item["connector"] == "AND":
            alternatives[-1] &= holds
        else:
            alternatives.append(holds)
    return any(alternatives)


def chosen(plan: Plan, run_set: Json) -> set[str]:
    filters = run_set["filters"]["filters"]
    return {key for key, run in runs_of(plan).items() if is_chosen(run, filters)}


def results_of(plan: Plan) -> set[str]:
    """Evaluations that results.csv is about."""
    return {cell.readings[-1].evaluate for cell in plan.cells}


def readings_of(plan: Plan, target: str) -> set[str]:
    cells = [cell for cell in plan.cells if cell.id.target == target]
    return {reading.evaluate for cell in cells for reading in cell.readings}


def test_the_workspace_shows_trainings_and_of_the_evaluations_those_in_results_csv(
    plan: Plan,
) -> None:
    (run_set,) = built(plan)["workspace"]["spec"]["section"]["runSets"]
    others = {key for key, stage in plan.stages.items() if stage.kind != "evaluate"}
    assert chosen(plan, run_set) == others | {f"reduce-{plan.name}"} | results_of(plan)


def test_scatter_plots_mix_no_iterations_of_a_chain_and_no_calibration(plan: Plan) -> None:
    against: dict[str, list[set[str]]] = {"real_count": [], "distance": []}
    names = {"config:real_count.value": "real_count", "summary:t2t_tp_mean_shrunk": "distance"}
    for grid in grids_of(built(plan)["report"]):
        axes = set(values_of(grid["panelBankSectionConfig"], "xAxis"))
        for axis in axes & set(names):
            against[names[axis]] += [chosen(plan, run_set) for run_set in grid["runSets"]]
    for found in against.values():
        assert set().union(*found) == results_of(plan)
        assert sum(map(len, found)) == len(results_of(plan))  # in one run set each


def test_every_evaluated_iteration_is_in_the_plot_against_iterations(plan: Plan) -> None:
    found = [
        set().union(*(chosen(plan, run_set) for run_set in grid["runSets"]))
        for grid in grids_of(built(plan)["report"])
        if "config:iteration.value" in values_of(grid["panelBankSectionConfig"], "xAxis")
    ]
    assert found == [readings_of(plan, name) for name in sorted({c.id.target for c in plan.cells})]


# saving


def test_what_is_saved_is_what_the_dry_run_shows_and_its_addresses_are_printed(
    sweep: Any, written: dict[str, Json], server: FakeBackend
) -> None:
    done = publish(sweep, **account(server))
    assert done.returncode == 0, done.stderr
    assert server.unknown == []
    workspace, report = server.views.values()
    assert (workspace["type"], report["type"]) == ("project-view", "runs")
    for view, name in ((workspace, "workspace"), (report, "report")):
        assert view["displayName"] == written[name]["name"]
        assert (view["entityName"], view["projectName"]) == ("team", "ptl-sweep")
        assert without_ids(json.loads(view["spec"])) == without_ids(written[name]["spec"])
    shown = dict(line.split() for line in done.stdout.splitlines())
    own = workspace["name"].removeprefix("nw-").removesuffix("-v")
    assert shown["workspace"] == f"{server.url}/team/ptl-sweep?nw={own}"
    assert shown["report"].startswith(f"{server.url}/team/ptl-sweep/reports/")
    assert shown["report"].endswith(f"--{report['id']}")
    assert "Traceback" not in done.stderr


def test_a_second_publish_updates_both_instead_of_making_copies(
    sweep: Any, written: dict[str, Json], server: FakeBackend
) -> None:
    first = publish(sweep, "--json", **account(server))
    names = [view["name"] for view in server.views.values()]
    for view in server.views.values():
        view |= {"spec": "{}", "displayName": "edited there"}
    second = publish(sweep, "--json", **account(server))
    assert (second.returncode, second.stderr) == (0, "")
    assert json.loads(second.stdout) == json.loads(first.stdout)
    workspace, report = server.views.values()
    assert workspace["name"] == names[0]
    for view, name in ((workspace, "workspace"), (report, "report")):
        assert view["displayName"] == written[name]["name"]
        assert without_ids(json.loads(view["spec"])) == without_ids(written[name]["spec"])


def test_what_was_deleted_there_is_made_anew_with_a_line_that_says_so(
    sweep: Any, server: FakeBackend
) -> None:
    first = json.loads(publish(sweep, "--json", **account(server)).stdout)
    workspace, report = server.views
    del server.views[workspace]
    done = publish(sweep, "--json", **account(server))
    second = json.loads(done.stdout)
    assert done.returncode == 0
    assert done.stderr.splitlines() == [
        f"the workspace at {first['workspace']} was deleted there: a new one is made"
    ]
    assert len(server.views) == 2
    assert report in server.views
    assert second["report"] == first["report"]
    assert second["workspace"] != first["workspace"]
    again = publish(sweep, "--json", **account(server))
    assert (again.stderr, json.loads(again.stdout)) == ("", second)


def test_another_project_gets_its_own_and_each_is_updated_where_it_is(
    sweep: Any, server: FakeBackend
) -> None:
    server.projects.add("other")
    for flags in ((), ("--project", "other")) * 2:
        assert publish(sweep, *flags, **account(server)).returncode == 0
    found = sorted((view["projectName"], view["type"]) for view in server.views.values())
    kinds = ("project-view", "runs")
    assert found == [(name, kind) for name in ("other", "ptl-sweep") for kind in kinds]


# mistakes


def test_without_an_account_saving_is_a_mistake_that_names_the_dry_run(sweep: Any) -> None:
    done = publish(sweep)
    assert_mistake(done, "WANDB_API_KEY", "--dry-run")


def assert_mistake(done: subprocess.CompletedProcess[str], *words: str) -> None:
    assert (done.returncode, done.stdout) == (2, "")
    assert "Traceback" not in done.stderr
    for word in words:
        assert word in done.stderr


def test_without_the_extra_it_says_what_to_install(sweep: Any, tmp_path: Path) -> None:
    package = tmp_path / "shadow" / "wandb_workspaces"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("raise ImportError('not installed here')\n")
    paths = [str(package.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    done = publish(sweep, "--dry-run", PYTHONPATH=os.pathsep.join(paths))
    assert_mistake(done, "not installed here", "pip install 'ptl-sweep[workspaces]'")


def test_a_dead_server_is_named(sweep: Any, server: FakeBackend) -> None:
    server.is_dead = True
    done = publish(sweep, "--entity", "team", **account(server))
    assert_mistake(done, f"no answer from {server.url}", "--dry-run")


def test_a_key_that_the_server_refuses_is_a_mistake(sweep: Any, server: FakeBackend) -> None:
    server.fail_graphql, server.fail_status = 1000, 403
    assert_mistake(publish(sweep, **account(server)), server.url, "on demand", "--dry-run")


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--entity", "nobody"), ("shows no projects of nobody", "--entity")),
        (("--project", "elsewhere"), ("no project elsewhere of team", "sync", "--project")),
    ],
)
def test_nothing_is_saved_where_the_runs_cannot_be(
    sweep: Any, server: FakeBackend, flags: tuple[str, ...], words: tuple[str, ...]
) -> None:
    assert_mistake(publish(sweep, *flags, **account(server)), server.url, *words)
    assert server.views == {}


def test_a_report_that_is_refused_says_so_and_the_next_publish_goes_on(
    sweep: Any, server: FakeBackend
) -> None:
    server.refused = {"upsertView"}
    done = publish(sweep, **account(server))
    assert_mistake(done, "the report into team/ptl-sweep", "permission denied", "write there?")
    (workspace,) = server.views
    server.refused = set()
    assert publish(sweep, **account(server)).returncode == 0
    assert len(server.views) == 2
    assert workspace in server.views


def test_a_damaged_memory_of_what_was_saved_is_named(sweep: Any, server: FakeBackend) -> None:
    (sweep.plan.folder / "dashboards.json").write_text('{"http')
    assert_mistake(publish(sweep, **account(server)), "dashboards.json is not JSON", "delete it")
