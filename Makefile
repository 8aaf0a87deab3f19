# Everything that this repository does, from nothing but Python >= 3.11, make and a package index:
#
#   make run                       a private assistant over this repository's own documentation
#   make run DOCS=~/papers         ... over a folder of yours
#   make run ARGS="--port 8917"    ... with other options of `idiolect up`
#   make test [ARGS="-k store"]    the tests
#   make lint                      style, types, import contracts
#   make bench [DATA=dir]          every benchmark beside its rival; rewrites docs/benchmarks.md
#   make bench BENCH=retrieval     one of them
#   make constraints               pin what is now installed
#   make clean                     remove the virtual environment
#
# pip's own settings are respected: on Linux, PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu avoids the CUDA
# libraries (gigabytes) that PyPI's torch depends on.

PYTHON ?= $(firstword $(foreach p,python3.11 python3.12 python3.13 python3.14 python3,$(shell command -v $(p) 2>/dev/null)))
VENV ?= .venv
DOCS ?= .
BENCH ?= all
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: run test lint bench constraints clean
.DELETE_ON_ERROR:

run: $(VENV)/.weights
	@exec $(BIN)/idiolect up $(DOCS) $(ARGS)

test: $(VENV)/.installed-dev $(VENV)/.weights
	$(BIN)/python -m pytest $(ARGS)

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(VENV)/.installed-rivals $(VENV)/.weights
	$(BIN)/python -m benchmarks $(BENCH) $(if $(DATA),--data $(DATA)) $(ARGS)

# The two models that everything starts with, into the user's cache. Should they vanish, they are fetched again on use.
$(VENV)/.weights: $(VENV)/.installed
	$(BIN)/idiolect models fetch
	@touch $@

$(VENV)/.made:
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed (set PYTHON=...)" >&2; exit 2; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "$(PYTHON) is older than Python 3.11 (set PYTHON=...)" >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.installed: $(VENV)/.made pyproject.toml constraints.txt
	$(PIP) -e .
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(PIP) -e '.[dev]'
	@touch $@

$(VENV)/.installed-rivals: $(VENV)/.installed-dev
	$(PIP) -e '.[rivals]'
	@touch $@

constraints: $(VENV)/.installed-rivals
	@echo "# Every version that the tests ran with; 'make constraints' writes this file anew." > constraints.txt
	$(BIN)/python -m pip freeze --all --exclude-editable | grep -v '^pip==' | sed 's/+cpu$$//' >> constraints.txt

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
