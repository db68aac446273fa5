# `make demo` and `make test` set everything up themselves.
PYTHON ?= python3
VENV := .venv
# Packages come without bytecode; unless it is kept, every process compiles them again (twice the time to start).
unexport PYTHONDONTWRITEBYTECODE
INSTALLED := $(VENV)/.installed

.PHONY: demo test test-all test-fast test-cuda coverage lint docs test-lowest audit fuzz bank data reproduce-checkpoint benchmark multirocket clean

# The main job; with X_BANK=DIR on real spectra.
demo: $(INSTALLED)
	$(VENV)/bin/python -m benchmarks demo $(if $(X_BANK),--x-bank "$(X_BANK)")

# All tests but the exhaustive ones, a process of one thread per core; those that need the bank look for it in X_BANK (../shared/x_bank).
test: $(INSTALLED)
	OMP_NUM_THREADS=1 $(VENV)/bin/python -m pytest --numprocesses auto --dist worksteal -m 'not exhaustive' $(PYTEST_ARGS)

test-all: $(INSTALLED)
	OMP_NUM_THREADS=1 $(VENV)/bin/python -m pytest --numprocesses auto --dist worksteal $(PYTEST_ARGS)

# What takes less than a minute.
test-fast: $(INSTALLED)
	OMP_NUM_THREADS=1 $(VENV)/bin/python -m pytest --numprocesses auto --dist worksteal -m 'not slow and not xbank' $(PYTEST_ARGS)

# What only a GPU can show, with a torch that sees one.
test-cuda: $(INSTALLED)
	$(VENV)/bin/python -m pytest -m cuda $(PYTEST_ARGS)

# Branches of the package that the tests take; new processes of theirs do not count.
coverage: $(INSTALLED)
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt pytest-cov
	OMP_NUM_THREADS=1 $(VENV)/bin/python -m pytest --numprocesses auto --dist worksteal --cov=nirs4all_vit --cov-branch --cov-report=html --cov-report=term --cov-fail-under=90 $(PYTEST_ARGS)

# Texts for readers.
PROSE := $(wildcard *.md docs/*.md benchmarks/research/*.md)

# Style, types, spelling, language; the pins are those of .pre-commit-config.yaml.
lint: $(VENV)/.lint
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/codespell
	$(VENV)/bin/proselint --config .proselintrc.json check $(PROSE)
	$(VENV)/bin/mypy

# These pages: docs/build/html/index.html. A warning is an error, and so is a link or image that does not open in a browser.
docs: $(VENV)/.docs
	cd docs && ../$(VENV)/bin/sphinx-build -W --keep-going -q -b html . build/html
	$(VENV)/bin/python -m pytest -q docs/test_site.py docs/test_report.py

$(VENV)/.lint $(VENV)/.docs: $(VENV)/.%: $(INSTALLED)
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --no-compile --constraint constraints.txt --editable '.[$*]'
	touch $@

# The same with the lowest versions of all dependencies, in an environment of its own.
test-lowest: .venv-lowest/.installed
	OMP_NUM_THREADS=1 .venv-lowest/bin/python -m pytest --numprocesses auto --dist worksteal -m 'not exhaustive' $(PYTEST_ARGS)

.venv-lowest/.installed: pyproject.toml constraints-lowest.txt
	$(PYTHON) -m venv .venv-lowest
	.venv-lowest/bin/python -m pip install --quiet --disable-pip-version-check --no-compile --constraint constraints-lowest.txt --editable '.[tests]'
	touch $@

# Known weaknesses of the pinned versions; asks a public database.
audit:
	$(PYTHON) -m venv .venv-audit
	.venv-audit/bin/python -m pip install --quiet --disable-pip-version-check 'pip-audit==2.10.1'
	.venv-audit/bin/pip-audit --requirement constraints.txt --no-deps --disable-pip

# Ten times the cases that the tests try on inputs and files, new ones each time.
fuzz: $(INSTALLED)
	FUZZ_FACTOR=10 OMP_NUM_THREADS=1 $(VENV)/bin/python -m pytest --numprocesses auto tests/fuzz $(PYTEST_ARGS)

# The tables in benchmarks/results/.
bank: $(INSTALLED)
	$(VENV)/bin/python -m benchmarks bank $(if $(X_BANK),--x-bank "$(X_BANK)")

# One phase of the benchmark, PHASE=baselines and the like, and its report in runs/benchmark/report/. Goes on where it was.
benchmark: $(INSTALLED)
	$(VENV)/bin/python -m benchmarks run $(or $(PHASE),baselines) --x-bank "$(or $(X_BANK),../shared/x_bank)"
	$(VENV)/bin/python -m benchmarks report

# An environment of its own for MultiRocket: aeon wants an older numpy than the one pinned here.
multirocket: .venv-multirocket/bin/python

.venv-multirocket/bin/python:
	$(PYTHON) -m venv .venv-multirocket
	.venv-multirocket/bin/python -m pip install --quiet --disable-pip-version-check 'aeon==1.6.0'

# What the data layer costs, and what the synthetic spectra are worth.
data: $(INSTALLED)
	$(VENV)/bin/python -m benchmarks data $(if $(X_BANK),--x-bank "$(X_BANK)")

# Train the bundled checkpoint again, on one thread, and compare the weights: the same to the last bit on the same machine.
reproduce-checkpoint: $(INSTALLED)
	OMP_NUM_THREADS=1 $(VENV)/bin/python -m benchmarks reproduce --x-bank "$(or $(X_BANK),../shared/x_bank)"

$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --no-compile --constraint constraints.txt --editable '.[tests]'
	touch $@

clean:
	rm -rf $(VENV) .venv-lowest .venv-audit .venv-multirocket build dist *.egg-info runs
