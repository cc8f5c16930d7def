# Every target first makes .venv from requirements.lock when it is missing or was made from another lock.
# Needs only make and Python >= 3.11; `make PYTHON=python3.12 table` chooses the interpreter.

PYTHON ?= python3
CORES ?= all
VENV := .venv
BIN := $(VENV)/bin

# Containers often forbid byte code; every job would then compile all that it imports, some 10 s each.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help env table smoke test soak docs types official parity fidelity gpu-check lint format

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## */  make \1\t/' | expand -t 16

# The lock is copied into the environment last: a killed installation is never taken for a finished one.
# The lock names every dependency (`make lint` has pip check that), so none are looked up. Of some 17,000 files a run
# imports a quarter; they are compiled when they are first imported, which takes less than compiling them all.
env:  ## make or renew the environment
	@if cmp -s requirements.lock $(VENV)/requirements.lock && cmp -s pyproject.toml $(VENV)/pyproject.toml; then :; \
	else set -e; \
	  $(PYTHON) -c 'import sys; sys.exit("texreward needs Python 3.11 or newer, but $(PYTHON) is " + sys.version.split()[0] + "; choose another with make PYTHON=...") if sys.version_info < (3, 11) else None'; \
	  if ! cmp -s requirements.lock $(VENV)/requirements.lock; then \
	    echo "Making $(VENV) from requirements.lock (some minutes, once) ..."; \
	    $(PYTHON) -m venv --clear $(VENV); \
	    $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile --no-deps -r requirements.lock; \
	    cp requirements.lock $(VENV)/requirements.lock; \
	  fi; \
	  $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .; \
	  cp pyproject.toml $(VENV)/pyproject.toml; \
	fi

table: env  ## the main comparison: results/table.md, with its figures and the gallery
	$(BIN)/snakemake --cores $(CORES)
	@echo; cat results/table.txt

smoke: env  ## the same workflow on three meshes in a few minutes: results/smoke/table.md
	$(BIN)/snakemake --cores $(CORES) --configfile config/smoke.yaml
	@echo; cat results/smoke/table.txt

test: env  ## the whole test suite
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n auto --maxprocesses 8 --dist loadfile

official: env  ## the official scoring packages in an environment of their own
	$(BIN)/python -m rewards.official.environment

parity: official  ## our scores against the official packages, tiny random weights (PARITY_SIZE=full: full size, too)
	TEXREWARD_PARITY=1 OMP_NUM_THREADS=1 PYTHONPATH=. $(BIN)/python -m pytest -q -rs tests/parity
	@if [ "$(PARITY_SIZE)" = full ]; then PYTHONPATH=. $(BIN)/python tests/parity/our_side.py --size full; fi

soak: env  ## the long form of the reliability tests, some hours (SOAK="--minutes 20": less): soak/figures.json
	PYTHONPATH=.:tests OMP_NUM_THREADS=1 $(BIN)/python tests/soak/soak.py --folder soak $(SOAK)

# The site has an environment of its own: it reads the sources and imports none of them.
DOCS := .venv-docs
docs:  ## the documentation site, warnings are errors: site/index.html
	@if ! cmp -s docs/requirements.txt $(DOCS)/requirements.txt; then set -e; \
	  $(PYTHON) -m venv --clear $(DOCS); \
	  $(DOCS)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps -r docs/requirements.txt; \
	  cp docs/requirements.txt $(DOCS)/requirements.txt; \
	fi
	@NO_MKDOCS_2_WARNING=1 $(DOCS)/bin/python -m mkdocs build --strict
	@echo "the documentation: site/index.html"

# Pyright is JavaScript; with the node that runs it, it fills 300 MB, which no run needs: an environment of its own.
TYPES := .venv-types
types: env  ## types of what pyproject.toml lists, by pyright
	@if ! cmp -s .ci/types.txt $(TYPES)/types.txt; then set -e; \
	  $(PYTHON) -m venv --clear $(TYPES); \
	  $(TYPES)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps -r .ci/types.txt; \
	  cp .ci/types.txt $(TYPES)/types.txt; \
	fi
	@PYRIGHT_PYTHON_IGNORE_WARNINGS=1 $(TYPES)/bin/pyright --pythonpath $(BIN)/python

# The released forms beside the functions of the paper's release, which you clone yourself (it has no licence).
fidelity: env  ## our released rewards against the published code: make fidelity CHECKOUT=../Differentiable-Texture-Learning
	@test -d "$(CHECKOUT)" || { echo "Give the checkout of the release: make fidelity CHECKOUT=../Differentiable-Texture-Learning"; exit 2; }
	TEXREWARD_PUBLISHED="$(abspath $(CHECKOUT))" OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -rs tests/fidelity

# Not made first: on a machine without a network it runs with what is there (torch 2.11 or newer).
GPU_PYTHON := $(if $(wildcard $(BIN)/python),$(BIN)/python,$(PYTHON))
gpu-check:  ## correctness and speed on one GPU in four minutes, no network: results/gpu-check.json
	PYTHONPATH=. $(GPU_PYTHON) -m benchmarks.gpu_check

lint: env  ## formatting, linters, and a dry run of every configuration
	$(BIN)/python -m pip check --disable-pip-version-check
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/snakefmt --check Snakefile workflow
	$(BIN)/snakemake --lint
	$(BIN)/python -m workflow.config check config/*.yaml
	@for config in config smoke paper as_published algorithms; do \
	  plan=$$($(BIN)/snakemake --dry-run --cores $(CORES) --configfile config/$$config.yaml 2>&1) \
	    || { echo "$$plan"; exit 1; }; \
	  echo "dry run of config/$$config.yaml: ok"; \
	done

format: env  ## rewrite the sources in the house format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/snakefmt Snakefile workflow
