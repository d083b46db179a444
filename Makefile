# All set-up is automatic: a fresh clone needs Python 3.11 or newer, make and pip.
# "make help" lists the targets.

SHELL := /bin/sh
.DEFAULT_GOAL := demo
.PHONY: demo test test-gpu photos lint fuzz setup clean help

NEW_ENOUGH := import sys; sys.exit(sys.version_info < (3, 11))
PYTHON ?= $(shell for name in python3 python3.13 python3.12 python3.11; do \
	"$$name" -c '$(NEW_ENOUGH)' 2>/dev/null && { echo "$$name"; exit; }; done; \
	echo python3)
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
RUN ?= runs/demo

demo: $(STAMP)  ## the whole chain on shipped weights, ending in a report (RUN=runs/demo)
	@$(BIN)/hyperface-demo --output=$(RUN)

test: lint photos  ## lint and the whole test suite
	@$(BIN)/python -m pytest -n auto --maxprocesses=4 --dist=loadfile

test-gpu: $(STAMP)  ## a GPU against the CPU (install the extra cuda or cuda13 first)
	@JAX_PLATFORMS=cuda,cpu $(BIN)/python -m pytest -m gpu -rs tests/gpu

photos: $(STAMP)  ## what photographs need besides: the weights of MTCNN, 2 MB, once
	@$(BIN)/python -m bridges.photographs.fetch_mtcnn

fuzz: $(STAMP)  ## damage files of every kind, a thousand times each (FUZZ_ROUNDS, FUZZ_SEED)
	@FUZZ_ROUNDS=$${FUZZ_ROUNDS:-1000} FUZZ_SEED=$${FUZZ_SEED:-1} \
		$(BIN)/python -m pytest tests/fuzz

lint: $(STAMP)  ## lint alone
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --check --quiet .

setup: $(STAMP)  ## create .venv and install the pinned dependencies, once

clean:  ## remove caches (not .venv, not runs/)
	rm -rf build *.egg-info .pytest_cache .ruff_cache .hypothesis
	find . -path ./$(VENV) -prune -o -name __pycache__ -type d -print | xargs rm -rf

help:  ## this list
	@echo "make TARGET: every target sets up what it needs first."
	@sed -n 's/^\([a-z-]*\):.*## /  \1\t/p' Makefile | expand -t 12
	@echo "Another interpreter: make PYTHON=python3.12 demo. Another folder: make RUN=runs/mine demo."

# The stamp is written last, so an interrupted installation is taken up again and a
# finished one is not repeated until the requirements change.
$(STAMP): setup.cfg pyproject.toml constraints.txt
	@$(PYTHON) -c '$(NEW_ENOUGH)' || { \
		echo "hyperface_jax needs Python 3.11 or newer; $(PYTHON) is" \
		"$$($(PYTHON) --version 2>&1). Name another: make PYTHON=python3.12" >&2; \
		exit 1; }
	@echo "Setting up $(VENV) (once; a few minutes, most of it downloading torch and jax)"
# Debian's python3 comes without ensurepip: then the system's own pip fills the folder.
	@$(BIN)/python -m pip --version >/dev/null 2>&1 \
		|| $(PYTHON) -m venv $(VENV) >/dev/null 2>&1 \
		|| { $(PYTHON) -m venv --clear --without-pip $(VENV) \
			&& $(PYTHON) -m pip --python $(BIN)/python install --quiet pip; }
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check \
		--constraint constraints.txt --editable '.[test]'
	@touch $@
