# Every target works in a fresh clone; `make help` lists them.

GO ?= go
FUZZTIME ?= 30s
FLAKEROUNDS ?= 20
COVERAGE ?= 90
FLAKEPACKAGES ?= .
BENCHFLAGS ?=
DRILLFLAGS ?=

GOLANGCI_LINT_VERSION := v2.15.0
GOVULNCHECK_VERSION := v1.8.0

# The library and each module nested in it. The tests of the second take longest.
MODULES := . integration $(filter-out integration,$(patsubst %/go.mod,%,$(wildcard */go.mod */*/go.mod)))

# The race detector needs a C compiler.
RACE ?= $(if $(shell command -v $(CC) 2>/dev/null),-race)

# What the tests run besides Go. A browser and Prometheus are large, so that only CI installs them, and proxies, which few have use for.
SERVERS := memcached redis-server redis-sentinel etcd $(if $(CI),chromium prometheus nginx haproxy nutcracker)

# Recorded accesses are large, and others' work: where they lie beside the repository, hit ratios are measured on them, too.
export HOLDFAST_TRACES ?= $(wildcard $(abspath $(CURDIR)/../shared/traces))

BIN := $(CURDIR)/bin
LINT := $(BIN)/golangci-lint-$(GOLANGCI_LINT_VERSION)/golangci-lint
VULN := $(BIN)/govulncheck-$(GOVULNCHECK_VERSION)/govulncheck

# each runs a command in every module and fails at the end if one has failed.
define each
@failed=; for module in $(MODULES); do \
	echo "== $$module: $(1)"; \
	(cd $$module && $(1)) || failed="$$failed $$module"; \
done; \
if [ -n "$$failed" ]; then echo "FAILED in:$$failed: $(1)" >&2; exit 1; fi
endef

.PHONY: help servers test flake check lint fmt tidy vet cross vuln fuzz cover generate bench smoke soak drill

help: ## what can be made
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-9s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

servers: ## install the programs that the tests run, as far as possible
	@bash scripts/servers.sh install $(SERVERS)

# Without what only a debugger reads, test programs are built sooner; stack traces are the same. What tests build themselves shares the cache so.
TESTFLAGS := $(strip $(GOFLAGS) -gcflags=all=-dwarf=false -ldflags=-s)
# The race detector's calls take most of the time of what is compiled for it. Without functions inlined, that is compiled in two thirds of the time,
# and the tests take no longer.
UNINLINED := '-gcflags=github.com/...=-dwarf=false -l'
test: export GOFLAGS := $(TESTFLAGS)
test: servers ## all tests of all modules, with the race detector and real servers
	$(if $(RACE),,@echo "No C compiler ($(CC)): testing without the race detector." >&2)
	bash scripts/test.sh $(MODULES) -- $(RACE) $(if $(RACE),$(UNINLINED))
	@bash scripts/servers.sh check $(SERVERS)

flake: export GOFLAGS := $(TESTFLAGS)
flake: servers ## every package's tests FLAKEROUNDS (20) times, shuffled, with a competing loop; FLAKEPACKAGES is a pattern of folders, HESITATE=1 adds naps
	HOLDFAST_REQUIRE_SERVERS=1 bash scripts/flake.sh $(FLAKEROUNDS) $(CURDIR)/flakes '$(FLAKEPACKAGES)' $(MODULES)

check: test smoke lint tidy vet cross vuln fuzz ## everything that CI checks, and fuzzing for FUZZTIME (30s) a target

lint: $(LINT) ## golangci-lint, formatting included
	$(call each,$(LINT) fmt --diff)
	$(call each,$(LINT) run ./...)

fmt: $(LINT) ## format all files
	$(call each,$(LINT) fmt)

tidy: ## is every go.mod tidy?
	$(call each,$(GO) mod tidy -diff)

vet: ## go vet
	$(call each,$(GO) vet ./...)

cross: ## does everything build on the other systems?
	$(call each,GOOS=darwin $(GO) build -o /dev/null ./... && GOOS=darwin $(GO) vet ./...)
	$(call each,GOOS=windows $(GO) build -o /dev/null ./... && GOOS=windows $(GO) vet ./...)
	GOARCH=386 CGO_ENABLED=0 $(GO) vet ./...

vuln: $(VULN) ## known vulnerabilities; an unreachable database is said and passed over
	$(call each,bash $(CURDIR)/scripts/vuln.sh $(VULN))

fuzz: ## every fuzz test for FUZZTIME (30s)
	$(call each,bash $(CURDIR)/scripts/fuzz.sh $(FUZZTIME))

generate: ## are the generated files up to date? needs the protoc that scripts/generate.sh names
	bash scripts/generate.sh $(BIN)/generate

cover: servers ## how much of each package its tests reach, by themselves
	bash scripts/cover.sh $(COVERAGE)

bench: servers ## Go benchmarks, then all comparisons, into docs/benchmarks/report.md (BENCHFLAGS=-quick: a quarter of an hour)
	$(GO) test -run '^$$' -bench . -benchmem ./...
	cd bench && $(GO) test -run '^$$' -bench . -benchmem ./breaker && $(GO) run ./report -o ../docs/benchmarks $(BENCHFLAGS)

smoke: servers ## short comparisons: are allocations and ratios far from what they are to be?
	cd bench && $(GO) run ./report -smoke

# How long all packages together meet with faults drawn by chance.
SOAK ?= 20m

soak: servers ## the long forms of tests: minutes of starvation and of random faults (SOAK=20m of them for all packages at once)
	HOLDFAST_SOAK=1 $(GO) test -count=1 -v -run 'Spinners' ./reconnectingmemcached/memcache
	cd integration && $(GO) test -race -count=1 -v -timeout 2h -run 'Soak' ./matrix -soak $(SOAK)
	$(GO) test -count=1 -v -timeout 4h -run 'Expeditions' ./reconnectingmemcached/memcache -expeditions 3000 -expedition-mutants
	HOLDFAST_SOAK=1 $(GO) test -count=1 -v -timeout 30m -run 'Soak' ./autorefresh
	$(GO) test -count=1 -timeout 1h -run 'Expeditions' ./autorefresh -expeditions 3000
	HOLDFAST_SOAK=1 $(GO) test -race -count=1 -v -timeout 90m -p 1 -run 'Mismatch' ./...
	$(GO) test -count=1 -v -timeout 4h ./sentinel/internal/follow/sim -histories 10000000 -mutants
	$(GO) test -count=1 -v -timeout 4h ./sentinel -run 'Scenarios' -scenarios 10000 -scenario-mutants
	$(GO) test -count=1 -v -timeout 4h ./sentinel -run 'RealScenarios' -scenarios 50 -scenarios-real

drill: ## the outage drill (DRILLFLAGS are its flags)
	$(GO) run ./cmd/cachedrill $(DRILLFLAGS)

$(LINT):
	GOBIN=$(@D) GOTOOLCHAIN=auto $(GO) install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI_LINT_VERSION)

$(VULN):
	GOBIN=$(@D) GOTOOLCHAIN=auto $(GO) install golang.org/x/vuln/cmd/govulncheck@$(GOVULNCHECK_VERSION)
