# From a bare checkout: Python 3.11 or newer and make are all that is needed.
#   make demo    run the main pipeline to its end, answering at the terminal
#                (another one: make demo PIPELINE=article_refinement, refund or support_desk; of a file,
#                an order or a question of yours: INPUT=...)
#   make test    every test but the wide ones and those in a browser (`make test-all` has these
#                too, with coverage; it installs Chromium by apt-get if need be, as both do curl)

VENV := .venv
BIN := $(VENV)/bin
# More than processors: a test waits for a server half of its time.
JOBS ?= 3
PIPELINE ?= data_release
INPUT ?=
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
PYTHON ?= $(shell for python in python3 python3.13 python3.12 python3.11; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	&& { echo $$python; break; }; done)

# Wherever it is set, each process of a test would compile everything again.
export PYTHONDONTWRITEBYTECODE :=

.DEFAULT_GOAL := help
.PHONY: help demo test test-all curl browser check format dev bench clean

help:
	@sed -n 's/^#   //p' Makefile
	@echo 'make check   lint and types'
	@echo 'make format  let ruff rewrite what it can'
	@echo 'make dev     the environment with everything, in $(VENV)'
	@echo 'make bench   the measures, one JSON line each (some 15 minutes)'

demo: $(VENV)/.local
	$(BIN)/python -m workflows.demo $(PIPELINE) $(if $(INPUT),'$(INPUT)')

test: $(VENV)/.dev curl
	$(BIN)/python -m pytest -n $(JOBS) --dist worksteal $(ARGS)

test-all: $(VENV)/.dev curl browser
	$(BIN)/python -m pytest -n $(JOBS) --dist worksteal -m '' $(ARGS) --cov

# The commands of the docs are run as they stand there.
curl:
	@command -v curl >/dev/null || { echo 'Installing curl (once) ...' >&2; \
		apt-get update -qq && apt-get install -y -qq curl; }

browser:
	@command -v chromium >/dev/null || { echo 'Installing Chromium (once) ...' >&2; \
		apt-get update -qq && apt-get install -y -qq chromium; }

check: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright --project . --pythonpath $(BIN)/python

format: $(VENV)/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

dev: $(VENV)/.dev
	@echo 'Ready: . $(BIN)/activate'

bench: $(VENV)/.dev
	@$(BIN)/python -m tests.benchmarks $(ARGS)

clean:
	rm -rf $(VENV) build dist .coverage .coverage.* .pytest_cache .ruff_cache .temporal-hitl

# A stamp is newer than what it was installed from, so a second call installs nothing.
$(VENV)/.created:
	@test -n '$(PYTHON)' || { echo 'Python 3.11 or newer is needed and none was found on PATH;' \
		'install one, or name it: make PYTHON=/path/to/python3.12 ...' >&2; exit 1; }
	@$(PYTHON) -m venv --clear $(VENV)
	@touch $@

$(VENV)/.local: $(VENV)/.created pyproject.toml constraints.txt
	@echo 'Setting up $(VENV) (once) ...' >&2
	@$(PIP) install -e '.[local,agents,demo]' -c constraints.txt
	@touch $@

$(VENV)/.dev: $(VENV)/.created pyproject.toml constraints.txt
	@echo 'Setting up $(VENV) (once) ...' >&2
	@$(PIP) install -e '.[all,demo,dev]' -c constraints.txt
	@touch $@ $(VENV)/.local
