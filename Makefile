# Everything a person runs. Needs Python 3.11+ and make; the Rust module is built when cargo is there.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
# A file's tests stay together; more than four processes only disturb those that measure.
PYTEST := $(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile

.DEFAULT_GOAL := help
.PHONY: help install run demo test test-fast check format lint types imports native-test smoke peers bench chaos soak fuzz proto clean

help:  ## what can be made
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

install: $(STAMP)  ## the environment in .venv, with the native decoder if cargo is there

$(STAMP): pyproject.toml setup.py $(wildcard native/Cargo.toml native/src/*.rs)
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo 'installing Tocsin and what it needs into $(VENV); this takes a minute or two, once'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev,all]'
	touch $@

run: install  ## the service on config.example.yaml
	$(BIN)/tocsin serve --config config.example.yaml

demo: install  ## the story of 03:14, live in the terminal
	$(BIN)/tocsin demo

test: install  ## all tests that this machine can run
	$(PYTEST)

test-fast: install  ## the tests without the slow ones
	$(PYTEST) -m 'not slow and not peer'

check: format lint types imports native-test  ## what CI runs: format, lint, types, imports, tests with coverage, the wheel
	$(PYTEST) --cov --cov-report=term --reruns 1 -rR  # real servers on two busy cores; what was tried again is listed
	$(MAKE) smoke

format: install
	$(BIN)/ruff format --check .

lint: install
	$(BIN)/ruff check .

types: install
	$(BIN)/mypy

imports: install
	$(BIN)/lint-imports

native-test:  ## the Rust module's own tests, where cargo is
	if command -v cargo >/dev/null; then cd native && cargo test --quiet; \
	else echo 'no cargo: the Rust module is not tested'; fi

smoke: install  ## build the wheel and use it from outside the source tree
	$(BIN)/python tests/smoke.py

peers: install  ## real binaries that tests and benchmarks use (collector, PostgreSQL, Chromium), had once and cached in .peers
	$(BIN)/python -m benchmarks.peers

bench: install  ## the table of docs/performance.md; writes benchmarks/results/
	$(BIN)/python -m benchmarks

chaos: install  ## the real process under load and faults, against an oracle; FAULTS=200 SEED=…
	$(BIN)/python tests/chaos/chaos_run.py --faults $(or $(FAULTS),200) $(if $(SEED),--seed $(SEED)) $(if $(REPORT),--report docs/reliability.md)

soak: install  ## a steady load and what it takes; MINUTES=60 RATE=10000
	$(BIN)/python -m benchmarks.soak --minutes $(or $(MINUTES),60) --rate $(or $(RATE),10000)

proto: install  ## the Python of proto/, after an edit there
	proto/generate

fuzz: install  ## decoders against each other on mutated bytes; SECONDS=600
	$(BIN)/python tests/fuzz.py --seconds $(or $(SECONDS),600)

clean:
	rm -rf $(VENV) build dist target src/*.egg-info
