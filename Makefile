# Acuity's commands.  `make setup` may be repeated: it does nothing while its inputs stay as they are.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help setup demo test test-all test-e2e lint judges clean package audit workbench workbench-down

VENV ?= .venv
# A Python of 3.11 to 3.13, the first found; `make setup PYTHON=/path/to/python` overrides it.
PYTHON ?= $(shell for p in python3 python3.11 python3.12 python3.13; do \
  "$$p" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null && echo "$$p" && break; done)
BIN := $(VENV)/bin
STAMP := $(VENV)/.setup-complete
SETUP_INPUTS := pyproject.toml requirements.txt requirements-nodeps.txt requirements-dev.txt constraints.txt \
  acuity/acuity_cuda_runtime.pth label/pydicom_seg.py

PIP = $(BIN)/python -m pip install --progress-bar off
# In place of pip's many lines: one for twenty packages and for each large download, and every error.
ALIVE = | awk '/^Collecting/ && ++n % 20 == 0 {print "  " n " packages, now " $$2; fflush()} \
  /^ *Downloading .* MB\)/ && substr($$3, 2) > 30 {print "  downloading " $$2, $$3, $$4; fflush()} \
  /^Installing collected/ {print "  installing"; fflush()} /^ERROR/'
# Build environments obey it too: nothing pulls another build of torch.
export PIP_CONSTRAINT := $(CURDIR)/constraints.txt
export PIP_DISABLE_PIP_VERSION_CHECK := 1

help:
	@echo "make setup     create $(VENV) and install everything that the application, the label server and the tests need"
	@echo "make demo      make a synthetic study, run the application on it, show what it found"
	@echo "make workbench start archive, viewer and models for annotators, with the demo study; make workbench-down stops them"
	@echo "make package   the container images, or without docker their build contexts, and the bill of materials"
	@echo "make audit     ask for known vulnerabilities of what the image holds"
	@echo "make test      the quick tests"
	@echo "make test-all  all tests"
	@echo "make test-e2e  the workbench in a browser"
	@echo "make lint      formatting, ruff, spelling, layers of imports, types"
	@echo "make clean     remove $(VENV) and caches"

setup: $(STAMP)

$(STAMP): $(SETUP_INPUTS)
	@if [ -z "$(PYTHON)" ]; then echo "No Python 3.11, 3.12 or 3.13 found. Install one, or name it: make setup PYTHON=/path/to/python" >&2; exit 1; fi
	@echo "Setting up $(VENV): about 1.5 GB to download, 5 GB on disk, 2 to 10 minutes."
	@[ -x $(BIN)/python ] || "$(PYTHON)" -m venv $(VENV)
	@$(PIP) "pip>=26.0" $(ALIVE)
	@$(PIP) -r requirements.txt -r requirements-dev.txt $(ALIVE)
	@$(PIP) --no-deps -r requirements-nodeps.txt $(ALIVE)
	@$(PIP) --no-deps --editable . $(ALIVE)
	@$(MAKE) --no-print-directory judges
	@touch $(STAMP)

# Programs that tests and workbench call: independent DICOM validators, the archive, a browser. Tests that need one
# that is absent skip.
PROGRAMS := dciodvfy:dicom3tools Orthanc:orthanc Orthanc:orthanc-dicomweb chromium:chromium
judges:
	@missing=""; for pair in $(PROGRAMS); do \
	  PATH="$$PATH:/usr/sbin" command -v "$${pair%%:*}" >/dev/null || missing="$$missing $${pair#*:}"; done; \
	if [ -z "$$missing" ]; then exit 0; fi; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && \
	  { apt-get -qq install -y --no-install-recommends $$missing || \
	    { apt-get -qq update && apt-get -qq install -y --no-install-recommends $$missing; }; } >/dev/null 2>&1; \
	then echo "installed$$missing"; \
	else echo "absent:$$missing. Tests that need them will skip. Debian and Ubuntu: sudo apt-get install$$missing"; fi

demo: setup
	$(BIN)/acuity demo

workbench: setup
	$(BIN)/python -m workbench up

workbench-down: setup
	$(BIN)/python -m workbench down

package: setup
	$(BIN)/python tools/package.py
	$(BIN)/python tools/supply_chain/sbom.py --output dist/map/bom.json

audit: setup
	$(BIN)/python tools/supply_chain/audit.py

test: setup
	$(BIN)/python -m pytest -m "not slow"

test-all: setup
	$(BIN)/python -m pytest

test-e2e: setup
	$(BIN)/python -m pytest tests/e2e

lint: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/typos
	$(BIN)/lint-imports
	$(BIN)/mypy

clean:
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache build dist
