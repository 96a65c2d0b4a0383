# Comfort only: everything also works in an environment of your own after
#   pip install -e '.[dev]' -c constraints.txt
PYTHON ?= python3
JOBS ?= 1
PORT ?= 5000
BASE ?= origin/main
VENV := .venv
RUN := $(VENV)/bin/python
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)
export DVC_NO_ANALYTICS := 1

.PHONY: help setup repro tune test verify check ui deps folds gate ci-report pull push release clean

help:            ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:[^#]*##/\t/'

setup: $(VENV)/.installed  ## make .venv with the pinned dependencies

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit("textmill needs Python 3.11 or newer; set PYTHON=python3.11") if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --quiet --disable-pip-version-check -e '.[dev]' -c constraints.txt
	touch $@

repro: setup     ## raw text to report: dvc repro (JOBS=2 trains two folds side by side)
	$(RUN) -m scripts.repro $(JOBS)

tune: setup      ## search for better params as tune.yaml says (STORAGE=postgresql://... for many machines)
	@TUNE_STORAGE="$${STORAGE:-$$TUNE_STORAGE}" $(RUN) -m scripts.tune

test: setup      ## all tests but the slow ones
	$(RUN) -m pytest -q -n auto --dist loadfile -m "not slow"

verify: setup    ## the slow tests; two clones that must be identical; a third, killed at random, that must be too (FULL=1: default corpus)
	$(RUN) -m pytest -q -m slow
	$(RUN) -m scripts.verify $(if $(FULL),--full)

check: setup     ## lint, formatting, types, declared dependencies
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m mypy
	$(RUN) -m scripts.stage_deps

ui: setup        ## MLflow UI on this machine (PORT=5000)
	$(RUN) -m scripts.ui $(PORT)

deps: setup      ## write code and package dependencies of all stages into dvc.yaml
	$(RUN) -m scripts.stage_deps --write

folds: setup     ## write the lists of folds into dvc.yaml, after split.folds in params.yaml has changed
	$(RUN) -m scripts.fold_lists

gate: setup      ## is what was committed reproduced and pushed?
	$(RUN) -m scripts.gate

ci-report: setup ## metrics and params against BASE, as Markdown
	$(RUN) -m scripts.ci_report $(BASE)

pull: setup      ## reproduce what changed, with the rest from the remote
	$(RUN) -m dvc repro --pull --allow-missing

push: setup      ## data, models and run cache to the DVC remote
	$(RUN) -m dvc push --run-cache

release: push    ## on a tag: push, fetch what track reads, and register the model version in MLflow
	$(RUN) -m dvc pull
	$(RUN) -m dvc repro -f -s track

clean:           ## remove checkpoints and caches; data, models and .venv stay
	rm -rf .checkpoints .pytest_cache .mypy_cache .ruff_cache .hypothesis
