# wsss_bench. `make help` lists the targets.
SHELL := /bin/bash
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
EXPERIMENT ?= experiments/mini.yaml
RUNS ?= runs
# versions that the tests ran with; empty takes the newest that setup.cfg admits
CONSTRAINTS ?= constraints/tested.txt
WORKERS ?= 2
ARGS ?=
PIP_INSTALL = $(BIN)/pip install --progress-bar off $(if $(CONSTRAINTS),--constraint $(CONSTRAINTS))
CRF = 'pydensecrf2>=1.1'
PYTEST = $(BIN)/python -m pytest --numprocesses $(WORKERS) --dist loadfile --no-loadscope-reorder
export NO_ALBUMENTATIONS_UPDATE = 1
export WSSS_DATA ?= data

.DEFAULT_GOAL := help
.PHONY: help install crf bench plan table report new-method check fast test lint docs docs-figures data prepare data-check perf clean

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 14

install: $(VENV)/.installed  ## create .venv and install the package with all it needs

# made again when the dependencies change; a half-finished installation leaves no stamp
$(VENV)/.installed: setup.cfg pyproject.toml $(CONSTRAINTS)
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(not (3, 10) <= v[:2] <= (3, 13) and f"wsss_bench needs Python 3.10 to 3.13, found {v.major}.{v.minor}; set PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade pip
	$(PIP_INSTALL) -e '.[dev]'
	@$(PIP_INSTALL) $(CRF) > $(VENV)/crf.log 2>&1 \
		|| echo "The CRF extension could not be built (log: $(VENV)/crf.log). Everything else works; CRF read-outs stay empty until 'make crf' succeeds. It needs a C++ compiler and Python 3.12 or older."
	@touch $@

crf: $(VENV)/.installed  ## build the CRF extension (needs a C++ compiler and Python 3.10 to 3.12)
	$(PIP_INSTALL) $(CRF)

bench: install  ## run a benchmark matrix: make bench [EXPERIMENT=voc] [ARGS='--methods cam,foo']
	@$(BIN)/wsss-bench bench $(EXPERIMENT) --runs $(RUNS) $(ARGS)

plan: install  ## show what `make bench` would run, and how long it may take
	@$(BIN)/wsss-bench bench $(EXPERIMENT) --runs $(RUNS) --dry-run $(ARGS)

table: install  ## print the table of what is done
	@$(BIN)/wsss-bench table $(EXPERIMENT) --runs $(RUNS) $(ARGS)

report: install  ## write the page of what is done, runs/<experiment>/report/index.html
	@$(BIN)/wsss-bench report $(EXPERIMENT) --runs $(RUNS) $(ARGS)

new-method: install  ## write the files of a new method: make new-method NAME=foo [LIKE=cam]
	@$(BIN)/wsss-bench new-method '$(NAME)' $(if $(LIKE),--like '$(LIKE)')

data: install  ## make the mini world
	@$(BIN)/wsss-bench data mini --root $(WSSS_DATA)/mini

prepare: install  ## a data set from its official archives: make prepare DATA=voc ARCHIVES=DIR [ARGS=--download]
	@$(BIN)/wsss-bench data $(DATA) --archives '$(ARCHIVES)' --root $(WSSS_DATA) $(ARGS)

data-check: install  ## check a data set: make data-check DATA=voc
	@$(BIN)/wsss-bench data check --config $(or $(DATA),mini)

check: install  ## linter, types and the fast tests: a minute or two, before every commit
	@$(MAKE) --no-print-directory --jobs 2 --output-sync lint fast

fast: install  ## the tests that take less than a second each
	$(PYTEST) -m 'not slow' $(ARGS)

test: install  ## all tests (no network, no GPU)
	$(PYTEST) $(ARGS)

lint: install  ## linter and type checker
	$(BIN)/ruff check src tests benchmarks notebooks docs
	$(BIN)/ruff format --check src tests benchmarks notebooks docs
	$(BIN)/mypy

docs-figures: install  ## tables, figures and pictures of the docs, from complete runs of the experiments that they show
	PYTHONPATH=docs $(BIN)/python -m figures --runs $(RUNS)

docs: install  ## build the docs as a site in site/ (no network)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet

perf: install  ## measure again what docs/performance.md shows, as ratios against plain references
	@set -e; for script in benchmarks/perf_*.py; do echo "== $$script"; $(BIN)/python $$script; done

clean:  ## remove runs and the environment; data stays
	rm -rf $(RUNS) $(VENV)
