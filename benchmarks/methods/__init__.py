"""Compared methods: heads on views of the spectra."""
