"""Dialects to canonical columns: which attribute means what, and which spans are model calls.

Owns the dialect table (`attributes.json`), what users add to it, and `Normalizer`, which turns decoded
columns to a `SpanBatch`. Promises that every token count means the same whoever wrote it, and that hostile
values are refused and counted, never raised.
"""

from tocsin.semconv.config import AttributesConfig
from tocsin.semconv.normalizer import Normalized, Normalizer
from tocsin.semconv.usable import Unusable

__all__ = ["AttributesConfig", "Normalized", "Normalizer", "Unusable"]
