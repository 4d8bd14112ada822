# Everything a fresh machine needs: `make run` and `make test`. See CONTRIBUTING.md.
ARGS ?=
FUZZ_S ?= 900
PY := .venv/bin/python

.PHONY: run test test-workerd matrix fuzz check format bench screens clients install-run install install-debian install-node lock \
	clean

run: install-run
	.venv/bin/hubferry serve $(ARGS)

test: install install-node
	scripts/clients --if-able
	$(if $(ARGS),$(PY) -m pytest $(ARGS),scripts/test)

# Every client, whoever pulled before, whatever becomes of the upstream; and tenants who ask 110,000 times for what is
# theirs and what is not. make test takes a part of both.
matrix: install install-debian clients
	HUBFERRY_MATRIX=whole $(PY) -m pytest tests/matrix/test_matrix.py tests/attacks/test_tenants.py $(ARGS)

# Ever new inputs for parsers and application, each for FUZZ_S seconds and beginning where the last hunt ended; then the
# properties with many more and ever new examples. Stop it when you like.
fuzz: install
	for target in parsers app; do mkdir -p build/fuzz/$$target && $(PY) -m tests.fuzz.hunt $$target \
		-max_total_time=$(FUZZ_S) -rss_limit_mb=1000 -max_len=4096 -artifact_prefix=build/fuzz/ build/fuzz/$$target \
		>build/fuzz/$$target.log || exit 1; done
	HUBFERRY_FUZZ=1 $(PY) -m pytest tests/properties $(ARGS)

# The Worker in Cloudflare's real runtime; it says NOT RUN where that does not start.
test-workerd: install install-node
	scripts/test-workerd $(ARGS)

check: install
	.venv/bin/ruff format --check .
	.venv/bin/ruff check .
	.venv/bin/mypy

format: install
	.venv/bin/ruff format .
	.venv/bin/ruff check --fix .

bench: install install-node
	$(PY) -m bench $(ARGS)

# Pictures of every page, in both languages, wide and narrow, light and dark: build/screens.
screens: install install-debian
	$(PY) -m tests.browser.screens $(ARGS)

# Docker 29, containerd 2, BuildKit, helm, ...: built once with Go, into a folder that every clone uses.
clients:
	scripts/clients

# What hubferry runs with, and hubferry itself; then what only its developers need.
install-run: .venv/.installed-run

install: .venv/.installed-dev

.venv/.installed-run: requirements.lock pyproject.toml scripts/install
	@scripts/install run

.venv/.installed-dev: .venv/.installed-run requirements-dev.lock
	@scripts/install dev

install-debian:
	scripts/install-debian

# Node's own programs come from Debian, so that goes first.
install-node: install install-debian
	scripts/install-node

# Rewrites both lists of packages from pyproject.toml, and the Worker's; run it after changing a dependency.
lock: install-run
	scripts/lock

clean:
	rm -rf .venv build dist src/*.egg-info tests/worker/harness/node_modules tests/worker/harness/packages \
		tests/worker/workerd/node_modules
