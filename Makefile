# Platen. `make` lists the targets.

GO        ?= go
CACHE     := .cache
VERSITYGW := $(CACHE)/bin/versitygw
MINIO     := $(CACHE)/bin/minio
CLIENTS   := cmd/platen/testdata/clients/node_modules/.package-lock.json
SERVERS   := TEST_VERSITYGW=$(CURDIR)/$(VERSITYGW) TEST_MINIO=$(CURDIR)/$(MINIO)

.PHONY: help run bucket build test test/race pictures generate format lint

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z\/]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: ## Install what is missing, build, and start the server
	@scripts/install-packages run
	@$(MAKE) --no-print-directory build
	@exec bin/platen serve

bucket: $(VERSITYGW) ## Start a small S3 server with the bucket "documents" on this machine, to play with
	@mkdir -p $(CACHE)/bucket/documents
	@echo 'endpoint http://127.0.0.1:9000  path style  bucket documents  access key id platen  secret access key platen-secret'
	@ROOT_ACCESS_KEY_ID=platen ROOT_SECRET_ACCESS_KEY=platen-secret exec $(VERSITYGW) --port 127.0.0.1:9000 --quiet posix $(CURDIR)/$(CACHE)/bucket

build: ## Build bin/platen
	@scripts/check-go
	$(GO) build -trimpath -o bin/platen ./cmd/platen

test: ## Install what is missing and run all tests
	@scripts/install-packages run test
	@scripts/check-go
	@$(MAKE) --no-print-directory $(VERSITYGW) $(MINIO) $(CLIENTS)
	$(SERVERS) $(GO) test -timeout 15m ./...

test/race: ## The tests of what runs concurrently, under the race detector
	$(SERVERS) $(GO) test -race -timeout 20m ./delivery/... ./egress ./feed ./keyring ./pipeline ./resolvers ./server ./storage/...

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
