"""Spectra: values and wavelength axes, tables and instrument files, alignment, checks."""
