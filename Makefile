# `make run` and `make test` are all a new machine needs: Python 3.10 or later, pip and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

BENCH := benchmarks/.venv-peers

.PHONY: run test fuzz lint format viz bench clean

run: $(VENV)/.run-ready  ## train and evaluate an SAE on the docstrings of this Python
	$(BIN)/kedro run

test: $(VENV)/.dev-ready lint  ## style, types and all tests
	$(BIN)/python -m pytest -n 2 --dist loadfile

fuzz: $(VENV)/.dev-ready  ## the long forms: thousands of configurations, damaged files and kills
	$(BIN)/python -m pytest -m fuzz

lint: $(VENV)/.dev-ready  ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/.dev-ready  ## sort imports and format
	$(BIN)/ruff check --fix-only --quiet .
	$(BIN)/ruff format .

bench: $(VENV)/.run-ready $(BENCH)/.ready  ## speed and memory beside other libraries; QUICK=1, CORPORA=folder, ONLY="step growth"
	$(BIN)/python -m benchmarks.run $(if $(QUICK),--quick) $(if $(CORPORA),--corpora $(CORPORA)) $(if $(ONLY),--only $(ONLY))

viz: $(VENV)/.run-ready  ## show the pipelines in a browser
	$(BIN)/kedro viz run

clean:  ## remove the virtual environment and everything it built
	rm -rf $(VENV) $(BENCH) build dist

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
