# Everything runs in .venv, which `setup` makes. All paths are relative, so the clone may lie anywhere.
PYTHON ?= python3
WORKERS ?= 2
ARGS ?=
BIN := .venv/bin
RUNS := outputs multirun wandb lightning_logs
CACHES := .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist site densesiam.egg-info

# What another environment left in the shell must not reach this one.
unexport PYTHONPATH PYTHONHOME VIRTUAL_ENV PIP_USER PIP_TARGET PIP_PREFIX PIP_CONSTRAINT

.DEFAULT_GOAL := help
.PHONY: help setup demo test bench check format docs clean

help: ## Print this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' Makefile

setup: .venv/.installed ## Make .venv and install the tested versions into it (PYTHON=python3.12 for another Python)

demo: .venv/.installed ## Train and score on the embedded scenes, no data needed (ARGS='seed=1' for overrides)
	$(BIN)/python -m src.train experiment=demo $(ARGS)

test: .venv/.installed ## Run the tests (WORKERS=4 processes, ARGS='-k losses' for pytest)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) $(ARGS)

bench: .venv/.installed ## Measure speed and memory, with every goal marked (ARGS='loading' for one subject)
	$(BIN)/python -m benchmarks $(ARGS)

check: .venv/.installed ## Check format, lint and types; changes nothing
	$(BIN)/python -m ruff format --check .
	$(BIN)/python -m ruff check .
	$(BIN)/python -m mypy

format: .venv/.installed ## Format the code and apply the linter's safe fixes
	$(BIN)/python -m ruff format .
	$(BIN)/python -m ruff check --fix .

docs: .venv/.installed ## Build the documentation into site/ (to read: python -m http.server -d site)
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

clean: ## Remove caches, build products and ALL RUNS (outputs/ multirun/ wandb/ lightning_logs/); .venv stays
	rm -rf $(CACHES) $(RUNS)
	find . -path ./.venv -prune -o -path ./.git -prune -o -type d -name __pycache__ -prune -exec rm -rf {} +

# The stamp is written last: an interrupted installation is taken up again. A .venv that is whole is kept, one that is
# broken (no pip, or its Python is gone or too old) is made anew.
.venv/.installed: pyproject.toml constraints.txt
	@$(BIN)/python -c 'import sys, pip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  "$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	    echo "densesiam needs Python 3.11 or newer, found $$("$(PYTHON)" --version 2>&1 | tail -n 1);" \
	      "name another one: make setup PYTHON=python3.12" >&2; exit 1; }; \
	  echo "making .venv with $$("$(PYTHON)" --version)"; "$(PYTHON)" -m venv --clear .venv; }
	$(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@
