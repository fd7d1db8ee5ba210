"""Measurements: one file a hot path, `load/` for whole processes, `peers.py` for programs to compare with.

`python -m benchmarks` runs all of them; docs/performance.md says what is measured and how.
"""
