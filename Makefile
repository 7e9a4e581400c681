PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.microfield-ready
DOCS_READY := $(VENV)/.microfield-docs-ready
LOWEST := .venv-lowest
LOWEST_READY := $(LOWEST)/.microfield-ready

CODE := src tests benchmarks examples docs
SECONDS ?= 60
SEED ?= 0

# The tests start many processes, which begin sooner where compiled modules are kept.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo kernel sanitise fresh-kernel test lint types format coverage docs lowest results fuzz fresh fresh-tools pages clean

# The environment: made once, and again whenever pyproject.toml changes.
$(READY): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade "pip>=25.1"
	$(BIN)/python -m pip install --quiet --editable '.[compress,codecs,report,bench,zarr,remote,xarray,serve,demo]' --group dev
	@touch $(READY)

# The compiled kernel, made anew where its sources have changed. Without a C compiler NumPy computes.
kernel: $(READY)
	$(BIN)/python -m microfield.kernel.building

# Compress the example 128 times, decode it, measure it, draw it.
demo: $(READY)
	$(BIN)/python examples/demo.py

# Everything that is checked, but for the documentation (make docs) and the lowest versions (make lowest).
test: lint types kernel
	$(BIN)/python -m pytest -n 2

# What a new user does first, in an empty environment: install, compress, report, open in Python, back to TIFF.
fresh:
	$(PYTHON) tests/fresh_user.py

# The source archive in empty environments, with a C compiler and without.
fresh-kernel:
	PYTHONPATH=tests $(PYTHON) tests/fresh_kernel.py

# The same for the pages of other tools, each in an environment of its own.
fresh-tools:
	$(PYTHON) tests/fresh_tools.py

lint: $(READY)
	$(BIN)/ruff check $(CODE)

types: $(READY)
	$(BIN)/mypy

# Sorts imports and repairs what ruff can repair safely. Lines are broken by hand, so `ruff format` is not used.
format: $(READY)
	$(BIN)/ruff check --fix $(CODE)

# Which lines the tests do not reach. Measuring nearly doubles their time, so it is not part of `make test`.
coverage: $(READY)
	$(BIN)/python -m pytest -n 2 --cov --cov-report=
	$(BIN)/coverage report --show-missing --skip-covered

# The documentation as a site in site/; any broken link or reference is an error.
docs: $(DOCS_READY)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@echo "documentation: site/index.html"

$(DOCS_READY): $(READY)
	$(BIN)/python -m pip install --quiet --group docs
	@touch $(DOCS_READY)

# Runs the pages for people and puts what their commands print into them; a quiet machine gives the times that readers expect.
pages: $(READY)
	$(BIN)/python docs/hooks/run_page.py --write README.md docs/tutorial.md docs/recipes.md docs/troubleshooting.md
	PYTHONPATH=tests $(BIN)/python tests/helpers/kept.py --write

# Tests that touch the direct dependencies, with the lowest version of each that pyproject.toml allows. What it needs in turn is
# new, and warns of the old: so warnings are no errors here.
lowest: $(LOWEST_READY)
	$(LOWEST)/bin/python -m pytest -n 2 -o filterwarnings=default --disable-warnings \
	    tests/analysis tests/contracts/test_contracts.py tests/format tests/io tests/metrics tests/nn tests/reading \
	    -k "not test_contracts or field or siren or hevc or jpeg2000"

$(LOWEST_READY): pyproject.toml
	$(PYTHON) -m venv $(LOWEST)
	$(LOWEST)/bin/python -m pip install --quiet uv
	$(LOWEST)/bin/uv pip install --quiet --python $(LOWEST)/bin/python --resolution lowest-direct \
	    --editable '.[compress,codecs,report,bench,zarr,remote,xarray,serve,demo]' --group test
	@touch $(LOWEST_READY)

# Mutated files with right checksums, read by a child with limits, for SECONDS from SEED on. What escapes is kept in
# fuzz-failures/ and read again by `make fuzz REPLAY=FILE`.
fuzz: $(READY)
	PYTHONPATH=tests $(BIN)/python -m fuzz $(if $(REPLAY),--replay "$(REPLAY)",--seconds $(SECONDS) --seed $(SEED))

# The kernel compiled with the address and undefined behaviour sanitisers: its tests, and mutated files of field for SECONDS.
sanitise: $(READY)
	PYTHONPATH=tests $(BIN)/python tests/sanitise.py --seconds $(SECONDS)

# The standing measurements of docs/results.md; takes its images from DATA.
results: $(READY)
	$(BIN)/python -m benchmarks.run --data "$(DATA)"

clean:
	rm -rf $(VENV) $(LOWEST) site demo-output .coverage .pytest_cache .mypy_cache .ruff_cache .hypothesis
