"""What a command costs before it computes: seconds of CPU, in processes of their own."""

import json
import resource
import subprocess
import sys
from functools import partial

from case import Case, Setting, Timed

# Cells are named by a hash of all their values, so that both programs must compose the same ones.
OURS = """
import json, sys, time
from hashlib import sha256
from ptl_sweep.compose.compose import compose_grid
from ptl_sweep.pipeline.plan import plan_sweep
begun = time.process_time()
cells = compose_grid(sys.argv[2:])
plan_sweep(cells, "bench")
seconds = time.process_time() - begun
names = sorted(sha256(repr(cell).encode()).hexdigest() for cell in cells)
print(json.dumps({"seconds": seconds, "cells": names}))
"""
# What `hydra -m` does for every job of the grid, without its launcher and its folders.
HYDRA = """
import itertools, json, sys, time
from hashlib import sha256
from hydra import compose, initialize_config_dir
from ptl_sweep.config.schema import conf_dir, register_schemas, typed
begun = time.process_time()
register_schemas()
swept = [word.split("=") for word in sys.argv[3:]]
choices = [[f"{key}={value}" for value in values.split(",")] for key, values in swept]
with initialize_config_dir(str(conf_dir()), version_base="1.3"):
    composed = [
        compose("config", overrides=[sys.argv[2], *words]) for words in itertools.product(*choices)
    ]
seconds = time.process_time() - begun
names = sorted(sha256(repr(typed(one)).encode()).hexdigest() for one in composed)
print(json.dumps({"seconds": seconds, "cells": names}))
"""
BARE_APP = """
import hydra
@hydra.main(version_base="1.3", config_path=None)
def app(config):
    pass
app()
"""
GRID = ("real_count=20,50,100,200", "synthetic=off,on", "target=okutama,icg,heridal,sard")


def plan(setting: Setting) -> Case:
    """96 cells of the paper grid; nothing is on disk."""
    words = setting.choose(
        small=("real_count=20", "synthetic=off", "target=icg", "seed=0"),
        cpu=(*GRID, "seed=0,1,2"),
    )
    return _planning("experiment=paper_small", words, turns=3)


def plan_192(setting: Setting) -> Case:
    """The whole paper grid, once."""
    words = setting.choose(
        small=("real_count=20", "synthetic=off", "target=icg", "seed=0"),
        cpu=(*GRID, "seed=0,1,2,3,4,5"),
    )
    return _planning("experiment=paper", words, turns=1)


def _planning(experiment: str, words: tuple[str, ...], turns: int) -> Case:
    num_cells = 1
    for word in words:
        num_cells *= word.count(",") + 1
    return Case(
        what=f"plan of {num_cells} cells, CPU beyond imports; Hydra only composes them",
        ours=partial(_answer, OURS, experiment, *words),
        peers={"Hydra": partial(_answer, HYDRA, experiment, *words)},
        agree=_same_cells,
        turns=turns,
        warm_up=False,
        needs=("hydra-core",),
    )


def _answer(program: str, *words: str) -> Timed:
    command = [sys.executable, "-c", program, "--", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    return Timed(found["cells"], found["seconds"])


def _same_cells(ours: list[str], theirs: list[str]) -> None:
    assert ours == theirs, f"{len(set(ours) ^ set(theirs))} cells are composed by one alone"


def start(setting: Setting) -> Case:
    """All of the process counts, imports included."""
    ours = partial(_seconds_of_help, "-m", "ptl_sweep", "--help")
    stock = partial(_seconds_of_help, "-c", BARE_APP, "--help")
    return Case(
        what="--help, CPU of the process",
        ours=ours,
        peers={"bare Hydra app": stock},
        agree=_both_help,
        turns=setting.choose(small=1, cpu=7),
        needs=("hydra-core",),
    )


def _seconds_of_help(*words: str) -> Timed:
    before = _child_seconds()
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True, check=True)
    return Timed(done.stdout, _child_seconds() - before)


def _child_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _both_help(ours: str, theirs: str) -> None:
    for text in (ours, theirs):
        assert "--cfg" in text or "override anything" in text.lower(), f"no help: {text[:200]!r}"
