# Bare `make` lists the targets; `make verify` is what CI runs.

GO      ?= go
BIN     := bin
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS := -X main.version=$(VERSION)

# The packages of this module; tools and tests see the same list.
PACKAGES := ./...

.DEFAULT_GOAL := help

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## build bin/gameserverd
	$(GO) build -trimpath -ldflags '$(LDFLAGS)' -o $(BIN)/gameserverd ./cmd/gameserverd

run: build ## build and start the daemon on 127.0.0.1:5700
	$(BIN)/gameserverd serve

generate: ## write the code and pages that are made from the handlers and the config, boards and rules
	$(GO) run ./cmd/rpcgen
	$(GO) run ./cmd/dashgen

# The seed is another one for each run, which also keeps go test from answering for
# the kills of internal/crashtest out of its cache.
test: ## run all tests, with the race detector and the invariants checked
	@./scripts/test-servers.sh
	GAMESERVERD_SEED=$${GAMESERVERD_SEED:-$$(date +%s%N)} ./scripts/count-skips.sh $(GO) test -race -tags invariants -timeout 10m $(PACKAGES)

KILLS ?= 500
RUNS  ?= 1

soak: ## kill daemons and databases KILLS (500) times in each of RUNS (1) runs
	@./scripts/test-servers.sh
	NO_SKIPS=1 GAMESERVERD_KILLS=$(KILLS) ./scripts/count-skips.sh \
		$(GO) test -race -tags invariants -count=$(RUNS) -timeout 24h -v ./internal/crashtest

SEEDS ?= 20

soak-tasks: ## kill and stall workers, databases and redis under background tasks, with SEEDS (20) seeds
	@./scripts/test-servers.sh
	NO_SKIPS=1 TASKS_SEEDS=$(SEEDS) ./scripts/count-skips.sh \
		$(GO) test -race -tags invariants -count=1 -timeout 24h -v -run '^TestNothingIsLostWhateverFails$$' ./internal/tasks

FUZZTIME ?= 30s

fuzz: ## run every fuzz target for FUZZTIME (30s) each
	@for package in $$($(GO) list $(PACKAGES)); do \
		for target in $$($(GO) test -list '^Fuzz' $$package | grep '^Fuzz'); do \
			echo "$$package $$target"; \
			$(GO) test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 100x $$package || exit 1; \
		done; \
	done

fresh: ## fail when generated code, boards or rules are stale
	$(GO) run ./cmd/rpcgen -check
	$(GO) run ./cmd/dashgen -check

vet: ## gofmt, go vet, staticcheck
	@unformatted=$$(gofmt -l $$(git ls-files '*.go')); \
	if [ -n "$$unformatted" ]; then echo "gofmt -w is needed for:"; echo "$$unformatted"; exit 1; fi
	$(GO) vet -tags invariants $(PACKAGES)
	$(GO) vet $(PACKAGES)
	$(GO) tool staticcheck -tags invariants $(PACKAGES)
	$(GO) tool staticcheck $(PACKAGES)

boards-check: ## hold the boards against Grafana's types (npm)
	@./scripts/boards-check.sh

console-test: ## use the console in Chromium (docs/console.md)
	@./scripts/test-servers.sh
	$(GO) test -count=1 -v -timeout 5m ./internal/console/browser

deb: ## build the Debian package: bin/gameserverd_VERSION_ARCH.deb
	@GO=$(GO) ./scripts/deb.sh

deb-check: ## build the Debian package and check it, its units included
	@./scripts/test-servers.sh
	@GO=$(GO) ./scripts/deb-check.sh

deb-test: ## do with the package what an operator does, under systemd in a sandbox (root)
	@./scripts/test-servers.sh
	@GO=$(GO) ./scripts/deb-test.sh

verify: export NO_SKIPS := 1
verify: vet fresh build test plain boards-check deb-check ## everything that CI checks
	@echo "verify: all of it passed"

# The hot path as it ships: raw system calls, no race detector, and the tests of
# allocations that say nothing with it.
plain: ## the core's tests again, as it ships
	$(GO) test -timeout 5m ./wire ./client ./internal/loop ./internal/conn ./internal/rpc ./internal/server

bench: build ## measure against the limit server, memory per connection, rooms (docs/performance.md)
	./bench/all.sh

clean: ## remove what was built
	rm -rf $(BIN)

.PHONY: help build run generate test soak soak-tasks fuzz fresh vet verify plain bench clean boards-check deb deb-check deb-test console-test
