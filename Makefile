# Tools come from the active environment; `make check PYTHON=.venv/bin/python` names another one.
PYTHON ?= python
SOURCES = mambair_cli tests release $(wildcard benchmarks examples integrations)

.PHONY: check lint types test slow format wheel generated release sbom

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

# Source archive and wheel into dist/, and whether they are sound. It needs build and twine.
release: generated
	$(PYTHON) release/check.py

# What was tested, as a bill of materials (CycloneDX) into dist/. It needs cyclonedx-bom.
sbom:
	mkdir -p dist
	$(PYTHON) -m cyclonedx_py requirements --pyproject pyproject.toml --output-reproducible \
		--output-file dist/mambair.cdx.json constraints.txt
