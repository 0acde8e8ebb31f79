# Everything that CI runs. `make -n TARGET` shows the commands without running them.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PY := $(BIN)/python
STAMP := $(VENV)/.setup-stamp
UV := $(shell command -v uv 2>/dev/null)

# One thread per test process: pytest-xdist fills the cores.
export OMP_NUM_THREADS ?= 1

.DEFAULT_GOAL := help
.PHONY: help setup demo demo-seeds demo-controls paper first-experiments table-crossdomain
.PHONY: table-baselines table-tau table-n table-translators table-detectors table-variance
.PHONY: figure-t2t figure-apt2t figure-curve figure-dose open-questions
.PHONY: faults test test-slow test-kernels test-wandb test-slurm
.PHONY: check docs bench bench-gpu build clean lock

# What the targets from `paper` to `open-questions` are about, and where it runs:
#   make table-crossdomain WORLD=miniature
#   make paper LAUNCHER=slurm ARGS="data_root=/path/to/data launcher.partition=gpu"
WORLD ?= real
LAUNCHER ?= local
ARGS ?=
# Of the trials of `make faults`; CI runs a part with the same seeds.
SHARE ?= 1
ifeq ($(WORLD),real)
STUDY := paper
FIRST := experiment=first
QUESTIONS := experiment=paper
VARIANCE := experiment=paper real_count=20 train.subset_seed=0,1,2,3 seed=0,1,2,3
DOSE := experiment=paper synthetic=on arm=off,on synthetic.num_iterations=1 \
  synthetic.images_per_iteration=25,50,100,200,500 train.real_fraction=null,0.5 \
  target=okutama,icg,heridal,sard,source
BASELINES := experiment=paper synthetic=on \
  arm=off,off_augmented,naive_merge,naive_transform,pretrain_finetune,random,greedy,on
ARMS := experiment=paper synthetic=on
N := 25,50,100,200
TRANSLATORS := identity,color_stats,cyclegan,fastcut
DETECTORS := retinanet_r50,fcos_r50
else ifeq ($(WORLD),miniature)
STUDY := demo
FIRST := experiment=demo synthetic.num_iterations=1 target=field seed=0,1,2
BASELINES := experiment=baselines
VARIANCE := experiment=variance
DOSE := experiment=dose
QUESTIONS := experiment=questions
ARMS := experiment=demo_controls
N := 10,20,40,80
TRANSLATORS := identity,color_stats,cyclegan_tiny,fastcut_tiny
DETECTORS := retinanet_tiny,fcos_tiny
else
$(error WORLD is real or miniature, not $(WORLD))
endif
# Commands about a sweep need to know only where it lies.
ROOT = $(filter sweep.root=%,$(ARGS))

# $(call sweep,OVERRIDES,NAME): run what is missing of a sweep, and follow it to its end. The name
# comes last: whatever ARGS say, it is the sweep that the next lines are about.
define sweep
$(PY) -m ptl_sweep -m $(1) launcher=$(LAUNCHER) $(ARGS) sweep.name=$(2)
$(PY) -m ptl_sweep wait $(2) $(ROOT)
endef

# What the tables of arms vary: commas, so they cannot stand in a call.
TAU := arm=off,on,random,greedy synthetic.temperature=1,5,25
NUMBERS := arm=off,on synthetic.images_per_iteration=$(N)
TRANSLATED := arm=off,on translator=$(TRANSLATORS)
DETECTED := arm=off,on detector=$(DETECTORS)

# $(call effects,OVERRIDES,NAME): the same, and what each arm changes, and each against the others.
define effects
$(call sweep,$(1),$(2))
$(PY) -m ptl_sweep table effects $(2) $(ROOT)
$(PY) -m ptl_sweep table contrasts $(2) $(ROOT)
endef

help:  ## Show the targets
	@grep -hE '^[a-z0-9-]+:.*##' Makefile | sed -E 's/^([a-z0-9-]+):.*## /  make \1\t/' | expand -t 26

setup: $(STAMP)  ## Make .venv from requirements.lock (uv when on PATH, else venv + pip)

$(STAMP): pyproject.toml requirements.lock
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("ptl-sweep needs Python 3.11 or newer, $(PYTHON) is " + sys.version.split()[0] + "; choose another: make setup PYTHON=python3.12")'
	@echo "Installing into $(VENV): about 3 GB download, 6 to 7 GB disk, a few minutes."
ifneq ($(UV),)
	uv venv --allow-existing --python $(PYTHON) $(VENV)
	uv pip sync --python $(PY) --require-hashes requirements.lock
	uv pip install --python $(PY) --no-deps --no-build-isolation --editable .
else
	$(PYTHON) -m venv $(VENV)
	$(PY) -m pip install --require-hashes --requirement requirements.lock
	$(PY) -m pip install --no-deps --no-build-isolation --editable .
endif
	touch $@

demo: setup  ## The whole sweep on the miniature world, one seed; ends with the path of report.html
	$(PY) -m ptl_sweep -m experiment=demo

demo-seeds: setup  ## The same with six seeds, the fewest that a test over seeds needs
	$(PY) -m ptl_sweep -m experiment=demo seed=0,1,2,3,4,5

demo-controls: setup  ## What the demo's gain hangs on: eight arms, six seeds and worlds
	$(PY) -m ptl_sweep -m experiment=demo_controls

paper: setup  ## The full grid and its report (WORLD=miniature: the demo; LAUNCHER=slurm; ARGS=...)
	$(call sweep,experiment=$(STUDY),$(STUDY))

first-experiments: setup  ## One PTL iteration: AP, train2test distances and AP_t2t, off against on
	$(call sweep,$(FIRST),first)
	$(PY) -m ptl_sweep table first first $(ROOT)

table-crossdomain: setup  ## AP50 and AP per target and real count, as PTL Table 4 (.md .csv .tex)
	$(call sweep,experiment=$(STUDY),$(STUDY))
	$(PY) -m ptl_sweep table crossdomain $(STUDY) $(ROOT)

table-baselines: setup  ## PTL's Table 1: other ways to use virtual images, stronger real-only training
	$(call effects,$(BASELINES),baselines)

table-tau: setup  ## PTL's temperature, between the nearest images and images at random
	$(call effects,$(ARMS) $(TAU),tau)

table-n: setup  ## Virtual images added in each PTL iteration
	$(call effects,$(ARMS) $(NUMBERS),n)

table-translators: setup  ## Translators, and none
	$(call effects,$(ARMS) $(TRANSLATED),translators)

table-detectors: setup  ## What holds for a RetinaNet and for FCOS, which has no anchors
	$(call effects,$(ARMS) $(DETECTED),detectors)

table-variance: setup  ## Where the spread over seeds is from: real images drawn, training, test pictures
	$(call sweep,$(VARIANCE),variance)
	$(PY) -m ptl_sweep table variance variance $(ROOT)

figure-t2t: setup  ## Train2test distances of true and false positives
	$(call sweep,experiment=$(STUDY),$(STUDY))
	$(PY) -m ptl_sweep figure t2t $(STUDY) $(ROOT)

figure-apt2t: setup  ## AP_t2t at the three score thresholds against real images
	$(call sweep,experiment=$(STUDY),$(STUDY))
	$(PY) -m ptl_sweep figure apt2t $(STUDY) $(ROOT)

figure-curve: setup  ## AP50 against PTL iteration
	$(call sweep,experiment=$(STUDY),$(STUDY))
	$(PY) -m ptl_sweep figure curve $(STUDY) $(ROOT)

figure-dose: setup  ## AP50 by the number of virtual images, and the fewest that are enough
	$(call sweep,$(DOSE),dose)
	$(PY) -m ptl_sweep table dose dose $(ROOT)
	$(PY) -m ptl_sweep figure dose dose $(ROOT)

open-questions: figure-dose  ## Which distance predicts AP, which errors change, a new target: what papers leave open
	$(call sweep,$(QUESTIONS),questions)
	$(PY) -m ptl_sweep table predictors questions $(ROOT)
	$(PY) -m ptl_sweep table errors questions $(ROOT)
	$(PY) -m ptl_sweep table forecast questions $(ROOT)
	$(PY) -m ptl_sweep figure clusters questions $(ROOT)

test: setup  ## The fast tests; those of the report in a browser skip without chromium
	$(PY) -m pytest -n 2 -m "not slow and not slurm and not wandb and not faults"

test-slow: setup  ## The tests that train something
	$(PY) -m pytest -n 2 -m "slow and not slurm and not wandb and not faults"

test-kernels: setup  ## The fast tests of the networks again, on the kernels of a small processor
	ATEN_CPU_CAPABILITY=default ONEDNN_MAX_CPU_ISA=AVX2 \
	  $(PY) -m pytest -n 2 -m "not slow and not slurm and not wandb and not faults" tests/detection tests/ptl

test-wandb: setup  ## The tests that talk to a fake W&B backend on loopback
	$(PY) -m pytest -n 2 -m wandb

test-slurm: setup  ## The tests on a private one-node SLURM (needs slurm-wlm munge slurmdbd mariadb-server)
	$(PY) -m pytest -m slurm

faults: setup  ## Kills, signals, refused calls, hostile input; a table of what survived (SHARE=0.1: a tenth)
	PTL_FAULTS_SHARE=$(SHARE) $(PY) -m pytest -n 2 -q -m faults tests/faults

check: setup  ## Format, lint, types, layers
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: setup  ## Build docs/ into site/, strictly
	NO_MKDOCS_2_WARNING=1 $(PY) -m mkdocs build --strict

bench: setup  ## Ours beside what a user would otherwise run: one table, half an hour
	$(PY) tests/bench/bench.py

# No setup: a machine with a card has its own torch, and the rest are small wheels.
bench-gpu:  ## The same on CUDA, with MFU, by PYTHON as it is (docs/benchmarks.md: what it needs)
	PYTHONPATH=. $(PYTHON) tests/bench/bench.py --gpu

build: setup  ## The wheel, in dist/
	$(PY) -m hatchling build -t wheel

lock: pyproject.toml  ## Resolve requirements.lock anew from pyproject.toml (needs uv)
	@command -v uv >/dev/null || { echo "make lock needs uv: pip install uv"; exit 1; }
	echo "hatchling>=1.27" | uv pip compile pyproject.toml - --extra dev --universal \
	  --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --upgrade --quiet \
	  --custom-compile-command "make lock" --output-file requirements.lock

clean:  ## Remove what the tools cache; never outputs/
	rm -rf site .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	find ptl_sweep tests -name __pycache__ -type d -prune -exec rm -rf {} +
