.DEFAULT_GOAL := help
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c

EXIT ?=
CARGO ?= cargo

.PHONY: help demo test lint regress isolation drivers suites versions bench fuzz incident

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

regress: ## PostgreSQL's own regression suite, directly and through the proxy; the report is in target/regress; ARGS="marked only=rules"
	@tests/setup/packages.sh test
	$(CARGO) build --release -p reprieve
	$(CARGO) run --release -p tests --bin regress -- $(ARGS)

isolation: ## PostgreSQL's own isolation suite, directly and through the proxy; the report is in target/isolation
	@tests/setup/packages.sh test
	$(CARGO) build --release -p reprieve
	$(CARGO) run --release -p tests --bin isolation -- $(ARGS)

drivers: ## SQLAlchemy's own tests of dialects, SQL and ORM, directly and through the proxy; needs the network; ARGS="sqlalchemy-orm:test/orm/test_query.py"
	@tests/setup/packages.sh test
	$(CARGO) build --release -p reprieve
	@tests/setup/suites/run.sh $(or $(ARGS),sqlalchemy-dialect sqlalchemy-asyncpg sqlalchemy-sql sqlalchemy-orm)

suites: ## Those, and the suites of Django, Rails and drivers, directly and through the proxy; needs the network, takes hours; ARGS="rails pgx"
	@tests/setup/packages.sh test
	$(CARGO) build --release -p reprieve
	@tests/setup/suites/run.sh $(ARGS)

versions: ## The corpus and the keeper's suites on every major version of PostgreSQL; needs the network; ARGS="14 18"
	@tests/setup/packages.sh test
	@tests/setup/versions.sh $(ARGS)

fuzz: ## Random queries, ours and sqlsmith's, directly and through the proxy with tombstones underneath; ARGS="--seed 7 --queries 1000"
	@tests/setup/packages.sh test
	$(CARGO) build --release -p reprieve
	$(CARGO) run --release -p tests --bin fuzz -- $(ARGS)

incident: ## A clean-up script that deletes 87,423 accounts with 6.9 million rows, stopped by a guard; and without one, told of by the monitor and undone by one UNDELETE; SCALE=0.01
	@tests/setup/packages.sh test
	$(CARGO) build --release -p reprieve
	$(CARGO) build --release -p tests --bin incident
	REPRIEVE_BIN=$(CURDIR)/target/release/reprieve target/release/incident scale=$(or $(SCALE),1) $(ARGS)

bench: ## What the proxy costs beside haproxy and pgbouncer, by pgbench, by writes and big things, and what the rewriter costs; an hour; ARGS="rounds=5 clients=1,8,32"
	@tests/setup/packages.sh bench
	$(CARGO) build --release -p reprieve
	$(CARGO) build --release -p benches
	REPRIEVE_BIN=$(CURDIR)/target/release/reprieve target/release/throughput $(ARGS)
	REPRIEVE_BIN=$(CURDIR)/target/release/reprieve target/release/writes
	REPRIEVE_BIN=$(CURDIR)/target/release/reprieve target/release/big
	$(CARGO) bench -p benches
