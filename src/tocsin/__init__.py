"""Tocsin: the alarm bell for LLM systems."""

__all__ = ["__version__"]

__version__ = "0.1.0"
