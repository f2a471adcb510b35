# Everything here needs Go and make; `make deps` adds the system packages that
# some tests can use (Debian).
SHELL       := /bin/bash
MODULES     := $(patsubst ./%/go.mod,%,$(filter-out ./go.mod ./internal/tools/go.mod,$(shell find . -name go.mod -not -path '*/testdata/*' | sort)))
ALL         := . $(MODULES)
shows       := $(filter benchmarks examples/gateway integration/gateway integration/jaeger integration/wire,$(ALL))
waits       := $(filter integration,$(ALL))
works       := $(filter-out $(shows) $(waits),$(ALL))
BIN         := $(CURDIR)/.bin
PACKAGES    := nginx iproute2 prometheus chromium fonts-dejavu-core
FUZZTIME    ?= 30s
SEEDS       ?= 20000
FROM        ?= 1
COUNT       ?= 1
BENCHTIME   ?= 10ms
ROUNDS      ?= 40
SOAK        ?= 10m
DEATHS      ?= 200

.PHONY: test test-works test-waits test-shows check lint tools bench bench-root fuzz simulate explore faults silence soak deaths jaeger jaeger-binary deps mutants api vulnerabilities release-check api-accept suites

# A line is printed when a package is done, with its module and seconds. Failures come last,
# with their output and the seed of the shuffle, together with the skipped tests and their
# reasons. Three modules are tested at a time, since two of them mostly wait for real clocks.
# In CI it is one at a time, and no test may be skipped. Tests that only CI needs run with
# CI=true. The core's explorer runs in one goroutine, where -race has nothing to find: it comes
# first, without -race, to a depth that takes seconds. CI has gone deeper by then.
test: $(BIN)/gotestsum $(if $(filter true,$(CI)),jaeger-binary)
	$(if $(filter true,$(CI)),,go test -short ./internal/core)
	@$(MAKE) --no-print-directory -j$(if $(filter true,$(CI)),1,3) test-works test-waits test-shows

test-works test-waits test-shows: test-%:
	@set -o pipefail; log=$$(mktemp); trap 'rm -f $$log' EXIT; \
	for m in $($*); do \
		echo "== go test -race -shuffle=on ./... in $$m"; \
		(cd $$m && $(BIN)/gotestsum --format pkgname --format-hide-empty-pkg --jsonfile $$log -- \
			-race -shuffle=on -count=$(COUNT) -timeout=1h ./...) 2>&1 | sed -u "s|^|$$m: |" || exit 1; \
		if [ "$$CI" = true ] && grep -q '"Action":"skip","Package":"[^"]*","Test"' $$log; then \
			echo 'skipped in CI: see make deps'; exit 1; \
		fi; \
	done

# A quick check after a small change, in half a minute: the root package, the core and
# the format.
check:
	@fmt=$$(gofmt -l .); if [ -n "$$fmt" ]; then echo "not gofmt-ed:"; echo "$$fmt"; exit 1; fi
	go vet . ./internal/...
	go test -short . ./internal/core ./internal/gate ./internal/call ./internal/layers

# Only CI checks that integration/jaeger is tidy: that takes all of Jaeger's modules,
# 1.5 GB.
lint: tools
	@fmt=$$(gofmt -l .); if [ -n "$$fmt" ]; then echo "not gofmt-ed:"; echo "$$fmt"; exit 1; fi
	@find . -name .git -prune -o \( -name '*.go' -o -name '*.md' \) -print0 | xargs -0 $(BIN)/misspell -locale US -error
	@.ci/complexity
	@set -e; for m in $(ALL); do \
		echo "== go vet, staticcheck, go mod tidy -diff in $$m"; \
		(cd $$m && go vet ./... && $(BIN)/staticcheck ./...); \
		if [[ $$m != integration/jaeger || "$$CI" = true ]]; then (cd $$m && go mod tidy -diff); fi; \
	done
	@go -C internal/tools mod tidy -diff

# The tools that lint and api run, at the versions of internal/tools. That is a module of
# its own, so that users of the library have none of them in their module graph. go install
# rebuilds a tool only if it has to: after an upgrade of Go, too, since staticcheck must be
# built with the Go that it checks.
tools:
	@GOBIN=$(BIN) go -C internal/tools install tool

$(BIN)/gotestsum: internal/tools/go.mod
	@GOBIN=$(BIN) go -C internal/tools install gotest.tools/gotestsum && touch $@

# Everything beside its peers, which rewrites docs/benchmarks.md in under ten
# minutes on two cores. Longer samples are quieter ones.
bench:
	go run -C benchmarks . -benchtime $(BENCHTIME) -rounds $(ROUNDS)

# Only the bare transport beside respawn, for benchstat while the healthy path
# is worked on.
bench-root:
	go test -run '^$$' -bench . -benchmem -count 6 .

fuzz:
	@set -e; for p in $$(go list -f '{{.Dir}}' ./...); do \
		for f in $$(grep -hos 'func Fuzz[A-Za-z]*' $$p/*_test.go | sed 's/func //'); do \
			go test -run '^$$' -fuzz "^$$f$$" -fuzztime $(FUZZTIME) $$p; \
		done; \
	done

# More seeds than the test's own; one that fails prints the line that runs it again.
simulate:
	SEEDS=$(SEEDS) FROM=$(FROM) go test -count=1 -run '^TestSimulation$$' -timeout 0 ./internal/sim

# Every interleaving of the core's small worlds: DEPTH moves deeper than the test
# does, for at most SECS each; with EVERY=1 all sequels of all states to depth 3.
explore:
	DEPTH=$(or $(DEPTH),1) SECS=$(or $(SECS),0) EVERY=$(or $(EVERY),20) go test -count=1 -v -run '^TestExplore$$' -timeout 0 ./internal/core
	WALKS=$(or $(WALKS),2000) go test -count=1 -v -run '^TestWander$$' -timeout 0 ./internal/core

# An incident, seen in a real Jaeger. Jaeger is built before its test, which may
# not take as long: minutes the first time.
jaeger: jaeger-binary
	cd integration/jaeger && JAEGER=1 go test -count=1 -v ./...

jaeger-binary:
	cd integration/jaeger && go tool -n jaeger

# What real faults cost, bare and with respawn: rewrites the table in docs/faults.md,
# and README's rows of it.
faults:
	cd integration && go run ./cmd/faults

# What a connection costs that goes dark, on a real kernel: rewrites README's rows of
# that. It needs Linux, root, and the ip command.
silence:
	cd integration && go run ./cmd/silence

# Random faults under load. SOAK is how long, SEED repeats one.
soak:
	@set -o pipefail; cd integration && go test -count=1 -timeout=0 -v -run '^TestSoak$$' . -soak=$(SOAK) $(if $(SEED),-seed=$(SEED)) | grep -v level=

# Sessions that die with a thousand requests in flight: DEATHS that are closed, and as many cut.
deaths:
	cd integration && go test -count=1 -timeout=0 -run '^TestAThousandInFlightWhenTheirSessionDies$$' . -deaths=$(DEATHS)

# Breaks the library on purpose, one bug at a time, and shows which test notices.
mutants:
	go run ./internal/mutants

# The exported API against api/ and, once there is one, the last tag.
api: tools
	.ci/api

# Whether the tree may be released as VERSION: see .ci/release.
release-check: tools
	.ci/release $(or $(VERSION),$(error VERSION=vX.Y.Z))

# Known vulnerabilities of what the library calls.
vulnerabilities: tools
	$(BIN)/govulncheck ./...

# Writes down a change of the API that is meant.
api-accept:
	ACCEPT_API=1 go test -count=1 -run '^TestExportedAPI$$' .

# The tests of net/http, oauth2 and otelhttp with respawn between client and
# transport: what passes, and why what does not differs.
suites:
	go run -C suites .

deps:
	apt-get update -q && apt-get install -q -y --no-install-recommends $(PACKAGES)
