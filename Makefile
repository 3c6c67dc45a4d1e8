# Platen. `make` lists the targets.

GO          ?= go
CACHE       := .cache
VERSITYGW   := $(CACHE)/bin/versitygw
MINIO       := $(CACHE)/bin/minio
CLIENTS     := cmd/platen/testdata/clients/node_modules/.package-lock.json
WEB         := web/dist/index.html
WEB_MODULES := web/node_modules/.package-lock.json
SERVERS     := TEST_VERSITYGW=$(CURDIR)/$(VERSITYGW) TEST_MINIO=$(CURDIR)/$(MINIO)

# What scripts/install-node brought, where it had to.
export PATH := $(CURDIR)/$(CACHE)/node/bin:$(PATH)

.PHONY: help run dev bucket build web test test/race bench chaos pictures generate format lint audit fuzz

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z\/]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: ## Install what is missing, build, and start the server
	@scripts/install-packages run
	@$(MAKE) --no-print-directory build
	@exec bin/platen serve

dev: web ## Serve the page as its sources change, before a server that runs (PLATEN_SERVER)
	cd web && npm run --silent generate && npm run --silent dev

bucket: $(VERSITYGW) ## Start a small S3 server with the bucket "documents" on this machine, to play with
	@mkdir -p $(CACHE)/bucket/documents
	@echo 'endpoint http://127.0.0.1:9000  path style  bucket documents  access key id platen  secret access key platen-secret'
	@ROOT_ACCESS_KEY_ID=platen ROOT_SECRET_ACCESS_KEY=platen-secret exec $(VERSITYGW) --port 127.0.0.1:9000 --quiet posix $(CURDIR)/$(CACHE)/bucket

build: ## Build bin/platen, with the page where Node can build it
	@scripts/check-go
	@if scripts/check-node; then $(MAKE) --no-print-directory web; else echo 'the binary is built without the page'; fi
	$(GO) build -trimpath -o bin/platen ./cmd/platen

web: $(WEB) ## Build the page

test: ## Install what is missing and run all tests
	@scripts/install-packages run test
	@scripts/check-go
	@scripts/install-node $(CACHE)/node
	@$(MAKE) --no-print-directory $(VERSITYGW) $(MINIO) $(CLIENTS) web
	cd web && npm run --silent test
	$(SERVERS) $(GO) test -timeout 20m ./...

test/race: ## The tests of what runs concurrently, under the race detector
	$(SERVERS) $(GO) test -race -timeout 20m ./delivery/... ./egress ./feed ./keyring ./pipeline ./resolvers ./server ./storage/...

bench: ## Measure against the floors, and print one table (twenty minutes; BENCH=pattern for some)
	@scripts/install-packages run test
	@scripts/bench

chaos: ## Kill nodes, browsers and databases at random under load (TEST_KILLS=200, TEST_SEED=...)
	@scripts/install-packages run test
	TEST_KILLS=$${TEST_KILLS:-200} $(GO) test -timeout 120m ./cmd/platen -run TestR9_1NothingThatWasAccepted -v -count 1

pictures: ## Make the pictures of the guides anew, from docs/examples
	@scripts/install-packages run test
	TEST_PICTURES=$(CURDIR)/docs/pictures $(GO) test ./cmd/platen -run TestTheExamplesOfTheGuidesRender -count 1

generate: ## Write the generated code anew from schema.graphqls
	$(GO) generate ./graph

format: ## Format the sources
	gofmt -w $$(git ls-files --cached --others --exclude-standard '*.go' ':!graph/*')

lint: ## Check format, vet, staticcheck, generated code and modules
	@test -z "$$(gofmt -l $$(git ls-files '*.go'))" || { echo 'not formatted: run `make format`'; gofmt -l $$(git ls-files '*.go'); exit 1; }
	$(GO) vet ./...
	$(GO) tool staticcheck ./...
	@$(MAKE) --no-print-directory generate
	@git diff --exit-code -- graph || { echo 'graph/ is not what schema.graphqls generates: commit what `make generate` wrote'; exit 1; }
	$(GO) mod tidy -diff
	$(GO) mod verify

audit: ## Licences, and known holes in what Platen is built of (GOVULNDB=folder without a network)
	@scripts/licences
	@scripts/audit

fuzz: ## Run each fuzz target for FUZZ_TIME (10s)
	@scripts/fuzz

# An S3 server with AWS's permissions, for the tests; built once, some minutes.
$(VERSITYGW):
	@echo 'building versitygw, an S3 server for the tests (once)'
	GOBIN=$(CURDIR)/$(CACHE)/bin $(GO) install github.com/versity/versitygw/cmd/versitygw@v1.8.0

# MinIO, the second opinion on what S3 is. It is run and never linked: its licence is the AGPL.
$(MINIO):
	@echo 'building MinIO, an S3 server for the tests (once)'
	GOBIN=$(CURDIR)/$(CACHE)/bin $(GO) install github.com/minio/minio@v0.0.0-20260212201848-7aac2a2c5b7c

# The JavaScript clients that people use, and the audit of GraphQL over HTTP.
$(CLIENTS): cmd/platen/testdata/clients/package-lock.json
	cd cmd/platen/testdata/clients && npm ci --no-progress --loglevel=error
	@touch $@

# The page: what is built is part of the binary, and not of the repository.
$(WEB_MODULES): web/package-lock.json web/package.json web/.npmrc
	cd web && npm ci --no-progress --loglevel=error
	@touch $@

$(WEB): $(WEB_MODULES) schema.graphqls $(shell git ls-files --cached --others --exclude-standard web ':!web/dist' ':!*.go')
	cd web && npm run --silent generate && npm run --silent check && npm run --silent build
