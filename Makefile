# Two commands are enough on a fresh machine (Debian, Python 3.11, pip, make, git): `make demo` and `make test`.
# Each target sets up what it needs in .venv, once.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALL = $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable
SOURCES := pyproject.toml constraints.txt

.PHONY: demo serve test lint format bench torture audit fuzz hostile schema settings clean help

help:
	@sed -n 's/^## //p' Makefile

## make demo      train the built-in model on handwritten digits under a daemon, and watch it (a minute)
demo: $(VENV)/.builtin
	@$(BIN)/onetrainerd demo --dir .demo

## make serve     serve on http://127.0.0.1:8000 with the built-in trainer, or with ONETRAINER_HOME
serve: $(VENV)/.builtin
	@$(BIN)/onetrainerd serve

## make test      all tests, the storms in short
test: $(VENV)/.dev
	@$(BIN)/python -m pytest

## make lint      ruff, mypy --strict, import-linter, bandit, vermin
lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy --python-version 3.10 ipc trainer_runner
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/bandit --quiet --configfile pyproject.toml --recursive daemon ipc trainer_runner
	$(BIN)/vermin --quiet --no-tips --violations --target=3.10- ipc trainer_runner

## make format    let ruff put everything in its place
format: $(VENV)/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

## make bench     measure what the README claims
bench: $(VENV)/.dev
	@for program in bench/*.py; do $(BIN)/python $$program || exit 1; done

## make torture   the storms in full, with their report (TORTURE_SCALE, TORTURE_SEED, TORTURE_REPORT; STORMS="daemon-kills …")
torture: $(VENV)/.dev
	@$(BIN)/python -m tests.torture $(STORMS)

## make audit     ask for advisories about the pinned dependencies (needs the network; says so where nobody answers)
audit: $(VENV)/.dev
	@$(BIN)/python .ci/audit.py

## make fuzz      schemathesis over every route, in depth (FUZZ_EXAMPLES, FUZZ_SEED)
fuzz: $(VENV)/.dev
	@FUZZ_EXAMPLES=$${FUZZ_EXAMPLES:-50} $(BIN)/python -m pytest tests/hostile/test_schemathesis.py --timeout=3600

## make hostile   ten thousand hostile paths over every parameter that takes a name or a path (HOSTILE_PATHS, HOSTILE_SEED)
hostile: $(VENV)/.dev
	@HOSTILE_PATHS=$${HOSTILE_PATHS:-10000} $(BIN)/python -m pytest tests/hostile/test_hostile_paths.py --timeout=3600

## make schema    write configs/builtin.catalog.json from the built-in trainer's own description
schema: $(VENV)/.dev
	$(BIN)/python -m trainer_runner.catalog.builtin > configs/builtin.catalog.json.new
	mv configs/builtin.catalog.json.new configs/builtin.catalog.json

## make settings  write configs/onetrainerd.toml, docs/settings.md and the metrics in docs/operating.md from the code
settings: $(VENV)/.dev
	$(BIN)/python -m daemon.settings.pages .
	$(BIN)/python -m daemon.telemetry.page docs/operating.md

## make clean     remove the environment and what the demo made
clean:
	rm -rf $(VENV) .demo build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Debian's python3 may come without ensurepip: then the machine's own pip fills the environment.
$(BIN)/python:
	@echo "making $(VENV)"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "onetrainerd needs Python 3.11 or newer; set PYTHON=")'
	@$(PYTHON) -m venv $(VENV) 2>/dev/null || $(PYTHON) -m venv --without-pip $(VENV)
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m pip --python $(BIN)/python install --quiet pip

$(VENV)/.builtin: $(SOURCES) | $(BIN)/python
	@echo "installing onetrainerd and the built-in trainer (PyTorch: half a minute to some minutes)"
	@$(INSTALL) '.[builtin]'
	@touch $@

$(VENV)/.dev: $(SOURCES) | $(BIN)/python
	@echo "installing onetrainerd, the built-in trainer and the developers' tools"
	@$(INSTALL) '.[builtin,dev]'
	@touch $@ $(VENV)/.builtin
