"""Inputs and files that nobody would make by hand; ``make fuzz`` tries ten times as many as CI does."""
