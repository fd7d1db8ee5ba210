"""Functions that queries of rules use and DuckDB lacks, or has with another meaning.

Buckets of time begin at multiples of their width since 1970. A sketch of one sample is the sample: merging them is a
list, and a quantile of it is exact.
"""

from typing import Final

__all__ = ["MACROS"]

MACROS: Final = """
CREATE MACRO time_bucket(width, t) AS
    make_timestamptz(
        (epoch_us(t) // (epoch(width::INTERVAL) * 1000000)::BIGINT) * (epoch(width::INTERVAL) * 1000000)::BIGINT
    );
CREATE MACRO kll_float_sketch_merge(v) AS list(v);
CREATE MACRO kll_float_sketch_get_quantile(l, q) AS list_aggregate(l, 'quantile_cont', q);
CREATE MACRO kll_float_sketch_get_n(l) AS len(l);
"""
