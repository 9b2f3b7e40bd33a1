# `make demo` and `make test` need Python 3.11 or newer and nothing else: they make .venv and install into it what
# constraints.txt names. A second run finds the stamp and starts at once.

PYTHON ?= python3
SECONDS ?= 600
VENV := .venv
BIN := $(VENV)/bin
DEMO := $(VENV)/.installed-demo
DEV := $(VENV)/.installed-dev
# Most tests wait for servers and not for a processor; those on Apache Kafka share one worker, so do those on TimescaleDB.
SIDE_BY_SIDE := --numprocesses 4 --dist loadgroup

.DEFAULT_GOAL := help
.PHONY: help demo test test-all test-timescale compile check bench chaos constraints clean

help:  ## Say what there is
	@sed -n 's/^\([a-z-]*\):.*## /\1	/p' $(MAKEFILE_LIST) | while IFS='	' read -r name words; do \
		printf 'make %-14s %s\n' "$$name" "$$words"; done

demo: $(DEMO)  ## Start a broker and a database, send readings through, show what became of them
	@$(BIN)/readings demo

test: $(DEV)  ## Run every everyday test, a few minutes
	@$(BIN)/python -m pytest -m 'not (thorough or timescale or apache_kafka)' $(SIDE_BY_SIDE)

test-all: $(DEV)  ## Run every test there is, as CI does: Apache Kafka throughout, 500 histories, a short chaos
	@HISTORIES=500 $(BIN)/python -m pytest $(SIDE_BY_SIDE)

test-timescale: $(DEV)  ## Run the tests on TimescaleDB itself; needs Node
	@$(BIN)/python -m pytest -m timescale

compile: $(DEV)  ## Compile what every reading passes through, in place, as the image does; needs a C compiler
	@find enrich ingest schemas sinks -name '*.so' -delete  # also those of modules that are compiled no more
	@COMPILE_READINGS=1 $(BIN)/python setup.py --quiet build_ext --force --inplace
	@$(BIN)/readings --version

check: $(DEV)  ## Lint, format, types, and which package may import which
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy --strict
	$(BIN)/lint-imports

bench: $(DEV)  ## Measure what the pipeline costs, beside the least that it could; some twenty minutes
	@$(BIN)/python -m tests.bench

chaos: $(DEV)  ## Kill, stop and restart everything for SECONDS (600), then check every row; SEED=… repeats the dice
	@$(BIN)/python -m tests.chaos --seconds $(SECONDS) $(if $(SEED),--seed $(SEED))

constraints:  ## Write constraints.txt anew: the newest versions that pyproject.toml allows
	@fresh=$$(mktemp -d) && trap 'rm -rf "$$fresh"' EXIT && \
	$(PYTHON) -m venv "$$fresh" && \
	"$$fresh/bin/python" -m pip install --quiet --disable-pip-version-check --editable '.[dev]' && \
	"$$fresh/bin/python" -m pip freeze --all --exclude-editable --exclude pip > "$$fresh/frozen.txt" && \
	sed '/^#/!d' constraints.txt > "$$fresh/constraints.txt" && \
	cat "$$fresh/frozen.txt" >> "$$fresh/constraints.txt" && \
	cp "$$fresh/constraints.txt" constraints.txt

clean:  ## Remove the environments and all that tools left behind
	rm -rf $(VENV) .venv-* build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find enrich ingest schemas sinks -name '*.so' -delete
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(DEMO) $(DEV): $(VENV)/.installed-%: pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing into $(VENV) what constraints.txt names ($*) ..." >&2
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt setuptools
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt \
		--no-build-isolation --editable '.[$*]'
	@touch $@

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "Python 3.11 or newer is needed and '$(PYTHON)' is not: name one, as in 'make test PYTHON=python3.13'" >&2; \
		exit 1; }
	@$(PYTHON) -m venv --clear $(VENV) || { rm -rf $(VENV); \
		echo "'$(PYTHON) -m venv' does not work here; on Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }
