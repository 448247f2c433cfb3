# RankOne's commands. `make` alone lists them. All a fresh clone needs is make and Python 3.11 or newer:
# every target makes the virtual environment first, or brings it up to date.

# The interpreter that makes the virtual environment, and where that lies.
PYTHON ?= python3
VENV ?= .venv

# Pinned in constraints.txt too; named here because it is installed first, on its own. Which build of it comes
# (CPU, CUDA) is pip's business: point pip at another index with its own settings, as PIP_EXTRA_INDEX_URL.
TORCH := torch==2.13.0

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt

# Stamps: a target is up to date while its stamp is newer than pyproject.toml and constraints.txt.
RUNTIME := $(VENV)/.rankone-runtime
DEV := $(VENV)/.rankone-dev

# Extras whose tests are run.
EXTRAS := hub,label,peft,gguf,eval,studio,wandb,tensorboard,sae

# What checks the page's JavaScript: the compiler, and the types of what is vendored (tests/studio/test_vendor.py).
TYPESCRIPT := typescript@7.0.2 lit-html@3.3.3 @preact/signals-core@1.14.5

# Folders with Python in them that this checkout has.
CODE := $(wildcard src tests perf)

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup demo test check api types shapes lowest slow corpora mutants clean docs

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

setup: $(DEV) ## make $(VENV) with RankOne and everything its tests need

# The environment itself; only when it is missing.
$(BIN)/python:
	@echo "== making the virtual environment $(VENV) with $(PYTHON)"
	@$(PYTHON) -c 'import sys; v = sys.version.split()[0]; sys.exit(sys.version_info < (3, 11) and f"Python {v} is too old: RankOne needs 3.11 or newer. Run: make PYTHON=python3.11 ...")'
	$(PYTHON) -m venv $(VENV)

# What it takes to run RankOne: torch first, then the package (editable) with its other dependencies.
$(RUNTIME): pyproject.toml constraints.txt | $(BIN)/python
	@echo "== installing $(TORCH)"
	$(PIP) '$(TORCH)'
	@echo "== installing RankOne and its dependencies, pinned by constraints.txt"
	$(PIP) -e .
	@touch $@

# What it takes to work on RankOne, on top.
$(DEV): $(RUNTIME)
	@echo "== installing the tools for checks and tests"
	$(PIP) pip
	$(PIP) -e '.[$(EXTRAS)]' --group dev
	@touch $@

demo: $(RUNTIME) ## the built-in model loses its German by one number
	$(BIN)/rankone demo --replace

# Exactly what CI runs (.ci/run calls it). A worker per core, a file's tests together; plain `pytest` runs them one by one.
test: check ## lint, format check, types, then the default tests
	$(BIN)/python -m pytest -n logical --maxprocesses 4 --dist loadfile

# Nothing here changes a file.
check: $(DEV) ## lint, format check and types alone
	$(BIN)/ruff check $(CODE)
	$(BIN)/ruff format --check $(CODE)
	$(BIN)/basedpyright --pythonpath $(BIN)/python

api: $(DEV) ## renew what is made from tables: docs/api.md, the session's methods, the page's types
	$(BIN)/python -m rankone.verbs.writing.reference > $(VENV)/api.md && mv $(VENV)/api.md docs/api.md
	$(BIN)/python -m rankone.verbs.writing.methods > $(VENV)/methods.py && mv $(VENV)/methods.py src/rankone/session/methods.py
	$(BIN)/python -m rankone.studio.types.declarations > $(VENV)/api.d.ts && mv $(VENV)/api.d.ts src/rankone/studio/types/api.d.ts

# Where it is missing the tests that need it are skipped. Where npm gets it from is npm's business.
types: | $(BIN)/python ## TypeScript, which checks the studio's page (needs node and npm)
	npm install --prefix $(VENV)/types --no-save --no-package-lock --no-audit --no-fund --ignore-scripts $(TYPESCRIPT)

# Where shapes are most of what can go wrong. The tests left out give wrong shapes on purpose.
shapes: $(DEV) ## run the shapes of jaxtyping's annotations
	$(BIN)/python -m pytest -p tests.shapes --jaxtyping-packages=rankone,tests.shapes.checked tests/metrics \
		tests/decomposition/masking tests/text/test_blocks.py tests/parts/test_parts.py \
		--deselect tests/parts/test_parts.py::test_factors_that_do_not_fit_are_refused \
		--deselect tests/metrics/test_kl.py::test_texts_of_different_lengths_are_not_compared_as_far_as_they_go

lowest: ## part of the tests with the lowest versions that pyproject.toml allows
	PYTHON=$(PYTHON) .ci/lowest

slow: $(DEV) ## the tests that take minutes
	$(BIN)/python -m pytest -m slow

docs: $(DEV) ## the documentation as a site in build/site; a broken link fails
	$(BIN)/python -m mkdocs build --strict

corpora: $(DEV) ## the tests on real text: make corpora RANKONE_CORPORA=DIR
	@test -d "$(RANKONE_CORPORA)" || { echo "RANKONE_CORPORA='$(RANKONE_CORPORA)' is no directory. Run: make corpora RANKONE_CORPORA=DIR (see docs/text.md)"; exit 2; }
	RANKONE_CORPORA="$(RANKONE_CORPORA)" $(BIN)/python -m pytest -m corpora

# ROOM: rooms, sub-rooms or files below src/rankone. Hours for a room, minutes with OPTIONS="--sample 40 --near".
mutants: $(DEV) ## small faults in a room's code that its tests must find: make mutants ROOM=metrics
	@test -n "$(ROOM)" || { echo "name a room: make mutants ROOM=metrics [OPTIONS='--sample 40 --near']"; exit 2; }
	$(BIN)/python -m perf.mutants $(ROOM) $(OPTIONS)

# Only what can be made again in seconds. The environment, runs/ and report/ stay.
clean: ## remove caches and build products
	rm -rf build dist .pytest_cache .ruff_cache .hypothesis
	find $(CODE) -name __pycache__ -type d -prune -exec rm -rf {} +
