# Acuity's commands.  `make setup` may be repeated: it does nothing while its inputs stay as they are.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help setup demo test test-all lint judges clean

VENV ?= .venv
# A Python of 3.11 to 3.13, the first found; `make setup PYTHON=/path/to/python` overrides it.
PYTHON ?= $(shell for p in python3 python3.11 python3.12 python3.13; do \
  "$$p" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null && echo "$$p" && break; done)
BIN := $(VENV)/bin
STAMP := $(VENV)/.setup-complete
SETUP_INPUTS := pyproject.toml requirements.txt requirements-nodeps.txt requirements-dev.txt constraints.txt \
  $(wildcard install/*)

# Build environments obey it too: nothing pulls another build of torch.
export PIP_CONSTRAINT := $(CURDIR)/constraints.txt
export PIP_DISABLE_PIP_VERSION_CHECK := 1

help:
	@echo "make setup     create $(VENV) and install everything that the application, the label server and the tests need"
	@echo "make demo      make a synthetic study, run the application on it, show what it found"
	@echo "make test      the quick tests"
	@echo "make test-all  all tests"
	@echo "make lint      ruff and mypy"
	@echo "make clean     remove $(VENV) and caches"

setup: $(STAMP)

$(STAMP): $(SETUP_INPUTS)
	@if [ -z "$(PYTHON)" ]; then echo "No Python 3.11, 3.12 or 3.13 found. Install one, or name it: make setup PYTHON=/path/to/python" >&2; exit 1; fi
	[ -x $(BIN)/python ] || "$(PYTHON)" -m venv $(VENV)
	$(BIN)/python -m pip install --quiet "pip>=26.0"
	$(BIN)/python -m pip install --quiet -r requirements.txt -r requirements-dev.txt
	$(BIN)/python -m pip install --quiet --no-deps -r requirements-nodeps.txt
	$(BIN)/python -m pip install --quiet --no-deps --editable .
	@$(MAKE) --no-print-directory judges
	@touch $(STAMP)

# Independent DICOM validators that the tests call; the tests that need them skip where they are absent.
judges:
	@if command -v dciodvfy >/dev/null; then exit 0; fi; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && \
	  { apt-get -qq install -y dicom3tools || { apt-get -qq update && apt-get -qq install -y dicom3tools; }; } >/dev/null 2>&1; \
	then echo "installed dicom3tools (dciodvfy, dcentvfy)"; \
	else echo "dicom3tools (dciodvfy, dcentvfy) is absent: the tests that validate DICOM will skip. Debian and Ubuntu: sudo apt-get install dicom3tools"; fi

demo: setup
	$(BIN)/acuity demo

test: setup
	$(BIN)/python -m pytest -m "not slow"

test-all: setup
	$(BIN)/python -m pytest

lint: setup
	$(BIN)/ruff check .
	$(BIN)/mypy

clean:
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache build dist
