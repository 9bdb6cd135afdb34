# The index of everything a developer does. Needs Python 3.11 or later, make and a C library;
# everything else is installed into .venv.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
PYTEST_ARGS ?=
# Processes that run the tests beside each other, a file in one of them; 0 runs them in one process.
WORKERS ?= 2

.DEFAULT_GOAL := help
.PHONY: help dev demo demo-clean test conformance crash fuzz growth lint fix protos protos-check schema schema-check events phi-search clean python-check

help: ## Show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

python-check:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "Medfabric needs Python 3.11 or later; $(PYTHON) is $$($(PYTHON) --version 2>&1 || echo missing)."; \
	  echo "Name another one: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }

$(BIN)/python: | python-check
	$(PYTHON) -m venv $(VENV)

# The stamp is written last, so that an interrupted installation is begun again.
$(STAMP): pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade pip
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

dev: $(STAMP) ## Make .venv with everything installed

demo: $(STAMP) ## Bring up the example consortium and tell its story
	$(BIN)/python -m admin.demo

demo-clean: $(STAMP) ## Take the demo's network down and delete it
	$(BIN)/python -m admin.demo --clean

test: $(STAMP) ## Run every test
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder $(PYTEST_ARGS)

conformance: $(STAMP) ## Run the tests beside Fabric's own programs (FABRIC_BIN), at full length
	CONFORMANCE_TRANSACTIONS=10000 $(BIN)/python -m pytest -s tests/conformance $(PYTEST_ARGS)

crash: $(STAMP) ## Kill nodes under load 200 times; nothing acknowledged may be lost
	CRASH_KILLS=$${CRASH_KILLS:-200} $(BIN)/python -m pytest -s tests/journeys/test_kills.py $(PYTEST_ARGS)

growth: $(STAMP) ## Measure evaluations on ledgers of up to a million patients (GROWTH=folder, hours, 20 GB)
	$(BIN)/medfabric bench consent --patients $${PATIENTS:-10000,100000,1000000} --lean \
	  $${GROWTH:+--folder $$GROWTH}

fuzz: $(STAMP) ## Send mutants to every entry and judge random blocks, for a long time
	FUZZ_EXAMPLES=$${FUZZ_EXAMPLES:-3000} DIFFERENTIAL_BLOCKS=$${DIFFERENTIAL_BLOCKS:-2000} \
	  $(BIN)/python -m pytest tests/network/fuzz tests/network/differential $(PYTEST_ARGS)

lint: $(STAMP) protos-check schema-check ## Check style, types, floors and generated files
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

fix: $(STAMP) ## Put style right where a machine can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

protos: $(STAMP) ## Generate our messages' modules from protos/*.proto
	$(BIN)/python protos/generate.py

protos-check: $(STAMP)
	@$(BIN)/python protos/generate.py
	@git diff --exit-code --stat -- protos || { \
	  echo "the generated modules were not what protos/*.proto says; commit what changed"; exit 1; }

schema: $(STAMP) ## Generate the JSON Schema of network.yaml
	$(BIN)/python -m network.topology.schema

schema-check: $(STAMP)
	@$(BIN)/python -m network.topology.schema --print | cmp -s - network/topology/schema.json || { \
	  echo "network/topology/schema.json is not what the model says; run: make schema"; exit 1; }

events: $(STAMP) ## Generate docs/events.md from the event catalogue
	$(BIN)/python -m admin.events.catalogue > docs/events.md

phi-search: $(STAMP) ## Search what a test run left behind for patients' plaintext (FOLDER=…)
	$(BIN)/python -m tests.phi $(or $(FOLDER),$(shell $(BIN)/python -c 'import getpass, tempfile; print(f"{tempfile.gettempdir()}/pytest-of-{getpass.getuser()}")'))

clean: ## Delete what was generated, .venv included
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis build dist *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
