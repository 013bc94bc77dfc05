# `make` lists what there is to do. Nothing is needed but Python 3.11 or newer; uv and npm are used where they are
# installed.

SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

VENV := .venv
BIN := $(VENV)/bin
RUNTIME := $(VENV)/.runtime-installed
DEV := $(VENV)/.dev-installed
PLAYGROUND := api/gateway/playground
GRAPHIQL := api/gateway/static/.installed
ARGS ?=
MINUTES ?= 10
# Test files side by side: half of their time is waiting for what they broke to come back.
WORKERS ?= 3

# Read only when the virtual environment is made. Recipes that need Python get an error that says what to do.
PYTHON ?= $(shell for name in python3 python3.14 python3.13 python3.12 python3.11 python; do \
	"$$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo "$$name" && break; done)

.PHONY: help run up down test check format bench soak lock install install-dev clean

help: ## show this help
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

run: $(RUNTIME) $(GRAPHIQL) ## start everything in one process on port 8000 (PORT=…), with a demonstration
	@exec $(BIN)/heliograph up --demo $(ARGS)

up: ## with Docker instead: start every role, PostgreSQL, RabbitMQ and Redis as containers (ARGS='--scale email=2')
	@docker/make-env
	docker compose up --build --wait $(ARGS)
	@docker/say-hello

down: ## stop what `make up` started; the data stays (ARGS=--volumes removes it)
	docker compose --profile '*' down $(ARGS)

test: $(DEV) $(GRAPHIQL) ## run all tests against real PostgreSQL, Redis and RabbitMQ (WORKERS=3, ARGS='-k name')
	$(BIN)/python -m pytest --numprocesses $(WORKERS) --dist loadfile --no-loadscope-reorder $(ARGS)

check: $(DEV) ## lint, format, types, import contracts, generated files fresh
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/heliograph schema --check
	$(BIN)/python -m api.settings_table --check

format: $(DEV) ## format the code and repair what the linter can
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

bench: $(RUNTIME) ## measure throughput and latency (ARGS='--help')
	$(BIN)/python -m bench $(ARGS)

soak: $(DEV) ## kill everything in turn under load and check every promise (MINUTES=10, ARGS='--help')
	$(BIN)/python -m tests.soak --minutes $(MINUTES) $(ARGS)

# The extra `otel` is in the runtime lock, and so in the image: seven small packages, the rest of it is there anyway.
COMPILE = uv pip compile pyproject.toml --extra otel --universal --generate-hashes --no-annotate --no-emit-index-url --quiet \
	--custom-compile-command 'make lock' $(ARGS)

lock: ## write the lock files anew after a change in pyproject.toml (needs uv; ARGS=--upgrade for newer versions)
	$(COMPILE) --group build --output-file requirements.lock
	$(COMPILE) --group build --group dev --constraints requirements.lock --output-file requirements-dev.lock

install: $(RUNTIME) $(GRAPHIQL) ## only make .venv with what running needs
install-dev: $(DEV) $(GRAPHIQL) ## only make .venv with what developing needs

clean: ## remove .venv, caches and build results (./var, the data of `make run`, stays)
	rm -rf $(VENV) $(dir $(GRAPHIQL)) tests/clients/node_modules build dist .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The one .venv serves both: the development lock holds all of the runtime lock, version for version, so neither target
# ever removes what the other has installed. A stamp file is newer than its lock once that is installed.

$(BIN)/python:
	@if [ -z "$(PYTHON)" ]; then \
		echo "Heliograph needs Python 3.11 or newer, and found none. Install one, or name it: make PYTHON=/path/to/python3" >&2; \
		exit 1; fi
	@echo "Making $(VENV)"
	@if command -v uv >/dev/null; then uv venv --quiet --clear --seed --python "$$(command -v $(PYTHON))" $(VENV); \
		else $(PYTHON) -m venv --clear $(VENV); fi

$(RUNTIME): requirements.lock pyproject.toml | $(BIN)/python
	$(call install-locked,requirements.lock)

$(DEV): requirements-dev.lock pyproject.toml | $(BIN)/python
	$(call install-locked,requirements-dev.lock)
	@touch $(RUNTIME)

# Without npm, or where it fails, this says so in one line and goes on: the page then loads GraphiQL from a CDN.
$(GRAPHIQL): $(wildcard $(PLAYGROUND)/package*.json) $(PLAYGROUND)/assets.py | $(BIN)/python
	@$(BIN)/python -m api.gateway.playground.install || true

# First what is locked, checked by hash; then Heliograph itself, built by the hatchling that the lock holds.
# pip compiles what it installs; uv is told to, or the first start would (and each one, where Python may not write).
define install-locked
	@echo "Installing $(1)"
	@if command -v uv >/dev/null; then \
		uv pip install --quiet --compile-bytecode --python $(BIN)/python --require-hashes -r $(1); \
		uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .; \
	else \
		$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $(1); \
		$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .; \
	fi
	@$(BIN)/python -m compileall -q api domain workers
	@touch $@
endef
