PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.microfield-ready

.PHONY: demo test lint types results clean

# The environment: made once, and again whenever pyproject.toml changes.
$(READY): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade "pip>=25.1"
	$(BIN)/python -m pip install --quiet --editable '.[compress,codecs,report,bench,zarr,xarray,demo]' --group dev
	@touch $(READY)

# Compress the example 128 times, decode it, measure it, draw it.
demo: $(READY)
	$(BIN)/python examples/demo.py

test: $(READY)
	$(BIN)/ruff check src tests benchmarks examples
	$(BIN)/mypy
	$(BIN)/python -m pytest -n 2

# The standing measurements of docs/results.md; takes its images from DATA.
results: $(READY)
	$(BIN)/python -m benchmarks.run --data "$(DATA)"

clean:
	rm -rf $(VENV) demo-output .pytest_cache .mypy_cache .ruff_cache .hypothesis
