# People and CI use the same targets; `make` alone lists them. ARGS goes to the
# command behind a target: make test ARGS='-run Reclaim ./lua/...'

VERSION    ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
VERSION_IN ?= github.com/lighterman/lighterman/cmd/internal/cli.version
ARGS       ?=
MODULES    := . tools $(patsubst %/go.mod,%,$(wildcard bench/go.mod))
SHELL_FILES := $(wildcard scripts/*.sh examples/*/*.sh) .ci/run

# golangci-lint takes a minute to build, so it is kept under a name that changes
# with what it is built from.
LINT := bin/golangci-lint-$(shell { cat tools/go.sum; go env GOVERSION; } | cksum | cut -d' ' -f1)

.DEFAULT_GOAL := help
.PHONY: help build demo test race compat nemesis soak nightly check lint bench clean check-format check-vet check-shell check-tidy

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# grpcnotrace: gRPC, which Google's SDK brings along, links html/template for a page
# that nobody here serves, and with that in it the linker can leave no method out.
build: ## build worker, enqueue and lighterman into bin/, and print their sizes
	CGO_ENABLED=0 go build -tags grpcnotrace -trimpath -ldflags '-s -w -X $(VERSION_IN)=$(VERSION)' -o bin/ ./cmd/worker ./cmd/enqueue ./cmd/lighterman
	@cd bin && wc -c worker enqueue lighterman

demo: ## the show: three workers, one killed, one drained, and the proof that nothing was lost
	go run ./cmd/lighterman demo $(ARGS)

test: ## all tests, on miniredis and on a real redis-server (installed if missing)
	scripts/test.sh $(or $(ARGS),./...)

race: ## all tests under the race detector
	scripts/test.sh -race -timeout 15m $(or $(ARGS),./...)

compat: ## the tests that need a server on Redis 8 and Valkey 8 (Debian packages, not installed)
	scripts/compat.sh $(ARGS)

# Every choice of a run follows from its seed, which is its name: SEED=N RUNS=1 repeats it.
nemesis: RUNS    ?= 60
nemesis: SECONDS ?= 20
nemesis: SEED    ?= $(shell date +%s)
nemesis: ## real processes under one fault after the other: RUNS=60 SECONDS=20 SEED=random
	LIGHTERMAN_NEMESIS_RUNS=$(RUNS) LIGHTERMAN_NEMESIS_SECONDS=$(SECONDS) LIGHTERMAN_NEMESIS_SEED=$(SEED) \
		scripts/test.sh -count=1 -v -timeout 4h -run '^TestNemesis$$' $(ARGS) ./internal/e2e

soak: MINUTES ?= 30
soak: ## the nemesis beside rolling restarts, and what grows meanwhile: MINUTES=30
	LIGHTERMAN_SOAK_MINUTES=$(MINUTES) scripts/test.sh -count=1 -v -timeout $$(($(MINUTES) + 15))m -run '^TestSoak$$' ./internal/e2e

nightly: ## what is too slow or needs the network: aimock, real servers, full counts, race, fuzz, compat; ARGS=PART for one
	scripts/nightly.sh $(ARGS)

check: check-format check-vet lint check-shell check-tidy ## everything but the tests: format, vet, lint, shell, modules

lint: $(LINT) ## golangci-lint alone
	$(LINT) run $(or $(ARGS),./...)

bench: ## measure; bench/ is a module of its own
	cd bench && go run . $(ARGS)

clean: ## remove what was built, the linter too
	rm -rf bin
	rm -f *.test *.out *.prof

# -d says what is wrong; gofmt itself never fails for it.
check-format:
	@out=$$(gofmt -d .) && test -z "$$out" || { echo "$$out"; echo "gofmt: run gofmt -w ."; exit 1; }

# The tests that kill processes are built with failpoints, which no other build sees.
check-vet:
	go vet ./...
	go vet -tags failpoints ./...
	$(if $(wildcard bench/go.mod),cd bench && go vet ./...)

check-shell:
	@if command -v shellcheck >/dev/null; then shellcheck $(SHELL_FILES); \
	else echo "check-shell: SKIPPED, shellcheck is not installed"; fi

check-tidy:
	@for m in $(MODULES); do (cd $$m && go mod tidy -diff) || { echo "check-tidy: run go mod tidy in $$m"; exit 1; }; done

$(LINT):
	@echo "golangci-lint: building; kept until tools/go.sum or Go changes"
	@rm -f bin/golangci-lint*
	cd tools && go build -trimpath -o ../$@ github.com/golangci/golangci-lint/v2/cmd/golangci-lint
