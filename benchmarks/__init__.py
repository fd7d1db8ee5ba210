"""Measurements: one file a hot path, `peers.py` for the real programs to compare with; `python -m benchmarks` runs all."""
