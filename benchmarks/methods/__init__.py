"""Methods that are compared: heads on views of the spectra."""
