# Tools come from the active environment; `make check PYTHON=.venv/bin/python` names another one.
PYTHON ?= python
SOURCES = mambair_cli tests release $(wildcard benchmarks examples integrations)

.PHONY: check lint types test slow format wheel generated

check: lint types test

lint:
	$(PYTHON) -m ruff check $(SOURCES)
	$(PYTHON) -m ruff format --check $(SOURCES)

types:
	$(PYTHON) -m mypy

test:
	$(PYTHON) -m pytest -q

slow:
	$(PYTHON) -m pytest -q -m "slow and not gpu and not network"

format:
	$(PYTHON) -m ruff check --fix $(SOURCES)
	$(PYTHON) -m ruff format $(SOURCES)

wheel:
	$(PYTHON) -m pip wheel --quiet --no-deps --wheel-dir dist .

# The manual page and the completions of shells, in share/.
generated:
	$(PYTHON) release/generate.py
