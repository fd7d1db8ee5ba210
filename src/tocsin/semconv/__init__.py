"""Dialects to canonical columns: which attribute means what, which spans are model calls."""
