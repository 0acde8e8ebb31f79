"""What a stage reads of other stages is what they have published, or an error that names it."""

import ast
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.sweeps import TINY, Sweep
from PIL import Image

import ptl_sweep
from ptl_sweep.__main__ import main
from ptl_sweep.pipeline.plan import Plan, load_plan
from ptl_sweep.stages.ptl import TRANSLATOR
from ptl_sweep.stages.train import FEATURES, MANIFEST, MODEL
from ptl_sweep.tracking import Companion
from ptl_sweep.worker.running import StageFailedError, run_stage

PACKAGE = Path(ptl_sweep.__file__).parent
TWO = ("synthetic.num_iterations=2", "real_count=3", "synthetic=on", "target=field", "seed=0")


@pytest.fixture(scope="module")
def two_iterations(tmp_path_factory: pytest.TempPathFactory) -> Sweep:
    """One cell whose second iteration goes on from the first."""
    root = tmp_path_factory.mktemp("two")
    arguments = [*TINY, *TWO, "analysis.calibration=none", f"sweep.root={root}"]
    assert main(arguments) == 0
    (folder,) = (root / "sweeps").iterdir()
    return Sweep(root, load_plan(folder), arguments)


def keys_by_iteration(plan: Plan) -> dict[int, str]:
    return {stage.iteration: stage.key for stage in plan.ptl_stages()}


def another_picture(path: Path) -> None:
    """As valid as the one before, of the same size."""
    with Image.open(path) as image:
        pixels = np.asarray(image)
    Image.fromarray(255 - pixels).save(path)


def one_byte_more(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b" ")


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        (TRANSLATOR, Path.unlink),
        (TRANSLATOR, one_byte_more),
        ("selected/0000.png", another_picture),
        ("selected/0003.png", another_picture),
        ("selected/0001.png", Path.unlink),
        (MANIFEST, one_byte_more),
        (FEATURES, one_byte_more),
        (MODEL, one_byte_more),
    ],
)
def test_an_iteration_starts_from_nothing_but_what_the_one_before_has_published(
    two_iterations: Sweep, copy_of: Any, name: str, damage: Callable[[Path], None]
) -> None:
    plan = copy_of(two_iterations).plan
    keys = keys_by_iteration(plan)
    shutil.rmtree(plan.store.path(keys[2]))
    path = plan.store.path(keys[1]) / name
    damage(path)
    with pytest.raises(StageFailedError) as caught:
        run_stage(plan, keys[2], should_stop=lambda: False, companion=Companion())
    message = str(caught.value)
    assert f"{path} is not the file that was published" in message
    assert f"move {plan.store.path(keys[1])} away and run again" in message


def test_an_undamaged_iteration_is_computed_again_to_the_same_files(
    two_iterations: Sweep, copy_of: Any
) -> None:
    plan = copy_of(two_iterations).plan
    key = keys_by_iteration(plan)[2]
    before = plan.store.meta(key)["sha256"]
    shutil.rmtree(plan.store.path(key))
    assert run_stage(plan, key, should_stop=lambda: False, companion=Companion())
    after = plan.store.meta(key)["sha256"]
    assert {TRANSLATOR, MANIFEST, MODEL, "selected/0000.png"} <= before.keys()
    assert after[MODEL] == before[MODEL]
    assert after[TRANSLATOR] == before[TRANSLATOR]


def calls_of(path: Path, method: str) -> list[str]:
    """Calls `<...>store.<method>(...)` in a Python file, by place."""
    return [
        f"{path.relative_to(PACKAGE)}:{node.lineno}"
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == method
        and ast.unparse(node.func.value).endswith("store")
    ]


def test_no_stage_reaches_a_file_of_another_one_past_its_checksum() -> None:
    """`Store.path` names a folder without a look at it; stages ask `Store.artifact`."""
    files = sorted((PACKAGE / "stages").glob("*.py"))
    assert [place for path in files for place in calls_of(path, "path")] == []
    assert [place for path in files for place in calls_of(path, "artifact")]
