# make run    sets up everything and forecasts the embedded USD/MXN series at four horizons, offline
# make test   sets up everything and runs the tests
VENV ?= .venv
PYTHON ?= python3
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
ONE_THREAD := OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE

.PHONY: setup run test test-slow lint types contracts check bench-accuracy bench-speed bench-peers clean
setup: $(STAMP)

# torch comes first and by exact version: a looser request pulls gigabytes of CUDA libraries.
$(STAMP): requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "horizoncast needs Python 3.11 or later; set PYTHON=/path/to/python3.11"; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { echo "venv failed; on Debian: apt-get install python3-venv"; exit 1; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check torch==2.13.0
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -e .
	@touch $(STAMP)

run: setup
	$(BIN)/horizoncast run-all --target config/targets/usdmxn.toml

test: setup
	$(ONE_THREAD) $(BIN)/python -m pytest -n 2 -q -m "not slow" $(PYTEST_FLAGS)

test-slow: setup
	$(ONE_THREAD) $(BIN)/python -m pytest -n 2 -q -m slow

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: setup
	$(BIN)/mypy

contracts: setup
	$(BIN)/lint-imports

check: lint types contracts test

# QUICK=1 ends in a few minutes
bench-accuracy: setup
	$(ONE_THREAD) $(BIN)/python benchmarks/accuracy.py $(if $(QUICK),--quick)

bench-speed: setup
	$(BIN)/python benchmarks/speed.py $(if $(QUICK),--quick)

# other packages in environments of their own, below benchmarks/work
bench-peers: setup
	PYTHONPATH=benchmarks $(BIN)/python benchmarks/peers/run_peers.py $(if $(QUICK),--quick)

clean:
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis runs cache
