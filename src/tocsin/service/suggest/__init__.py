"""Thresholds from history: what rules measured, and what other thresholds would have done.

`suggest` is the library call; it gives `Suggestions`, plain values that become JSON.
"""

from tocsin.service.suggest.run import suggest
from tocsin.service.suggest.suggestion import Suggestions, as_json

__all__ = ["Suggestions", "as_json", "suggest"]
