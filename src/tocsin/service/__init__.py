"""Wiring, reload, shutdown."""
