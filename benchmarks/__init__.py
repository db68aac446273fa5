"""Benchmarks of nirs4all_vit; they use its public names only."""
