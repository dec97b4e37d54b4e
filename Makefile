# The project's recipes. `make` lists them.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help run build check test fuzz bench audit dist perf-gate perf-gate-record bench-load

TARGET_DIR := $(or $(CARGO_TARGET_DIR),target)
CLIENT_PACKAGES := gateway/server/tests/clients/crate_beta1 gateway/server/tests/clients/crate_beta9
FUZZ_SECONDS ?= 60

# One line before each step, so that a long output can be read.
step = @printf '\n\033[1m== %s\033[0m\n' '$(1)'

help: ## List the recipes
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-17s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: ## Build and start a working gateway with an app, a key and an upstream; Ctrl-C ends it
	@.ci/setup run
	$(call step,build)
	@cargo build --locked --bin portcullis
	@exec deploy/quickstart.sh $(TARGET_DIR)/debug/portcullis

build: ## Build the release binary
	@.ci/setup run
	@cargo build --release --locked --bin portcullis
	@echo 'built $(TARGET_DIR)/release/portcullis'

dist: ## Build what users get, guided by a profile, and pack it with checksums into target/dist/
	@.ci/dist

check: ## Format, lints, unit tests and the repository's own rules
	@.ci/setup run
	$(call step,format)
	@cargo fmt --all -- --check
	@for package in $(CLIENT_PACKAGES) fuzz; do cargo fmt --manifest-path $$package/Cargo.toml -- --check; done
	$(call step,lints)
	@cargo clippy --workspace --all-targets --locked -- -D warnings
	$(call step,unit tests)
	@cargo test --workspace --lib --bins --locked
	$(call step,the repository keeps its own rules)
	@cargo test --workspace --test architecture --locked

test: ## Everything, cheapest first: `check`, end-to-end tests, published clients, schedules, perf-gate, fuzzing
	@.ci/setup test
	@$(MAKE) --no-print-directory check
	$(call step,end-to-end tests and published clients)
	@cargo test --workspace --test '*' --locked
	@cargo test --workspace --doc --locked
	$(call step,threads on shared counters under thousands of schedules)
	@cargo test --package portcullis-limits --features shuttle --lib --locked under_any_schedule
	@$(MAKE) --no-print-directory perf-gate
	@$(MAKE) --no-print-directory fuzz

fuzz: ## Run every fuzz target for FUZZ_SECONDS (60)
	@.ci/setup run
	$(call step,fuzz targets for $(FUZZ_SECONDS) s each)
	@.ci/fuzz $(FUZZ_SECONDS)

perf-gate: ## Count the instructions of a decision; fails where it grew by more than 3 % past benches/perf-gate.toml
	@.ci/setup perf-gate
	$(call step,instructions per request against the committed figures)
	@cargo run --quiet --profile perf-gate --package portcullis-perf-gate --locked

perf-gate-record: ## Count again and write benches/perf-gate.toml
	@.ci/setup perf-gate
	@cargo run --quiet --profile perf-gate --package portcullis-perf-gate --locked -- --record

bench: ## Run the benchmarks; results with date and machine go to benches/results/
	@.ci/setup run
	$(call step,micro benchmarks)
	@cargo bench --package portcullis-benches --locked
	@cargo run --quiet --package portcullis-benches --bin record-results --locked
	$(call step,limiters compared)
	@cargo run --release --quiet --package portcullis-benches --bin compare-limiters --locked
	@ls -t benches/results/*.md | head -n 2

bench-load: ## Compare Portcullis with nginx, HAProxy and Envoy under load (25 minutes, an idle machine); LOAD="--help" lists what can be chosen
	@.ci/setup bench-load
	$(call step,release binaries)
	@cargo build --release --locked --bin portcullis
	@cargo build --release --locked --package portcullis-benches --bin compare-gateways
	$(call step,gateways under load)
	@$(TARGET_DIR)/release/compare-gateways $(LOAD)

audit: ## Hold the dependencies against deny.toml and the advisory database (needs the network)
	@.ci/audit
