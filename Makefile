# Needs Python 3.11 or newer and make. Each target makes what it needs in .venv; nothing is installed outside it.
#
#   make quickstart
#   make test PYTEST_ARGS="tests/nn -x"
#   make bench ARGS="--help"
#   make bench BENCH=speed ARGS=training

PYTHON ?= python3

# Installed first and by itself, so that everyone runs the release that was tested. A bare `torch` is the newest build,
# on Linux one for CUDA of several GB. Choose your own before the first run, with any arguments that pip takes:
#   make quickstart TORCH="torch==2.14.1"
TORCH ?= torch==2.13.0

# The Pythons of `make test-pythons`.
PYTHONS ?= 3.11 3.12 3.13 3.14

PYTEST_ARGS ?=
BENCH ?= accuracy
ARGS ?=

# Threads that wait for work sleep instead of spinning: on a shared machine, spinning slows everybody.
OMP_WAIT_POLICY ?= PASSIVE
export OMP_WAIT_POLICY

VENV := .venv
BIN := $(VENV)/bin
PEERS := .venv-peers
OLDEST := .venv-oldest
PIP := $(BIN)/python -m pip --disable-pip-version-check

.DEFAULT_GOAL := help
.PHONY: help quickstart test test-oldest test-pythons lint check dist dist-check bench peers torchrec docs clean

help:  ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

quickstart: $(VENV)/.stamp-core  ## train a first model and recommend with it
	$(BIN)/python examples/quickstart.py

# A process a core, each with one thread. In PYTEST_ARGS, -n 0 undoes the processes and -m "" runs the slow tests too.
test: export OMP_NUM_THREADS ?= 1
test: $(VENV)/.stamp-dev  ## run the tests, but for slow ones (PYTEST_ARGS="-m ''" for all)
	$(BIN)/python -m pytest -q -n auto --dist worksteal -m "not slow" $(PYTEST_ARGS)

test-oldest: $(OLDEST)/.stamp  ## run the tests with the oldest versions that pyproject.toml allows
	$(OLDEST)/bin/python -m pytest -q --ignore tests/artifacts/test_onnx.py $(PYTEST_ARGS)

# Each in an environment of its own, with the newest versions of all.
test-pythons:  ## run the tests with each Python (PYTHONS="3.12 3.13")
	@for version in $(PYTHONS); do \
	  $(MAKE) --no-print-directory test PYTHON=python$$version VENV=.venv-$$version TORCH=torch || exit; \
	done

lint: $(VENV)/.stamp-dev  ## run the static checks: ruff and pyright
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright

# Two makes in turn, not two prerequisites: the tests come last under `make -j` too.
check:  ## run what CI runs: the static checks, then the tests
	@$(MAKE) --no-print-directory lint
	@$(MAKE) --no-print-directory test

dist: $(VENV)/.stamp-dev  ## build the wheel and the source archive into dist/
	rm -rf dist
	$(BIN)/python -m build
	$(BIN)/python -m twine check --strict dist/*

dist-check: dist  ## install both archives, each into a new environment, and run the quickstart
	$(BIN)/python tests/check_dist.py $(TORCH)

bench: $(VENV)/.stamp-bench  ## measure accuracy, or speed (BENCH=speed ARGS="--help")
	$(BIN)/python -m benchmarks.$(BENCH) $(ARGS)

peers: $(patsubst benchmarks/peers/%.txt,$(PEERS)/%/.stamp,$(wildcard benchmarks/peers/*.txt))  ## install the libraries that recolib is compared with

torchrec: $(VENV)/.stamp-torchrec  ## install what shard="rows" needs, which goes with torch 2.13

docs: $(VENV)/.stamp-docs  ## build the site into docs/_build/html
	$(BIN)/python -m sphinx -q -W --keep-going -b html docs docs/_build/html
	@echo "docs/_build/html/index.html"

clean:  ## remove caches and build products (the environment stays: rm -r .venv)
	rm -rf build dist docs/_build .pytest_cache .ruff_cache .hypothesis
	find . -path ./$(VENV) -prune -o -name __pycache__ -type d -prune -exec rm -rf {} +

# The environment. A stamp says that the packages of an extra were installed as pyproject.toml lists them now; an
# environment that is already there is filled, not made anew.

# pip is what a half-made environment lacks, for instance on a Debian without python3-venv.
$(BIN)/pip:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "recolib needs Python 3.11 or newer, got " + sys.version.split()[0] + ": make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.stamp-torch: | $(BIN)/pip
	$(PIP) install $(TORCH)
	@touch $@

$(VENV)/.stamp-core: pyproject.toml $(VENV)/.stamp-torch
	$(PIP) install -e .
	@touch $@

$(VENV)/.stamp-dev $(VENV)/.stamp-bench $(VENV)/.stamp-docs: $(VENV)/.stamp-%: pyproject.toml $(VENV)/.stamp-torch
	$(PIP) install -e '.[$*]'
	@touch $@

# No extra: its metadata asks for a build of fbgemm for CUDA, in whatever release.
$(VENV)/.stamp-torchrec: $(VENV)/.stamp-torch
	$(PIP) install tensordict torchmetrics==1.0.3 tqdm pyre-extensions
	$(PIP) install --no-deps torchrec==1.8.0 fbgemm-gpu-cpu==1.8.0
	@touch $@

# Without the extra onnx, whose floors are higher. The file of constraints follows pyproject.toml, so that it cannot name other floors.
$(OLDEST)/.stamp: pyproject.toml tests/oldest.py
	$(PYTHON) -m venv --clear $(OLDEST)
	$(OLDEST)/bin/python tests/oldest.py test > $(OLDEST)/constraints.txt
	$(OLDEST)/bin/python -m pip --disable-pip-version-check install -c $(OLDEST)/constraints.txt -e '.[test]'
	@touch $@

# The other libraries: an environment for each, with exactly what its file lists. What they would pull in beyond that is
# not used (ray, for one), and of torch they might take another build.
$(PEERS)/%/.stamp: benchmarks/peers/%.txt
	$(PYTHON) -m venv $(PEERS)/$*
	$(PEERS)/$*/bin/python -m pip --disable-pip-version-check install $(TORCH)
	$(PEERS)/$*/bin/python -m pip --disable-pip-version-check install --no-deps -r $<
	@touch $@
