"""Price tables to the cost of a span: nano-USD, with where each cost comes from.

`PriceBook` fills the cost columns of a batch and explains a price; `PricesConfig` is what a user writes.
"""

from tocsin.pricing.book import PriceBook
from tocsin.pricing.config import PricesConfig
from tocsin.pricing.explanation import PriceExplanation, Usage
from tocsin.pricing.meter import MAX_CALL_NANO
from tocsin.pricing.unpriced import UnpricedModel

__all__ = ["MAX_CALL_NANO", "PriceBook", "PriceExplanation", "PricesConfig", "UnpricedModel", "Usage"]
