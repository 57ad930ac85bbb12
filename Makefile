# One verb for everything. Only Python >= 3.11, git and make are assumed.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
TESTED := $(VENV)/.tested
SOURCES = $(wildcard $(shell git ls-files --cached --others --exclude-standard 2>/dev/null))

.PHONY: demo up test again test-full check format docs bench lock clean
.DEFAULT_GOAL := demo

demo: $(STAMP) ## the main job, start to finish: a dispatch call becomes a pull request
	@$(BIN)/pullwright demo

up: $(STAMP) ## everything, staying up; prints addresses and (once) the admin key
	@$(BIN)/pullwright up

test: $(if $(AGAIN),again,$(TESTED)) ## every test of the quick level; at once when no file has changed since they passed (AGAIN=1 runs them anyway)
	@echo "passed: $$(cat $(TESTED))"

again: $(STAMP)
	@$(BIN)/pytest -q --numprocesses auto --dist loadfile
	@date -u '+%F %T UTC' > $(TESTED)

$(TESTED): $(STAMP) $(SOURCES)
	@$(MAKE) --no-print-directory again

test-full: $(STAMP) ## the long level too
	@$(BIN)/pytest -q --numprocesses auto --dist loadfile -m "full or not full"

check: $(STAMP) ## format, lint, types
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy

format: $(STAMP)
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

docs: $(STAMP) ## write the generated pages
	@$(BIN)/python -m tests.docs

bench: $(STAMP) ## ratios against bare counterparts, as a table
	@$(BIN)/python -m tests.bench

$(STAMP): requirements-dev.lock pyproject.toml
	@echo "setting up $(VENV) (about a minute, once)"
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("Python 3.11 or newer is needed; this is " + sys.version.split()[0] + ". Say: make PYTHON=python3.12 ...")'
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $(STAMP)

lock: $(STAMP) ## pin anew; needs uv (pip install uv)
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links --no-annotate --no-header pyproject.toml -o requirements.lock
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links --no-annotate --no-header --extra runner pyproject.toml -o requirements-runner.lock
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links --no-annotate --no-header --extra runner --extra dev pyproject.toml -o requirements-dev.lock
	echo "setuptools>=77" | uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links --no-annotate --no-header - -o requirements-build.lock

clean:
	rm -rf $(VENV) .data .pytest_cache .mypy_cache .ruff_cache
