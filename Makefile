# Each target works alone on a fresh clone: it makes .venv and installs what it needs, once.
PY := .venv/bin/python
STAMPS := .venv/.gpuxp
WORKERS ?= 2

.PHONY: help demo test lint conformance bench clean
.NOTPARALLEL:

help:
	@echo "make demo         the same programs with NumPy and with gpuxp, compared"
	@echo "make test         all tests"
	@echo "make lint         ruff and mypy"
	@echo "make conformance  the official array API test suite on cpu (SUITE=path of a checkout, else it is cloned)"
	@echo "make bench        gpuxp against NumPy"
	@echo "make clean        remove .venv and caches"

$(STAMPS)/%: pyproject.toml scripts/setup
	@scripts/setup $*
	@mkdir -p $(@D) && touch $@

demo: $(STAMPS)/demo
	@$(PY) -m gpuxp demo $(ARGS)

test: $(STAMPS)/test
	@OPENBLAS_NUM_THREADS=1 $(PY) -m pytest -n $(WORKERS) --dist worksteal -q tests $(ARGS)

lint: $(STAMPS)/dev
	@$(PY) -m ruff check .
	@$(PY) -m mypy

conformance: $(STAMPS)/conformance
	@$(PY) -m conformance --device cpu $(if $(SUITE),--suite "$(SUITE)") $(ARGS)

bench: $(STAMPS)/bench
	@$(PY) -m benchmarks $(ARGS)

clean:
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis
