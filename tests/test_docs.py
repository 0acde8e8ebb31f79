"""The documentation: its commands, keys, columns and examples are those of the package."""

import csv
import importlib.util
import itertools
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from omegaconf import OmegaConf
from PIL import Image

import ptl_sweep
from ptl_sweep import launchers
from ptl_sweep.cli.commands import COMMANDS
from ptl_sweep.compose import compose
from ptl_sweep.compose.compose import compose_grid
from ptl_sweep.config.schema import GROUPS, Config, ConfigError, conf_dir
from ptl_sweep.datasets import registry
from ptl_sweep.datasets.validation import DataError
from ptl_sweep.detection import architectures

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")])
PROGRAMS = (["python", "-m", "ptl_sweep"], ["ptl-sweep"])
COUNTED_BY_HYDRA = ("plan", "check")  # verbs that take the overrides of a grid


def blocks(page: Path, language: str = "") -> list[str]:
    """The code blocks of a page in one language."""
    pattern = rf"^( *)```{language}\n(.*?)^\1```"
    return [match[1] for match in re.findall(pattern, page.read_text(), re.M | re.S)]


def command_lines(page: Path) -> Iterator[list[str]]:
    """Every command of a page, in blocks and in the text, without its comment, $DATA set."""
    text = page.read_text()
    quoted = [line.replace("\n", " ") for line in re.findall(r"(?<!`)`([^`]+)`(?!`)", text)]
    lines = [line for block in blocks(page) for line in block.replace("\\\n", " ").splitlines()]
    for line in [*lines, *quoted]:
        if not line.startswith(("python -m ptl_sweep", "ptl-sweep ", "make ")) or "..." in line:
            continue
        yield shlex.split(line.replace("$DATA", "/path/to/data"), comments=True)


def product_commands() -> list[Any]:
    """The arguments after the program's name."""
    found = {}
    for page in PAGES:
        for words in command_lines(page):
            for program in PROGRAMS:
                if words[: len(program)] == program and len(words) > len(program):
                    arguments = words[len(program) :]
                    found[shlex.join(arguments)] = arguments
    return [pytest.param(arguments, id=name) for name, arguments in found.items()]


def make_commands() -> list[Any]:
    found = {}
    for page in PAGES:
        for words in command_lines(page):
            if words[0] == "make":
                found[shlex.join(words[1:])] = words[1:]
    return [pytest.param(words, id=name) for name, words in found.items()]


def block_of(name: str, language: str = "python") -> str:
    """The block of docs/extending.md that is this file."""
    found = blocks(ROOT / "docs" / "extending.md", language)
    (block,) = [one for one in found if one.startswith(f"# {name}\n")]
    return block


def add_examples(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What docs/extending.md adds to conf/, and files whose names its commands check."""
    shutil.copytree(conf_dir(), folder)
    for block in blocks(ROOT / "docs" / "extending.md", "yaml"):
        name = block.splitlines()[0].removeprefix("# conf/")
        (folder / name).write_text(block)
    shutil.copy(folder / "dataset" / "yolo.yaml", folder / "dataset" / "people.yaml")  # own-data.md
    monkeypatch.setattr(compose, "conf_dir", lambda: folder)
    for package, module in ((launchers, "script"), (architectures, "retinanet_r18")):
        place = folder / package.__name__
        place.mkdir()
        name = f"{package.__name__.replace('.', '/')}/{module}.py"
        (place / f"{module}.py").write_text(block_of(name))
        monkeypatch.setattr(package, "__path__", [*package.__path__, str(place)])


@pytest.mark.parametrize("arguments", product_commands())
def test_a_command_of_the_documentation_has_a_verb_keys_and_values_that_exist(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    add_examples(tmp_path / "conf", monkeypatch)
    verb, *rest = arguments
    if "--help" in arguments:
        if verb in COMMANDS:
            with pytest.raises(SystemExit) as ended:
                COMMANDS[verb](rest)
            assert ended.value.code == 0
        else:
            assert verb == "--help"
    elif verb in COMMANDS and verb not in COUNTED_BY_HYDRA:
        for path in tmp_path.glob("conf/*/*.yaml"):  # what new-target and new-dataset shall write
            if verb.startswith("new-") and path.stem == rest[0]:
                path.unlink()
        with pytest.raises(
            (ConfigError, DataError)
        ) as refused:  # its words are right: what it asks for lacks
            COMMANDS[verb](rest)
        data = r"/path/to/data/(archangel|quarry|people)|pool.root is /path/to"
        asked = rf"no sweep\b|detections is no folder|{data}"
        assert re.match(asked, str(refused.value))
    else:
        overrides = [word for word in arguments if "=" in word and not word.startswith("-")]
        assert verb in COMMANDS or verb == "-m" or "=" in verb
        assert compose_grid(overrides, as_sweep=verb != "check")


@pytest.mark.parametrize("words", make_commands())
@pytest.mark.skipif(shutil.which("make") is None, reason="needs make")
def test_a_make_target_of_the_documentation_exists(words: list[str]) -> None:
    done = subprocess.run(
        ["make", "-n", *words], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_both_names_of_the_program_are_in_the_readme_which_is_short() -> None:
    text = (ROOT / "README.md").read_text()
    assert len(text.splitlines()) <= 150
    assert re.search(r"^ptl-sweep ", text, re.M)
    assert re.search(r"^python -m ptl_sweep ", text, re.M)
    for words in ("is a toy", "Nothing was run on the papers' data", "could not read the\nICIP"):
        assert words in text


def test_links_of_the_readme_and_its_neighbours_lead_to_files() -> None:
    for page in (ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")):
        links = re.findall(r"\]\(([^)#]+)\)", page.read_text())
        local = [link for link in links if not link.startswith("http")]
        assert [link for link in local if not (ROOT / link).exists()] == []


@pytest.fixture(scope="module")
def hooks() -> types.ModuleType:
    """docs/hooks.py, as mkdocs loads it."""
    spec = importlib.util.spec_from_file_location("hooks", ROOT / "docs" / "hooks.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def leaves(values: Any, prefix: str = "") -> Iterator[str]:
    """Dotted names of a config; an empty mapping is a value."""
    for name, value in values.items():
        if isinstance(value, dict) and value:
            yield from leaves(value, f"{prefix}{name}.")
        else:
            yield prefix + name


def test_every_key_of_the_config_and_every_choice_is_documented(hooks: Any) -> None:
    text = hooks.configuration_tables()
    documented = re.findall(r"^\| `([a-z0-9_.]+)` \|", text, re.M)
    structured = OmegaConf.to_container(OmegaConf.structured(Config))
    assert isinstance(structured, dict)
    keys = list(leaves(structured))
    assert set(keys) - set(documented) == set()
    assert len(documented) == len(set(documented)) + _repeated_choices()
    for group in (*GROUPS, "arm"):
        section = text.partition(f"## `{group}`")[2].partition("\n## ")[0]
        for path in (conf_dir() / group).glob("*.yaml"):
            assert f"| `{path.stem}` |" in section


def _repeated_choices() -> int:
    """Choices whose name occurs in more than one group, or is that of a key."""
    folders = (*GROUPS, "arm")
    names = [path.stem for group in folders for path in (conf_dir() / group).glob("*.yaml")]
    return len(names) - len(set(names))


def test_a_comment_of_two_lines_is_one_meaning_and_choices_show_their_values(hooks: Any) -> None:
    keys = {key.name: key for key in hooks.keys_of(Config)}
    meaning = keys["analysis.calibration"].meaning
    assert meaning.startswith(
        "unit of calibrated distances: mean over true positives of validation"
    )
    assert keys["launcher.reduce.gpus"].default == 0  # as the launcher sets it, not its class
    row = re.search(r"^\| `detector.channels` \| (.*?) \|", hooks.configuration_tables(), re.M)
    assert row is not None
    assert row[1] == "`256`; `fcos_tiny`: `48`; `retinanet_tiny`: `48`; `retinanet_tiny_fine`: `48`"


def expanded(pattern: str) -> list[str]:
    """`a_{b,c}` -> a_b, a_c."""
    parts = re.split(r"\{([^}]*)\}", pattern)
    choices = [part.split(",") if index % 2 else [part] for index, part in enumerate(parts)]
    return ["".join(chosen) for chosen in itertools.product(*choices)]


def documented_columns() -> dict[str, list[str]]:
    """Columns of every table, by the stem of its file, as docs/results.md names them."""
    found: dict[str, list[str]] = {}
    _, *sections = re.split(r"^## ", (ROOT / "docs" / "results.md").read_text(), flags=re.M)
    for section in sections:
        heading, _, body = section.partition("\n")
        cells = re.findall(r"^\| (`[^|]*`) \|", body, re.M)
        names = [name for cell in cells for name in re.findall(r"`([^`]+)`", cell)]
        columns = [column for name in names for column in expanded(name)]
        found |= dict.fromkeys(re.findall(r"`([^`]+)`", heading), columns)
    return found


def header(path: Path) -> list[str]:
    with path.open(newline="") as file:
        return next(csv.reader(file))


def test_every_column_of_every_table_is_documented_and_no_other(tiny_sweep: Any) -> None:
    tables = {path.stem: header(path) for path in tiny_sweep.plan.folder.glob("*.csv")}
    assert "results" in tables
    assert {stem: sorted(names) for stem, names in documented_columns().items()} == {
        stem: sorted(names) for stem, names in tables.items()
    }


def test_the_site_builds_strictly_and_asks_no_other_server(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    requested = re.compile(
        r"""<(?:script|img|iframe|source)[^>]*\ssrc=["']?https?:[^>]*>|<link[^>]*https?:[^>]*>"""
    )
    pages = list(tmp_path.rglob("*.html"))
    assert len(pages) > 10
    for page in pages:
        assert requested.findall(page.read_text()) == []
        assert "mermaid" not in page.read_text()  # its class loads a script from elsewhere
    for sheet in tmp_path.rglob("*.css"):
        assert not re.search(r"url\(['\"]?https?:|@import ['\"]https?:", sheet.read_text())


def test_citations_of_the_method_name_a_section_that_exists() -> None:
    sections = set(re.findall(r"^## (\d)\. ", (ROOT / "docs" / "method.md").read_text(), re.M))
    cited = set()
    for path in (ROOT / "ptl_sweep").rglob("*.py"):
        text = path.read_text()
        assert not re.search(
            r"(?<!docs/)method\.md|architecture\.md(?<!docs/architecture\.md)", text
        )
        for first, last in re.findall(r"docs/method\.md, (?:sections? )?(\d)(?: to (\d))?", text):
            cited |= {first, last} - {""}
    assert cited
    assert cited <= sections


def test_the_citation_file_is_complete() -> None:
    content = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert {"cff-version", "message", "title", "authors", "version"} <= set(content)
    assert content["version"] == ptl_sweep.__version__
    papers = [one["url"][-10:] for one in content["references"]]
    assert papers == ["2211.01778", "2408.14559"]


def package_with(folder: Path, *files: tuple[str, str]) -> Path:
    """A copy of the package with files that docs/extending.md adds, and the language of each."""
    for name in ("ptl_sweep", "conf"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name, language in files:
        (folder / name).write_text(block_of(name, language))
    return folder


def run_package(package: Path, *words: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-m", "ptl_sweep", *words],
        cwd=package,
        env=os.environ | {"PYTHONPATH": str(package)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done


def test_the_reader_that_the_documentation_adds_reads_boxes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Any
) -> None:
    code = block_of("ptl_sweep/datasets/readers/boxes_csv.py")
    module = types.ModuleType("boxes_csv")
    exec(compile(code, "boxes_csv.py", "exec"), module.__dict__)
    monkeypatch.setitem(registry.READERS, "boxes_csv", module.__dict__["read_boxes_csv"])
    (tmp_path / "data" / "images").mkdir(parents=True)
    for name in ("a_1.png", "a_2.png"):
        Image.new("RGB", (100, 80)).save(tmp_path / "data" / "images" / name)
    (tmp_path / "data" / "test.csv").write_text(
        "a_1.png,10,10,20,40\na_1.png,50,10,60,40\na_2.png,0,0,300,30\n"
    )
    (cell,) = compose_grid(
        ["target=yolo", "target.name=mine", "target.reader=boxes_csv", "target.split=test",
         "synthetic=off", f"target.root={tmp_path / 'data'}", f"sweep.root={tmp_path / 'out'}"],
        as_sweep=False,
    )  # fmt: skip
    found = registry.read_split(cell.target, "test")
    assert [record.image_id for record in found.records] == ["a_1.png", "a_2.png"]
    assert len({record.scene for record in found.records}) == 1  # one run of frames
    assert found.records[0].boxes.tolist() == [[10, 10, 20, 40], [50, 10, 60, 40]]
    assert found.records[1].boxes.tolist() == [[0, 0, 100, 30]]  # clipped to the image


def test_the_metric_that_the_documentation_adds_fills_a_column(
    tiny_sweep: Any, copy_of: Any, tmp_path: Path
) -> None:
    (change,) = blocks(ROOT / "docs" / "extending.md", "diff")
    assert len(re.findall(r"^\+\+\+ ", change, re.M)) <= 2  # files
    package = package_with(tmp_path / "package")
    subprocess.run(["git", "apply", "-"], cwd=package, input=change, text=True, check=True)
    sweep = copy_of(tiny_sweep)
    run_package(package, "report", str(sweep.plan.folder))
    with (sweep.plan.folder / "results.csv").open(newline="") as file:
        shares = [float(row["share_confident"]) for row in csv.DictReader(file)]
    assert len(shares) == 4
    assert all(0 <= share <= 1 for share in shares)


def test_one_file_and_one_yaml_add_a_launcher(tiny_grid: list[str], tmp_path: Path) -> None:
    package = package_with(
        tmp_path / "package",
        ("ptl_sweep/launchers/script.py", "python"),
        ("conf/launcher/script.yaml", "yaml"),
    )
    words = [w for w in tiny_grid if not w.startswith(("synthetic=", "target=", "launcher="))]
    words += ["target=field", "synthetic=off", "launcher=script"]
    run_package(package, *words, f"sweep.root={tmp_path / 'outputs'}")
    (folder,) = (tmp_path / "outputs" / "sweeps").iterdir()
    with (folder / "results.csv").open(newline="") as file:
        assert [row["status"] for row in csv.DictReader(file)] == ["ok"]
    tasks = (folder / "tasks.sh").read_text().splitlines()
    assert [re.findall(r"(train|evaluate)-\S+", line)[0] for line in tasks] == ["train", "evaluate"]


def test_one_file_and_one_yaml_add_a_detector(tiny_grid: list[str], tmp_path: Path) -> None:
    package = package_with(
        tmp_path / "package",
        ("ptl_sweep/detection/architectures/retinanet_r18.py", "python"),
        ("conf/detector/retinanet_r18.yaml", "yaml"),
    )
    words = [w for w in tiny_grid if not w.startswith(("synthetic=", "target=", "real_count="))]
    words += ["real_count=2", "target=field", "synthetic=off", "detector=retinanet_r18"]
    run_package(package, *words, f"sweep.root={tmp_path / 'outputs'}")
    (folder,) = (tmp_path / "outputs" / "sweeps").iterdir()
    with (folder / "results.csv").open(newline="") as file:
        assert [row["status"] for row in csv.DictReader(file)] == ["ok"]
    (stage,) = (tmp_path / "outputs" / "store").glob("train-*")
    with np.load(stage / "training_features.npz") as features:
        assert features["features"].shape[1] == 64


@pytest.mark.parametrize(
    ("module", "setting", "choice"),
    [
        ("ptl_sweep/ptl/translators/blur.py", "conf/translator/blur.yaml", "translator=blur"),
        ("ptl_sweep/ptl/methods/in_order.py", "conf/synthetic/in_order.yaml", "synthetic=in_order"),
    ],
)
def test_one_file_and_one_yaml_add_a_translator_or_a_synthetic_method(
    module: str, setting: str, choice: str, tiny_grid: list[str], tmp_path: Path
) -> None:
    package = package_with(tmp_path / "package", (module, "python"), (setting, "yaml"))
    kept = [word for word in tiny_grid if not word.startswith(("synthetic=", "target="))]
    words = [*kept, "target=field", f"sweep.root={tmp_path / 'outputs'}", choice]
    if not choice.startswith("synthetic="):
        words.append("synthetic=on")
    run_package(package, *words)
    (stage,) = (tmp_path / "outputs" / "store").glob("ptl-*")
    selection = json.loads((stage / "selection.json").read_text())
    pictures = sorted((stage / "selected").glob("????.png"))
    assert len(selection["selected"]) == len(pictures) == 4
    if choice == "synthetic=in_order":
        assert selection["selected"] == [image["image_id"] for image in selection["pool"][:4]]
    else:
        spec = json.loads((stage / "meta.json").read_text())["spec"]["translator"]
        assert (spec["method"], spec["side"]) == ("blur", 5)
        assert any(
            path.read_bytes() != path.with_name(f"{path.stem}-virtual.png").read_bytes()
            for path in pictures
        )
