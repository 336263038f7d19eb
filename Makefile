# On a fresh machine with Python 3.11 or newer: `make up` runs Shiplog, `make test` tests it.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
PYTHON ?= python3
BIN := .venv/bin
ARGS ?=
# Without cached bytecode every new process would compile its imports again.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help up test check bench faults schema lock format clean
help:  ## List the targets
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

up: .venv/ready  ## Run Shiplog on this machine, with options in ARGS="--port 9000 --data DIR"
	@exec $(BIN)/shiplog up $(ARGS)

# Three processes on two cores: tests wait for servers, deadlines and the browser. A fourth makes it no faster.
test: .venv/ready  ## Run all tests in parallel, with servers of their own
	@$(BIN)/pytest -n 3 --dist loadgroup -m "not slow" $(ARGS)

check: .venv/ready  ## Run what CI runs: format, lint, types, import contracts, tests
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(MAKE) --no-print-directory test

bench: .venv/ready  ## Compare Shiplog with the machine's limits and with peers
	@$(BIN)/python -m benchmarks $(ARGS)

faults: .venv/ready  ## Run the fault tests, briefly, or in full with ARGS="--full"
	@$(BIN)/pytest -m slow tests/faults tests/browser $(ARGS)

schema: .venv/ready  ## Write migrations/schema.sql from the migrations
	@$(BIN)/python -m tests.support.schema

lock: .venv/ready  ## Update the lock files, of Shiplog and of the benchmarks' peers
	$(BIN)/uv pip compile -q pyproject.toml --group dev --universal --upgrade --generate-hashes \
		--no-header --no-emit-index-url -o requirements.lock
	$(BIN)/uv pip compile -q benchmarks/peers/python/requirements.in --universal --upgrade --generate-hashes \
		--no-header --no-emit-index-url -o benchmarks/peers/python/requirements.lock
	! command -v npm >/dev/null || npm update --package-lock-only --ignore-scripts --prefix benchmarks/peers/node

format: .venv/ready  ## Format the code and apply fixes of the linter
	$(BIN)/ruff format . && $(BIN)/ruff check --fix .

clean:  ## Remove what this Makefile created
	rm -rf .venv .bench

.venv/ready: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Shiplog needs Python 3.11 or newer: make PYTHON=python3.12 up")'
	@echo "Setting up .venv from requirements.lock"
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@grep -A20 '^uv==' requirements.lock | sed '/^[a-z]/{/^uv==/!Q}' | grep -vE '^ *#' > .venv/uv.lock
	@$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r .venv/uv.lock
	@$(BIN)/uv pip sync -q --require-hashes requirements.lock
	@$(BIN)/uv pip install -q --no-deps --no-build-isolation -e .
	@touch $@
