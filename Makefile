# Everything that is done with streamdex from a checkout. `make` alone lists it.
# Needs only make and Python 3.11 or newer; each target first brings .venv to what the locks say.

SHELL := /bin/sh
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

BIN := .venv/bin
RUN_READY := .venv/.run-ready
DEV_READY := .venv/.dev-ready
SET_UP_BY := requirements/build.lock pyproject.toml tools/environment.py

# The first interpreter that is new enough and can make environments. A version manager's shim may stand on the PATH
# and still not run, so each candidate is tried, not just looked up. PYTHON=… goes first.
CANDIDATES := $(PYTHON) python3 python3.13 python3.12 python3.11 python3.14 python
define set_up
	@for python in $(CANDIDATES); do \
	    if $$python -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
	        exec $$python tools/environment.py $(1); \
	    fi; \
	done; \
	echo "streamdex needs Python 3.11 or newer, with its venv module (Debian, Ubuntu: package python3-venv)." >&2; \
	echo "None of these is one: $(CANDIDATES). Name yours with: make PYTHON=/path/to/python3" >&2; \
	exit 1
endef

.PHONY: help
help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: demo
demo: $(RUN_READY)  ## all of streamdex in one process, on real documents; ARGS=--json for one JSON object
	@$(BIN)/streamdex demo $(ARGS)

.PHONY: test
test: lint types contracts tests  ## lint, types, contracts and all tests

.PHONY: venv
venv: $(DEV_READY)  ## make or renew .venv with everything for development

.PHONY: lint
lint: $(DEV_READY)  ## ruff: check and formatting
	$(BIN)/ruff check
	$(BIN)/ruff format --check

.PHONY: format
format: $(DEV_READY)  ## ruff: fix what it can and format
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

.PHONY: types
types: $(DEV_READY)  ## mypy, strict
	$(BIN)/mypy

.PHONY: contracts
contracts: $(DEV_READY)  ## import-linter: which package may import what
	$(BIN)/lint-imports

# Tests that need no service take all cores; those with real processes mostly wait: three files at a time, on two cores.
# What measures time or load is marked `alone`, and runs alone at the end.
NO_SERVICE := tests/unit tests/property tests/simulation tests/mutants tests/fuzz
WITH_SERVICES := $(addprefix --ignore=,$(NO_SERVICE))
ALL_CORES := -n logical --maxprocesses 8

.PHONY: tests
tests: $(DEV_READY)  ## all tests; ARGS='tests/unit -k chunk' for some
ifdef ARGS
	$(BIN)/pytest $(ARGS)
else
	$(BIN)/pytest $(ALL_CORES) $(NO_SERVICE)
	$(BIN)/pytest -n 3 --dist loadfile -m "not alone" $(WITH_SERVICES)
	$(BIN)/pytest -m alone $(WITH_SERVICES)
endif

.PHONY: quick
quick: $(DEV_READY)  ## the tests that need no service
	$(BIN)/pytest $(ALL_CORES) $(NO_SERVICE) $(ARGS)

.PHONY: serve
serve: $(RUN_READY)  ## the Jina-compatible stand-in on a local port; ARGS='--port 8000'
	$(BIN)/streamdex serve-embeddings $(ARGS)

.PHONY: lock
lock: $(DEV_READY)  ## resolve pyproject.toml into requirements/; ARGS=--upgrade for newer versions
	$(BIN)/python -m tools.locks $(ARGS)

.PHONY: docs
docs: $(DEV_READY)  ## write the tables of README.md and docs/ from the code
	$(BIN)/python -m tools.readme

.PHONY: image
image:  ## build the container image (needs Docker)
	docker build --file deploy/Dockerfile --tag streamdex .

.PHONY: clean
clean:  ## remove .venv and caches
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build dist *.egg-info

$(RUN_READY): requirements/run.lock $(SET_UP_BY)
	$(call set_up,run)
	@touch $@

$(DEV_READY): requirements/dev.lock $(SET_UP_BY)
	$(call set_up,dev)
	@touch $(RUN_READY) $@

.PHONY: bench
bench: $(DEV_READY)  ## CPU per document of the worker, beside a plain script; ARGS='--documents 100000 --profile'
	@$(BIN)/python -m bench $(ARGS)

.PHONY: chunks
chunks: $(DEV_READY)  ## how documents of all kinds are cut, and the CPU it takes, as a table; ARGS='--max-tokens 256'
	@PYTHONPATH=.:tests $(BIN)/python -m bench.chunks $(ARGS)

.PHONY: simulate
simulate: $(DEV_READY)  ## the pacing in virtual time: quota used and 429s, beside other ways, as tables
	@PYTHONPATH=.:tests $(BIN)/python -m simulation

.PHONY: chaos
chaos: $(DEV_READY)  ## faults by the thousand on real Kafka, and what came of them; MINUTES=10 SEED=7 KEEP=DIR
	@GRPC_VERBOSITY=NONE PYTHONPATH=.:tests $(BIN)/python -m chaos --minutes $(or $(MINUTES),2) \
	    $(if $(SEED),--seed $(SEED)) $(if $(KEEP),--keep $(KEEP)) $(ARGS)

ENDURE = PYTHONPATH=.:tests $(BIN)/python -m endurance

.PHONY: backpressure
backpressure: $(DEV_READY)  ## a gigabyte waits while Qdrant, then Jina, is down; MINUTES=10 of each outage
	@$(ENDURE) backpressure $(if $(MINUTES),--minutes $(MINUTES)) $(ARGS)

.PHONY: soak
soak: $(DEV_READY)  ## half an hour at full speed: memory, descriptors, tasks and CPU stay as they are; MINUTES=30
	@$(ENDURE) soak $(if $(MINUTES),--minutes $(MINUTES)) $(ARGS)

.PHONY: storm
storm: $(DEV_READY)  ## members join, leave and are killed every few seconds; MINUTES=5 ARGS='--seed 7'
	@$(ENDURE) storm $(if $(MINUTES),--minutes $(MINUTES)) $(ARGS)

.PHONY: long
long: $(DEV_READY)  ## the proof of the write protocol over many more random schedules; LONG=20000
	STREAMDEX_LONG=$(or $(LONG),20000) $(BIN)/pytest tests/property/test_index_protocol.py --timeout 0

.PHONY: mutants
mutants: $(DEV_READY)  ## deliberate bugs, and the scenario that catches each, as a table
	@PYTHONPATH=.:tests $(BIN)/python -m mutants

.PHONY: fuzz
fuzz: $(DEV_READY)  ## ten million damaged bytes through all that reads what others wrote; ARGS='--seed 1'
	@PYTHONPATH=.:tests $(BIN)/python -m fuzz $(ARGS)
