"""Spectra as they flow: values, wavelengths in nm, validity; units and axes, tables on disk, checks. Needs numpy only."""
