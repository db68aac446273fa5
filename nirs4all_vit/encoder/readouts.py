"""Names that the encoder, the embedder and the command line share; nothing heavy is imported for them."""

#: Read-outs of the encoder, each one row of fixed width per spectrum.
READOUTS = ("contrast", "compact", "mean", "cls")
#: What is read out where nothing is said.
DEFAULT_READOUT = "contrast"
