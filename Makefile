# Rowbell. Needs Go and make; PostgreSQL for demo and tests is taken from this machine or
# fetched (see pkg/localpg), the tools are run through the go command. The tests of
# examples/receivers need python3, node and npm besides.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

GOLANGCI_LINT := go run github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0

# Packages to work on, and more arguments for the command: make test PKG=./cdc/... ARGS='-run TestSlot'
PKG ?= ./...
ARGS ?=
FUZZTIME ?= 30s
# How many tests of a package run at once: most of them wait more than they work.
PARALLEL ?= 4
# Nothing needs a C compiler but the race detector, and what is compiled once serves for all.
CGO_ENABLED ?= 0
export CGO_ENABLED
# For the image: what builds it, what version it is (1.2.3), whose word it takes.
ENGINE ?= $(shell command -v podman || command -v buildah || echo docker)
VERSION ?=
CA_CERTIFICATES ?= /etc/ssl/certs/ca-certificates.crt
IMAGE_ARGS ?= $(if $(VERSION),--build-arg VERSION=$(VERSION)) --build-arg REVISION=$(shell git rev-parse --short=12 HEAD 2>/dev/null || echo unknown)

.PHONY: help build test race fuzz fuzz-api lint fmt bench chaos demo tour verify image image-files

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## Build bin/rowbell and compile every package
	go build ./...
	go build -o bin/rowbell ./cmd/rowbell

image: image-files ## Build the container image rowbell (ENGINE=podman|buildah|docker)
	$(ENGINE) build -t rowbell $(IMAGE_ARGS) -f deploy/Containerfile bin/image

# What the image is made of: a static binary, and the certificates of certificate
# authorities. GOARCH chooses another kind of machine.
image-files:
	mkdir -p bin/image
	CGO_ENABLED=0 GOOS=linux go build -trimpath -ldflags "-X main.version=$(VERSION)" -o bin/image/rowbell ./cmd/rowbell
	cp $(CA_CERTIFICATES) bin/image/ca-certificates.crt

test: ## Run all tests against a real PostgreSQL, with a summary (PKG=, ARGS=)
	@.ci/prerequisites
	go run ./cmd/testsum -timeout 30m -parallel $(PARALLEL) $(ARGS) $(PKG)

race: ## Run all tests under the race detector (needs a C compiler; PKG=, ARGS=)
	CGO_ENABLED=1 go run ./cmd/testsum -race -timeout 30m $(ARGS) $(PKG)

fuzz: ## Run each fuzz target for FUZZTIME (30s)
	@grep -rHo --include='*_test.go' '^func Fuzz[A-Za-z0-9_]*' . | sort | while IFS=: read -r file func; do \
		echo "== $${func#func } in $$(dirname $$file)"; \
		go test -run '^$$' -fuzz "^$${func#func }\$$" -fuzztime $(FUZZTIME) "$$(dirname $$file)"; \
	done

fuzz-api: ## Make odd requests to the API for FUZZTIME (10m); ROWBELL_SEED= repeats a run
	CGO_ENABLED=1 ROWBELL_FUZZ_API=$(if $(filter command line environment,$(origin FUZZTIME)),$(FUZZTIME),10m) \
		go test -race -count=1 -timeout 0 -run '^TestAPIFuzz$$' -v $(ARGS) ./pkg/app

lint: ## Run the linters of .golangci.yml
	$(GOLANGCI_LINT) run $(ARGS) $(PKG)

fmt: ## Format the code as lint wants it
	$(GOLANGCI_LINT) fmt

bench: ## Measure the figures of docs/benchmarks.md (ARGS=)
	go run ./cmd/rowbell-bench $(ARGS)

chaos: ## Run the fault tests with larger numbers (ROWBELL_SEED= repeats a run; ARGS=)
	ROWBELL_CHAOS=1 go run ./cmd/testsum -count=1 -timeout 120m $(ARGS) \
		$$(grep -rl --include='*_test.go' ROWBELL_CHAOS . | xargs -r dirname | sort -u)

demo: ## See Rowbell at work on a throw-away PostgreSQL (ARGS='--once')
	@go build -o bin/rowbell ./cmd/rowbell
	@exec ./bin/rowbell demo $(ARGS)

tour: ## Make the pictures of docs/tour.md and docs/guide.md anew (needs Chromium)
	ROWBELL_TOUR=$(CURDIR)/docs go test -count=1 -run '^TestTour$$' ./pkg/app/pagestest

verify: ## Check formatting, go.mod and generated files
	@unformatted=$$(gofmt -l $$(git ls-files '*.go')); \
	if [ -n "$$unformatted" ]; then echo "not formatted (gofmt -w): $$unformatted"; exit 1; fi
	go mod tidy -diff
	go vet ./...
	@before=$$(git diff | git hash-object --stdin); \
	go generate ./...; \
	if [ "$$before" != "$$(git diff | git hash-object --stdin)" ]; then git --no-pager diff --stat; echo "generated files were stale; commit what go generate ./... made"; exit 1; fi
