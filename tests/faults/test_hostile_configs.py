"""Every key of the config times hostile values: accepted twice, or refused by the key's name."""

import math
import re
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.fault_trials import Tally
from helpers.hostile import complaint
from helpers.sweeps import command_line

from ptl_sweep.compose.grid import all_keys

pytestmark = [pytest.mark.faults, pytest.mark.timeout(3600)]

TRIALS, PARTS = 320, 2
PROCESSES = 8  # of them as a process of its own
LIMIT_S = 5.0  # of the processor, for one command
SECRET = "0123456789abcdef0123"
ANSWERS = (0, 2)

VALUES = [
    # numbers
    "nan", "inf", "-inf", "-1", "0", "-0.0", "2.5", "1e308", "-1e308", "1e999", "9007199254740993",
    "1" + "0" * 400, "1" + "0" * 5000, "-1" + "0" * 5000, "1." + "0" * 5000, "0x10", "1_000", "07",
    "1" + "0" * 5000 + ".5", "[1" + "0" * 5000 + "]", "{a: 1" + "0" * 5000 + "}", "1e-999",
    # lists and mappings of wrong shapes
    "[]", "[[]]", "[[[1]]]", "[1,[2]]", "[0]", "[-1,nan]", "[1,2,3,4,5]", "[null]", "[a,1,true]",
    "{}", "{a: 1}", "{a: {b: {c: 1}}}", "{a: [1, {b: 2}]}", "{1: 2}", "{null: null}",
    "[" * 60 + "]" * 60, "[" * 2000 + "]" * 2000, "{a: " * 60 + "1" + "}" * 60, "[" * 2000,
    # texts
    "", " ", "null", "???", "true", "x", "'a\nb'", "'a\x00b'", "'\x1b[31m'", "%d%s%n%", '"\'"',
    "'", '"', "\\", "a" * 100_000, "'" + "é☃ " * 3000 + "'", "\udce9", "\u202e", "../../x",
    "/dev/null", "a:b", "a=b", "a@b", "&a [1]", "*a", "!!python/object:os.system x", "<<: *a", "#",
    "- a", "|",
    # interpolations
    "${oc.env:HOME}", "${oc.env:NO_SUCH_VARIABLE}", "${oc.env:}", "${seed}", "${no.such.key}", "${",
    "${dataset}", "${no_such_resolver:1}", "${oc.decode:'[1'}", "$HOME", "a${seed}b", "${..seed}",
    "${oc.select:seed,${seed}}", "${hydra:runtime.cwd}", "${sweep.name}", "${oc.dict.keys:train}",
    # sweeps
    "a,b", "1,nan", ",", "a,", "range(0,3)", "range(3,0)", "range(0,1,0)", "range(0,1000000000)",
    "choice()", "choice(a)", "choice(1,x)", "glob(*)", "glob(", "interval(0,1)", "shuffle(1,2)",
    "sort(2,1)", "tag(a,1)", "int(x)", "float(nan)", "str(1)", "json_str({})", "extend_list(1)",
    # secrets
    f"WANDB_API_KEY={SECRET}", f"'export WANDB_API_KEY={SECRET}'", f"[AWS_SECRET={SECRET}]",
]  # fmt: skip
FIXED = ("real_count=3", "synthetic=on", "target=field", "tracking=off", "launcher=inline")


def near_misses(key: str) -> list[str]:
    """The key as a hasty or malicious hand writes it."""
    middle = len(key) // 2
    return [
        f"+{key}", f"++{key}", f"~{key}", key[:-1], key[:middle] + key[middle + 1 :], key.upper(),
        f"{key}.x", f"{key}.", f".{key}", f"{key}..x", key.replace(".", "/"), f"{key}@x", f"{key} ",
        f"-{key}", f"--{key}", f"{key}[0]", f"hydra.{key}", f"é{key}", f"{key}\x00", f"{key}%s",
    ]  # fmt: skip


def hostile_lines(count: int) -> list[tuple[str, str]]:
    """Keys, a tenth of them misspelt, with values; every value comes, and nearly every key."""
    rng = np.random.default_rng(0)
    keys, lines = all_keys(), []
    for number in range(count):
        key = keys[rng.permutation(len(keys))[0]]
        value = VALUES[number % len(VALUES)]
        word = rng.choice(near_misses(key)) if rng.random() < 0.1 else key
        lines.append((str(word), value))
    rng.shuffle(lines)
    return [(str(key), str(value)) for key, value in lines]


@pytest.mark.parametrize("part", range(PARTS))
def test_a_hostile_value_is_accepted_or_refused_by_the_name_of_its_key(
    part: int, run: Any, tmp_path: Path, tally: Tally, share: float
) -> None:
    tally.fault = f"a hostile value of a key, part {part + 1} of {PARTS}"
    own = hostile_lines(TRIALS)[part::PARTS]
    for key, value in own[: math.ceil(share * len(own))]:
        arguments = ["plan", *FIXED, f"sweep.root={tmp_path}", f"{key}={value}"]
        tally.tries += 1
        outcome, wrong = complaint(run, arguments, codes=ANSWERS, limit_s=LIMIT_S)
        if not wrong and outcome.code == 0:
            tally.note("accepted")
            again, wrong = complaint(run, arguments, codes=(0,), limit_s=LIMIT_S)
            wrong = wrong or ("other words the second time" * (again.output != outcome.output))
        elif not wrong:
            tally.note("refused")
            wrong = unfit(outcome.errors, key)
        if wrong:
            tally.lost.append(f"{key[:60]!r}={value[:60]!r} ({len(value)}): {wrong}")
    assert list(tmp_path.iterdir()) == []  # a plan leaves nothing
    assert tally.lost == []


def unfit(message: str, key: str) -> str:
    """What is wrong with a refusal: it is short, names the key and repeats no secret."""
    if SECRET in message:
        return "repeats a secret"
    words = re.findall(r"[a-z]{3,}", key.lower())
    if not any(word in message.lower() for word in words):
        return f"does not name the key: {message[:200]!r}"
    return f"answers with {len(message)} letters" if len(message) > 3000 else ""


def test_a_process_answers_as_the_function_does(tmp_path: Path, tally: Tally, share: float) -> None:
    tally.fault = "a hostile value, in a process of its own"
    fit = [(k, v) for k, v in hostile_lines(TRIALS) if "\x00" not in k + v and "seed" not in k]
    for key, value in fit[: math.ceil(share * PROCESSES)]:
        words = ["plan", *FIXED, f"sweep.root={tmp_path}", f"{key}={value}"]
        done = subprocess.run(
            command_line(words), capture_output=True, cwd=tmp_path, check=False, timeout=240
        )
        tally.tries += 1
        text = (done.stdout + done.stderr).decode()
        if done.returncode not in ANSWERS or "Traceback" in text or SECRET in text:
            tally.lost.append(f"{key}={value[:60]!r}: exit {done.returncode}, {text[-300:]}")
    assert tally.lost == []
