# make run and make test set themselves up; see README.md.

SHELL := /bin/bash
GO ?= go
STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2
GOVULNCHECK := golang.org/x/vuln/cmd/govulncheck@v1.8.0

.PHONY: build run test test-race bench lint clean setup-run setup-test

build:
	$(GO) build -trimpath -o bin/coffer ./cmd/coffer

setup-run:
	@.ci/setup fuse3

setup-test:
	@.ci/setup fuse3 awscli attr acl openssl rclone s3cmd restic s3fs nodejs npm

# A store in ./mnt.store, mounted on ./mnt. Its key file lies where the first
# mount says.
run: build setup-run
	@mkdir -p mnt
	@COFFER_STORE="$(CURDIR)/mnt.store" COFFER_LISTEN="$${COFFER_LISTEN:-127.0.0.1:0}" bin/coffer mount mnt
	@printf '\nTry next:\n  PATH="$$PWD/bin:$$PATH"\n  mkdir mnt/photos && cp README.md mnt/photos/\n  eval "$$(coffer env --store mnt.store)"\n  aws --endpoint-url "$$AWS_ENDPOINT_URL" s3 ls s3://photos/\n  coffer status --store mnt.store\n  coffer umount mnt\n'

# What takes longest begins first: the rest runs beside it.
test: setup-test
	COFFER_REQUIRE=1 $(GO) test -timeout 30m ./integration ./...

test-race: setup-test
	$(GO) test -race -timeout 25m ./...

bench: build
	$(GO) run ./integration/bench

lint:
	@out=$$(gofmt -l cmd crypto fs integration mount objstore); if [ -n "$$out" ]; then echo "gofmt: $$out"; exit 1; fi
	$(GO) vet ./...
	@.ci/tool $(STATICCHECK) ./...
	@.ci/tool $(GOVULNCHECK) ./...

clean:
	rm -rf bin
