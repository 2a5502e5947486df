# Two commands for everyone: `make demo` and `make test`. Needed: Python 3.11 or newer, make, and a package index for pip.
# PYTHON=python3.12 chooses another Python, VENV=folder another place for the environment.
VENV ?= .venv
TOOLS ?= .venv-tools
OLDEST ?= .venv-oldest
BIN := $(VENV)/bin
PIP := -m pip install --quiet --disable-pip-version-check

# The first Python of the supported versions; else any newer one.
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11 python; do \
	"$$p" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null && echo "$$p" && exit; done; echo python3)

.PHONY: help demo test kill lint types imports test-oldest wheel clean

help:  ## Say what there is
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 20

demo: $(VENV)/.stamp-cpu  ## Process the bundled clip and say where the results are
	$(BIN)/vidfer process examples/two_faces.mp4 --output demo --overwrite

test: $(VENV)/.stamp-dev  ## Run the tests; what a missing tool makes them skip stands in the summary
	$(BIN)/python -m pytest -n 2 --dist worksteal

SHARED ?= ../shared/videos
kill: $(VENV)/.stamp-dev  ## Kill `process` 20 times on each of two real videos, one of ten minutes, and compare; takes a quarter of an hour
	$(BIN)/python tests/kill.py $(SHARED)/composite_dev.mp4 --render
	$(BIN)/python tests/kill.py $(SHARED)/WolfgangLanger_Pexels.mp4 --loop 600 --seed 2

lint: $(VENV)/.stamp-dev  ## Style and formatting
	$(BIN)/ruff check
	$(BIN)/ruff format --check

types: $(VENV)/.stamp-dev $(VENV)/.stamp-train  ## Types; needs torch for vidfer/train
	$(BIN)/mypy

# An environment of its own: import-linter and schemathesis need a newer rich than norfair 2.1 allows.
imports: $(TOOLS)/.stamp  ## Who may import whom
	PYTHONPATH=. $(TOOLS)/bin/lint-imports

test-oldest: $(OLDEST)/.stamp  ## Tracking and whole runs on numpy 1.26 and norfair 2.3 (all other tests: numpy 2, norfair 2.1)
	$(OLDEST)/bin/python -m pytest tests/contract/test_tracking.py tests/property/test_tracklets.py tests/cli/test_process.py

wheel: $(VENV)/.stamp-dev  ## Build the package into dist/
	$(BIN)/python -m pip wheel --quiet --no-deps --wheel-dir dist .

clean:  ## Remove what make made
	rm -rf $(VENV) $(TOOLS) $(OLDEST) demo dist

$(VENV)/.stamp-%: pyproject.toml constraints.txt
	@echo "Installing vidfer[$*] into $(VENV); the first time this takes some minutes."
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("vidfer needs Python 3.11 or newer, this is " + sys.version.split()[0] + ": name one with make PYTHON=...")'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python $(PIP) --constraint constraints.txt --editable '.[cpu,$*]'
	@touch $@

$(TOOLS)/.stamp: Makefile
	$(PYTHON) -m venv $(TOOLS)
	$(TOOLS)/bin/python $(PIP) import-linter==2.16 schemathesis==4.32.5
	@touch $@

$(OLDEST)/.stamp: pyproject.toml constraints-oldest.txt
	$(PYTHON) -m venv $(OLDEST)
	$(OLDEST)/bin/python $(PIP) --constraint constraints-oldest.txt --editable '.[cpu]' pytest hypothesis
	@touch $@
