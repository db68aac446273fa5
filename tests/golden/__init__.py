"""What released weights gave, kept: ``python -m tests.golden`` adds what is new, and changes nothing that is there."""
