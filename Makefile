# `make run` and `make test` are all a new machine needs: Python 3.10 or later, pip and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

BENCH := benchmarks/.venv-peers

.DEFAULT_GOAL := run
.PHONY: help run test fuzz lint format docs pictures bench viz clean

help:  ## list these targets
	@sed -n 's/^\([a-z]*\):.*##  *\(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 18

run: $(VENV)/.run-ready  ## train, evaluate and interpret an SAE on the docstrings of this Python
	$(BIN)/kedro run

test: $(VENV)/.dev-ready lint  ## style, types, layers and all tests
	$(BIN)/python -m pytest -n 2 --dist loadfile

fuzz: $(VENV)/.dev-ready  ## the long forms: thousands of configurations, damaged files and kills
	$(BIN)/python -m pytest -m fuzz

lint: $(VENV)/.dev-ready  ## ruff, mypy, import-linter, and the package as PyPI would take it
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	rm -rf build dist
	$(BIN)/python -m build --no-isolation > /dev/null
	$(BIN)/twine check --strict dist/*

format: $(VENV)/.dev-ready  ## sort imports and format
	$(BIN)/ruff check --fix-only --quiet .
	$(BIN)/ruff format .

docs: $(VENV)/.dev-ready  ## build the documentation into site/
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

pictures: $(VENV)/.dev-ready  ## make the pictures of README and docs anew; needs Chromium
	$(BIN)/python docs/tools/pictures.py

bench: $(VENV)/.run-ready $(BENCH)/.ready  ## speed and memory beside other libraries; QUICK=1, CORPORA=folder, ONLY="step growth"
	$(BIN)/python -m benchmarks.run $(if $(QUICK),--quick) $(if $(CORPORA),--corpora $(CORPORA)) $(if $(ONLY),--only $(ONLY))

viz: $(VENV)/.run-ready  ## show the pipelines in a browser
	$(BIN)/kedro viz run

clean:  ## remove the virtual environment and everything it built
	rm -rf $(VENV) $(BENCH) build dist site

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.run-ready: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(INSTALL) -e ".[offline]"
	touch $@

$(VENV)/.dev-ready: $(VENV)/.run-ready
	$(INSTALL) -e ".[offline,dev]"
	touch $@

$(BENCH)/.ready: benchmarks/peers/requirements.txt
	$(PYTHON) -m venv $(BENCH)
	$(BENCH)/bin/python -m pip install --quiet --disable-pip-version-check -r $<
	touch $@
