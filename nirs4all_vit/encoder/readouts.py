"""Names of the read-outs, shared by encoder, embedder and command line; imports nothing heavy."""

#: Read-outs of the encoder; each is one row of fixed width per spectrum.
READOUTS = ("contrast", "compact", "mean", "cls")
#: Default read-out.
DEFAULT_READOUT = "contrast"
