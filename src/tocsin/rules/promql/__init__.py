"""PromQL as a way to write a rule: the text of `expr:` becomes an expression over windows, or is refused.

`promql_parser` says what the text means; this package finds the places of its parts, resolves names to what spans
carry, and builds the tree. Nothing is accepted that the tree does not mean.
"""

from tocsin.rules.promql.compile import CompiledExpression, compile_promql

__all__ = ["CompiledExpression", "compile_promql"]
