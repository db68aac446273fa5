# `make demo` and `make test` set everything up themselves.
PYTHON ?= python3
VENV := .venv
INSTALLED := $(VENV)/.installed

.PHONY: demo test bank data weights benchmark multirocket clean

# The main job; with X_BANK=DIR on real spectra.
demo: $(INSTALLED)
	$(VENV)/bin/python -m benchmarks.demo $(if $(X_BANK),--x-bank "$(X_BANK)")

# All tests; those that need the bank look for it in X_BANK (../shared/x_bank).
test: $(INSTALLED)
	$(VENV)/bin/python -m pytest $(PYTEST_ARGS)

# The tables in benchmarks/results/.
bank: $(INSTALLED)
	$(VENV)/bin/python -m benchmarks.bank $(if $(X_BANK),--x-bank "$(X_BANK)")

# One phase of the benchmark, PHASE=phase0 and the like, and its report in runs/benchmark/report/. Goes on where it was.
benchmark: $(INSTALLED)
	$(VENV)/bin/python -m benchmarks run $(or $(PHASE),phase0) --x-bank "$(or $(X_BANK),../shared/x_bank)"
	$(VENV)/bin/python -m benchmarks report

# An environment of its own for MultiRocket: aeon wants an older numpy than the one pinned here.
multirocket: .venv-multirocket/bin/python

.venv-multirocket/bin/python:
	$(PYTHON) -m venv .venv-multirocket
	.venv-multirocket/bin/python -m pip install --quiet --disable-pip-version-check 'aeon==1.6.0'

# What the data layer costs, and what the synthetic spectra are worth.
data: $(INSTALLED)
	$(VENV)/bin/python -m benchmarks.data $(if $(X_BANK),--x-bank "$(X_BANK)")
	$(VENV)/bin/python -m benchmarks.synthetic $(if $(X_BANK),--x-bank "$(X_BANK)")

# A checkpoint by the bundled one's recipe, from unlabelled spectra, into runs/: some 15 minutes on two cores. The
# bundled file is pinned by its hash in checkpoint.py; SpectralEmbedder(checkpoint=PATH) takes the new one.
weights: $(INSTALLED)
	$(VENV)/bin/python -m nirs4all_vit.pretraining --config nirs-base-v0 --data.x_bank "$(or $(X_BANK),../shared/x_bank)" --run.resume auto

$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[tests]'
	touch $@

clean:
	rm -rf $(VENV) .venv-multirocket build dist *.egg-info runs
