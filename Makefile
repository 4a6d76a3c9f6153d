# The two commands of the README are `make conformance` and `make test`.
GO       ?= go
REPORT   ?= $(CURDIR)/reports/out
TIMEOUT  ?= 60m
ARGS     ?=
KEEP     ?=
# Several clusters side by side: MATRIX='iptables nftables ipv6 dual+nftables', or a set such as proxies, families or handlers.
MATRIX   ?=
# Everything so many times on one cluster: what does not end the same way each time is named.
COUNT    ?= 1
# What the clusters are made of: KUBERNETES=1.35, CONTAINERD=2.1, several separated by commas; NODE_IMAGE=REF is taken as it is.
KUBERNETES ?=
CONTAINERD ?=
NODE_IMAGE ?=
# The nodes' runtime: RUNTIME=containerd,crio,docker gives each a cluster. PARLEY_RUNTIME_BUNDLES names where their archives lie.
RUNTIME  ?=
# How long `make test` goes on beginning proofs.
PROVE_WITHIN ?= 3m
# Its linters run where it is installed; GOLANGCI=/path/to/golangci-lint names it.
GOLANGCI ?= golangci-lint
PARLEY   := $(GO) run ./framework/cmd/parley
# Everything but the conformance run itself, which needs a cluster.
UNIT     := $(GO) list ./... | grep -v /parley/tests$$

# go test holds back what a test prints; the run shows its progress on this shell's own standard error.
RUN = PARLEY_PROGRESS=/proc/$$$$/fd/2 $(GO) tool gotestsum --format pkgname --format-hide-empty-pkg --hide-summary=all \
	--junitfile $(REPORT)/gotestsum.xml -- -count=$(COUNT) -timeout $(TIMEOUT) ./tests -args -report $(REPORT) $(if $(KEEP),-keep) $(if $(MATRIX),-matrix '$(MATRIX)') \
	$(if $(KUBERNETES),-kubernetes '$(KUBERNETES)') $(if $(CONTAINERD),-containerd '$(CONTAINERD)') $(if $(NODE_IMAGE),-node-image '$(NODE_IMAGE)') \
	$(if $(RUNTIME),-runtime '$(RUNTIME)')

.PHONY: conformance prove test lint unit bench bench-matrix bench-upstream readme clean-all list doctor

conformance: $(REPORT) ## judge a cluster that is made for it
	$(RUN) $(ARGS)

prove: $(REPORT) ## the same, and prove every row able to fail
	$(RUN) -prove $(ARGS)

# Every row is judged; as many rows are proved as PROVE_WITHIN allows, in an order that the commit draws, so that
# each commit proves others first. The output and the report name those that were not.
test: lint unit $(REPORT) ## what CI runs
	$(RUN) -prove -prove-within $(PROVE_WITHIN) -prove-seed "$$(git rev-parse HEAD)" $(ARGS)

lint:
	@test -z "$$(gofmt -l . | tee /dev/stderr)" || { echo 'run gofmt -w on these files'; exit 1; }
	$(GO) vet ./...
	$(GO) tool staticcheck ./...
	@if command -v $(GOLANGCI) >/dev/null; then $(GOLANGCI) run; else echo 'lint: golangci-lint is not installed, so .golangci.yml was left out'; fi

unit: ## unit tests and the seeds of the fuzz tests
	$(GO) tool gotestsum --format pkgname --format-hide-empty-pkg -- -count=1 -timeout 15m $$($(UNIT))

BENCH = PARLEY_PROGRESS=/proc/$$$$/fd/2 $(GO) test -run '^$$' -benchtime 3s -timeout $(TIMEOUT) ./tests -args -report $(REPORT)

bench: $(REPORT) ## probes a second between two pods of a cluster that is made for it
	$(subst -benchtime,-bench Probes -benchtime,$(BENCH)) $(ARGS)

bench-matrix: $(REPORT) ## all ordered pairs of sixty pods over TCP and UDP, drawn
	$(subst -benchtime 3s,-bench Matrix -benchtime 3x,$(BENCH)) $(ARGS)

bench-upstream: ## Kubernetes' own [sig-network] conformance specs and Parley on one cluster, healthy and under four faults
	$(PARLEY) $@ --report $(REPORT)/upstream $(ARGS)

readme: ## take the README's two examples from real runs; ONLY=run or ONLY=failure takes one of them
	$(GO) run ./framework/cmd/readme $(if $(ONLY),-only $(ONLY))

list doctor:
	@$(PARLEY) $@

clean-all: ## remove everything of Parley's, also runs that still go on
	$(PARLEY) clean --all

$(REPORT):
	@mkdir -p $@
