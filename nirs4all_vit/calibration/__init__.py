"""Calibration: from spectra and reference values to a model, its figures of merit and a report."""
