# Tidemark needs `make` and a Python from 3.11 to 3.14; every target builds what it lacks. `make` alone lists them.
.DEFAULT_GOAL := help
.PHONY: help env demo test check bench chaos month simulate pins clean
SHELL := /bin/sh

# The first of these that can run it; say PYTHON=… to choose. Looked up only when the environment is built.
PYTHON = $(shell for p in python3 python3.13 python3.12 python3.11 python3.14; do \
	"$$p" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 14))' 2>/dev/null && echo "$$p" && exit; done; echo python3)
BIN := .venv/bin

help:  ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' Makefile

env:  ## build .venv from the pinned requirements; the command is then .venv/bin/tidemark
	@$(PYTHON) -m infra.environment

demo: env  ## bring the whole stack up, send usage, kill workers, compare every number (LOG=access.log: your own log)
	@$(BIN)/python -m infra demo $(if $(LOG),--log "$(LOG)")

test: env  ## the whole suite, on a real Kafka and ClickHouse's engine (ARGS="tests/core -x": a part of it)
	@$(BIN)/python -m pytest $(or $(ARGS),-n 2 --max-worker-restart 0)

check: env  ## ruff, mypy --strict, house tests
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/python -m pytest tests/house -q

bench: env  ## the speed goals against Kafka Streams, bare loops, Quix and stock Faust in one run (ARGS="--shapes all", --help)
	@$(BIN)/python -m tests.benchmarks $(ARGS)

chaos: env  ## kill N processes on real Kafka and compare every number (SEED=1, BROKERS=1 or 3, JSON=file)
	@$(BIN)/python -m tests.chaos --kills $(or $(N),100) --seed $(or $(SEED),1) --brokers $(or $(BROKERS),1) $(if $(JSON),--json "$(JSON)")

month: env  ## a whole month of nine customers on test clocks, under kills, every invoice line compared (SEED=1)
	@$(BIN)/python -m tests.chaos.month --seed $(or $(SEED),1) $(if $(JSON),--json "$(JSON)")

simulate: env  ## thousands of seeded disasters against the product's own code (SEEDS=10000; SEED=7 tells one step by step)
	@$(BIN)/python -m tests.simulation $(if $(SEED),--seed $(SEED),--seeds $(or $(SEEDS),10000))

# For maintainers: resolves pyproject.toml anew. Run on the oldest Python, whose extra backports carry a marker for the newest.
COMPILE = .venv-pins/bin/pip-compile --quiet --upgrade --all-build-deps --allow-unsafe --generate-hashes --strip-extras \
	--no-emit-index-url --no-emit-find-links --no-emit-trusted-host --no-header --no-annotate pyproject.toml
pins:
	python3.11 -m venv .venv-pins
	.venv-pins/bin/pip install --quiet pip-tools
	$(COMPILE) -o .venv-pins/dev.txt --extra dev
	$(COMPILE) -o .venv-pins/run.txt -c .venv-pins/dev.txt
	for f in run dev; do { head -n 2 infra/requirements/$$f.txt; grep -v -e '^#' -e '^$$' .venv-pins/$$f.txt \
		| sed 's/^\(backports-zstd==[^ ]*\) /\1 ; python_version < "3.14" /'; } > .venv-pins/out && mv .venv-pins/out infra/requirements/$$f.txt; done

clean:  ## remove caches and build leftovers; keeps .venv and every data directory
	rm -rf build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .benchmarks .venv-pins
	find topics streams sinks infra tests -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true
