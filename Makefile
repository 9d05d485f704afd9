# Each target does its own set-up; a second call starts at once.
# Needs Python 3.11 or newer and make. Another interpreter: make PYTHON=python3.12 demo

PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
CORE   := $(VENV)/.core-installed
DEV    := $(VENV)/.dev-installed
ORACLE := $(VENV)/.oracle-installed

.PHONY: help demo serve test chaos chaos-short lint oracle clean
.DEFAULT_GOAL := help

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1|/p' $(MAKEFILE_LIST) | awk -F'|' '{printf "  make %-14s %s\n", $$1, $$2}'

demo: $(CORE) ## train a network and a text model on real data, watch, ask them
	@$(BIN)/netwright demo

serve: $(CORE) ## the server alone, on 127.0.0.1:8000, data in ./netwright-data
	@exec $(BIN)/netwright serve

test: $(DEV) ## every gate: ruff, mypy strict, import-linter, pytest
	@failed=0; \
	$(MAKE) --no-print-directory lint || failed=1; \
	$(BIN)/python -m pytest -n 3 --dist worksteal || failed=1; \
	exit $$failed

chaos: $(DEV) ## 1,000 processes killed at random while clients submit; nothing may be lost (about 20 minutes)
	$(BIN)/python tests/flow/flow_chaos.py --kills 1000

chaos-short: $(DEV) ## 60 of them, about a minute
	$(BIN)/python tests/flow/flow_chaos.py --kills 60

lint: $(DEV) ## the gates without pytest; all of them, even if the first one fails
	@failed=0; \
	$(BIN)/ruff check --quiet --output-format concise . || failed=1; \
	$(BIN)/ruff format --quiet --check --output-format concise . || failed=1; \
	$(BIN)/mypy || failed=1; \
	for each in tests/*/conftest.py; do $(BIN)/mypy --no-error-summary $$each || failed=1; done; \
	$(BIN)/lint-imports --no-cache > $(VENV)/.imports 2>&1 || { cat $(VENV)/.imports; failed=1; }; \
	exit $$failed

# bench_engine.py is bench-engine, bench_first_light.py is bench-first-light, ...
BENCHES := $(subst _,-,$(patsubst tests/benchmarks/bench_%.py,bench-%,$(wildcard tests/benchmarks/bench_*.py)))
.PHONY: bench $(BENCHES)
bench: $(BENCHES) ## every benchmark; one alone: make bench-start, bench-engine, ...
$(BENCHES): bench-%: $(DEV)
	$(BIN)/python -m pytest -s -m benchmark tests/benchmarks/bench_$(subst -,_,$*).py
bench-engine bench-engine-cnn bench-engine-recurrent bench-engine-two: $(ORACLE)

.PHONY: power-cut
power-cut: $(DEV) ## cut the power 10,000 times at a store that works, open what is left (needs Linux and a C compiler)
	$(BIN)/python tests/storage/power_drill.py --images 10000

.PHONY: postgresql
postgresql: $(DEV) ## the store's tests on a PostgreSQL server: NETWRIGHT_TEST_POSTGRESQL=postgresql+psycopg://user@host/postgres
	@$(PIP) -e ".[dev,postgresql]"
	@test -n "$$NETWRIGHT_TEST_POSTGRESQL" || { echo "Name the server: make postgresql NETWRIGHT_TEST_POSTGRESQL=postgresql+psycopg://user@host/postgres"; exit 1; }
	$(BIN)/python -m pytest tests/storage

oracle: $(ORACLE) ## compare with torch, kenlm and others (a large installation)
	$(BIN)/python -m pytest -m oracle

clean: ## forget the installation and all caches; data is kept
	rm -rf $(VENV) build service/engine/*.so .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache *.egg-info

# --- set-up ---------------------------------------------------------------------------------

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "netwright needs Python 3.11 or newer, but '$(PYTHON)' is: $$($(PYTHON) --version 2>&1)"; \
	  echo "Name another: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { \
	  rm -rf $(VENV); \
	  echo "'$(PYTHON)' cannot make a virtual environment (on Debian: apt install python3-venv)"; exit 1; }

$(CORE): pyproject.toml constraints.txt service/engine/_loops.c | $(BIN)/python
	@echo "Installing into $(VENV) (once) ..."
	@$(PIP) -e .
	@$(BIN)/python -m compileall -q service
	@touch $@

$(DEV): pyproject.toml constraints.txt service/engine/_loops.c | $(BIN)/python
	@echo "Installing into $(VENV), with the tools for tests (once) ..."
	@$(PIP) -e ".[dev]"
	@$(BIN)/python -m compileall -q service
	@touch $(CORE) $@

$(ORACLE): pyproject.toml constraints.txt service/engine/_loops.c | $(BIN)/python
	@echo "Installing into $(VENV), with torch and other oracles (once, large) ..."
	@$(PIP) -e ".[dev,oracle]"
	@touch $(CORE) $(DEV) $@
