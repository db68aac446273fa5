"""Property tests of inputs and files; ``make fuzz`` tries ten times as many cases as CI does."""
