# `make demo` and `make test` need Python 3.11 or newer and nothing else: both make the virtual environment they use.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: help setup demo test-fast test test-docs test-interop check coverage mutants fuzz endurance soak lowest audit docs site bench
.PHONY: dist notebooks runtime clean

help:
	@echo "make demo    the whole job on embedded pictures: pre-train, fine-tune, compare, report (about 4 minutes)"
	@echo "make test-fast  the unit tests (about 1.5 minutes)"
	@echo "make test    unit tests, parity and whole jobs (14 to 22 minutes on 2 cores)"
	@echo "make test-docs  every code block of the documents, examples, notebooks, and the site (about 14 minutes)"
	@echo "make test-interop  models exchanged with two pinned versions of transformers (about 1 minute; makes .interop once)"
	@echo "make check   style, types, import directions (about 1 minute)"
	@echo "make coverage  all tests, with the lines and branches of src/beit that they run (about 30 minutes)"
	@echo "make mutants mutation check of geometry and of a tenth of weights (about 30 minutes)"
	@echo "make fuzz    damaged files of every kind, read by everything that reads them (10 minutes; SECONDS=, SEED=)"
	@echo "make endurance  jobs of every kind, killed at every moment and compared (10 minutes; SECONDS=, SEED=)"
	@echo "make soak    a service under 64 clients: statuses, latency, memory (10 minutes; SECONDS=, SEED=)"
	@echo "make lowest  unit tests with the lowest versions that pyproject.toml allows (about 5 minutes; makes .lowest once)"
	@echo "make audit   known vulnerabilities of what is installed, asked of PyPI (about 1 minute)"
	@echo "make dist    sdist and wheel, in dist/, of the same bytes for the same commit (about 10 seconds)"
	@echo "make site    the site of docs/ in site/, with a page that runs a model in the browser (about 40 seconds)"
	@echo "make bench   all benchmarks, peers in environments of their own (20 to 40 minutes)"
	@echo "make runtime  the vendored onnxruntime-web, again from npm (about 10 seconds)"
	@echo "make notebooks  docs/notebooks executed again, with their pictures (about 3 minutes)"
	@echo "make setup   the virtual environment that the others use (1 to 2 minutes, once)"

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed; set PYTHON=..."; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.demo: pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing what the demo needs into $(VENV) (once, usually 1 minute) ..."
	$(PIP) -e '.[train]'
	@touch $@

$(VENV)/.setup: pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing everything for development into $(VENV) (once, usually 1 to 2 minutes) ..."
	$(PIP) -e '.[train,dev]'
	@command -v chromium >/dev/null || echo "No browser: the tests of the page are skipped (apt-get install chromium)."
	@touch $@ $(VENV)/.demo

setup: $(VENV)/.setup

demo: $(VENV)/.demo
	@echo "Running the demo in runs/demo (usually 4 minutes on 2 cores) ..."
	$(BIN)/beit demo --output runs/demo

# Hundreds of processes start in a test run: each would compile the package again for want of what Python keeps of it.
unexport PYTHONDONTWRITEBYTECODE

# A file goes to one worker as a whole, which makes what its tests share once; those of many tests do not come first.
PYTEST := $(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder

# Folders of other tiers alone, whose imports would take seconds of every process.
SLOWER := e2e habits interop parity

test-fast: $(VENV)/.setup
	@echo "Running the unit tests (usually 1.5 minutes on 2 cores) ..."
	$(PYTEST) -m unit $(SLOWER:%=--ignore tests/%)

test: $(VENV)/.setup
	@echo "Running unit tests, parity and whole jobs (14 to 22 minutes on 2 cores) ..."
	$(PYTEST)

test-docs: $(VENV)/.setup
	@echo "Running every code block of the documents, examples and notebooks (usually 14 minutes on 2 cores) ..."
	$(BIN)/python -m pytest -n auto --dist worksteal -m docs tests/docs

# The peers of test-interop: what they read and write is compared, so their versions are fixed.
INTEROP := 4.37.2 5.23.0

.interop/%/.setup: constraints.txt
	@echo "Installing transformers $* into .interop/$* (once, usually 1 to 2 minutes) ..."
	$(PYTHON) -m venv .interop/$*
	.interop/$*/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt torch Pillow "transformers==$*"
	@touch $@

test-interop: $(VENV)/.setup $(INTEROP:%=.interop/%/.setup)
	@echo "Exchanging models with transformers $(INTEROP) (usually 1 minute) ..."
	$(BIN)/python -m pytest -m interop tests/interop

check: $(VENV)/.setup
	@echo "Checking style, types and import directions (usually 1 minute) ..."
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/lint-imports

coverage: $(VENV)/.setup
	@echo "Running all tests and counting what they run (usually 30 minutes on 2 cores) ..."
	$(PYTEST) --timeout 900 --cov --cov-report=term

# Times in the files are those of the commit; --no-isolation builds with the hatchling that the tests build with.
dist: $(VENV)/.setup
	rm -rf dist
	SOURCE_DATE_EPOCH=$$(git log -1 --format=%ct) $(BIN)/python -m build --no-isolation
	@ls -l dist

docs: site
site: $(VENV)/.setup
	@echo "Building the site (usually 40 seconds) ..."
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict
	@echo "site/index.html is its front page."

# Without names mutmut checks every mutant of both rooms; `mutmut results` names the survivors, `mutmut show NAME` one.
mutants: $(VENV)/.setup
	@echo "Mutation check of geometry, and of every tenth mutant of weights (usually 30 minutes) ..."
	OMP_NUM_THREADS=1 $(BIN)/mutmut run --max-children 1 'beit.geometry.*' 'beit.weights.*__mutmut_*3'

# The same seed gives the same inputs and moments; without one the campaigns draw and print it.
SECONDS := 600
CAMPAIGN = --seconds $(SECONDS) $(if $(SEED),--seed $(SEED))

fuzz: $(VENV)/.setup
	@echo "Reading damaged files for $(SECONDS) s; what goes wrong is kept in runs/fuzz ..."
	$(BIN)/python -m tests.campaigns.fuzz $(CAMPAIGN)

endurance: $(VENV)/.setup
	@echo "Disturbing jobs for $(SECONDS) s; what goes wrong is kept in runs/endurance ..."
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.campaigns.endurance $(CAMPAIGN)

soak: $(VENV)/.setup
	@echo "Asking a service for $(SECONDS) s ..."
	$(BIN)/python -m tests.campaigns.soak $(CAMPAIGN)

.lowest/.setup: pyproject.toml constraints.txt tests/lowest.py | $(VENV)/.setup
	@echo "Installing the lowest versions into .lowest (once, usually 2 minutes) ..."
	$(PYTHON) -m venv .lowest
	$(BIN)/python -m tests.lowest > .lowest/lowest.txt
	.lowest/bin/python -m pip install --quiet --disable-pip-version-check -c .lowest/lowest.txt -c constraints.txt \
		-e '.[train,flax,serve,dicom,heic,remote,tiff,video]' hypothesis httpx packaging pytest pytest-rerunfailures pytest-timeout
	@touch $@

# The recorded numbers of the image processor are those of the newest Pillow; old versions of jax refuse new flags of XLA.
lowest: .lowest/.setup
	@echo "Running unit tests with the lowest versions (usually 5 minutes) ..."
	XLA_FLAGS= .lowest/bin/python -m pytest -m unit -k 'not test_recorded_case' \
		tests/config tests/image tests/hub tests/settings tests/cli

# Without --strict what PyPI does not answer for counts as sound, all of it behind a mirror. Builds are audited by their
# public versions (torch 2.13.0+cpu as 2.13.0), which PyPI knows.
audit: $(VENV)/.setup
	@echo "Asking PyPI for known vulnerabilities of what is installed (usually 1 minute) ..."
	$(BIN)/python -m pip list --disable-pip-version-check --format freeze --exclude-editable | sed 's/+.*//' > $(VENV)/installed.txt
	$(BIN)/pip-audit --strict --no-deps --disable-pip --progress-spinner off -r $(VENV)/installed.txt

bench: $(VENV)/.setup
	@echo "Running all benchmarks (usually 20 to 40 minutes on 2 cores); only ratios hold on a shared machine ..."
	$(BIN)/python benchmarks/all.py

notebooks: $(VENV)/.setup
	@echo "Executing the notebooks (usually 3 minutes) ..."
	rm -rf docs/notebooks/runs
	$(BIN)/jupytext --to ipynb docs/notebooks/*.py
	PYTHONWARNINGS='ignore:IProgress not found' OMP_NUM_THREADS=1 $(BIN)/jupyter-execute --inplace docs/notebooks/*.ipynb

# The onnxruntime that pages of `beit export --to web` bring, at the version that its runtime.json pins; needs npm.
runtime: $(VENV)/.setup
	$(BIN)/python -m tests.inference.page.fetch_runtime

clean:
	rm -rf $(VENV) .interop .lowest mutants docs/notebooks/runs site build dist
	rm -rf .pytest_cache .ruff_cache .hypothesis .import_linter_cache .coverage*
