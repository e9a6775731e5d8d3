# Set-up, the demo, the tests and the benchmarks. Needs Python >= 3.11 and a package index or a folder of wheels;
# test-platform also Debian's chromium, fonts-dejavu and postgresql. TORCH_BACKEND=cpu: torch without CUDA.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
UV_INSTALL := $(BIN)/python tools/uv_as_pip.py pip install --quiet
PACKAGES := --compile-bytecode -c constraints.txt $(if $(TORCH_BACKEND),--torch-backend $(TORCH_BACKEND))
unexport PYTHONDONTWRITEBYTECODE
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: run study test test-platform test-demo check bench docs install clean

run: $(VENV)/.installed  ## the whole transport study on the embedded model, in small
	@$(BIN)/ato run pipeline --profile demo

study: $(VENV)/.installed  ## the same on more text and more layers
	@$(BIN)/ato run pipeline --profile study-smollm2

test: $(VENV)/.installed-dev  ## style, types, layers and tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/mypy --num-workers 2
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadgroup --no-loadscope-reorder

test-platform: $(VENV)/.installed-dev  ## what starts servers, workers, a browser or PostgreSQL
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadgroup --no-loadscope-reorder -m "platform and not demo" \
		tests/flows tests/dashboards

test-demo: $(VENV)/.installed-dev  ## the demo started from its form in a browser, the chain of events, eleven questions: up to half an hour, pictures in data/
	ATO_TEST_ARTIFACTS=data $(BIN)/python -m pytest -m demo tests/flows

check: $(VENV)/.installed  ## quality expectations over the whole warehouse
	@$(BIN)/ato check

bench: $(VENV)/.installed  ## ratios against peers and physical limits
	@$(BIN)/python -m benchmarks

docs: $(VENV)/.installed-dev  ## the site of documentation and API, in site/
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build -q
	@echo "site/index.html"

install: $(VENV)/.installed-dev  ## what all of these need

$(VENV)/.installed: pyproject.toml constraints.txt embedded.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python >= 3.11 is needed, $(PYTHON) is older: make PYTHON=python3.12 ..."; exit 1; }
	@echo "Setting up $(VENV): 3 GB (7 GB with CUDA, see README), about a minute, once"
	@$(PYTHON) -m venv $(VENV)
	@test -x $(BIN)/uv || $(BIN)/python -m pip install -qq -c constraints.txt uv
	@$(UV_INSTALL) $(PACKAGES) -e .
	@$(UV_INSTALL) --no-deps --require-hashes -r embedded.txt
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed tests/embedded.txt
	@echo "Adding what only tests and documentation need: 0.6 GB, half a minute, once"
	@$(UV_INSTALL) $(PACKAGES) -e '.[dev]'
	@$(UV_INSTALL) --no-deps --require-hashes -r tests/embedded.txt
	@touch $@

clean:  ## remove the environment; data/ stays
	rm -rf $(VENV)
