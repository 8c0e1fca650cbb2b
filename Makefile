.DEFAULT_GOAL := help
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c

EXIT ?=
CARGO ?= cargo

.PHONY: help demo test lint regress suites bench

help: ## This list
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /\1\t/' | awk -F '\t' '{printf "  make %-10s %s\n", $$1, $$2}'

demo: ## A shop, a fatal DELETE, and its undoing, on a private cluster; EXIT=1 ends by itself
	@tests/setup/packages.sh demo
	$(CARGO) run --release -p reprieve -- demo $(if $(EXIT),--exit)

test: ## Everything: installs what it needs, runs every suite, shows each one's count
	@tests/setup/packages.sh test
	@tests/setup/drivers.sh
	@tests/setup/run_suites.sh

lint: ## Format, clippy without warnings, the table of dependencies
	@tests/setup/packages.sh lint
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings
	$(CARGO) test -q -p tests --test architecture

regress: ## PostgreSQL's own regression suite, directly and through the proxy; the report is in target/regress
	@tests/setup/packages.sh test
	$(CARGO) build --release -p reprieve
	$(CARGO) run --release -p tests --bin regress

suites: ## Test suites of Django, SQLAlchemy and drivers, directly and through the proxy; needs the network, takes hours; ARGS="psycopg2 asyncpg"
	@tests/setup/packages.sh test
	$(CARGO) build --release -p reprieve
	@tests/setup/suites/run.sh $(ARGS)

bench: ## What the proxy costs
	@tests/setup/packages.sh demo
	$(CARGO) build --release -p reprieve
	$(CARGO) bench -p benches
