"""What a query names: only that is read of the history."""

from collections.abc import Iterator
from dataclasses import dataclass

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

__all__ = ["EVERYTHING", "Named", "named_in"]


@dataclass(frozen=True, slots=True)
class Named:
    """Names and texts of a query."""

    everything: bool
    """It has a star, or can't be read here: nothing is left out."""
    names: frozenset[str] = frozenset()
    """Identifiers, in lower case too."""
    texts: frozenset[str] = frozenset()
    """Literals that are text: they may be the keys of dimensions."""
    models: frozenset[str] = frozenset()
    """What `model_id` is compared with."""

    def has(self, name: str) -> bool:
        """Return whether the query may read a column or a dimension."""
        return self.everything or name in self.names or name.lower() in self.names or name in self.texts

    def reads(self, table: str) -> bool:
        """Return whether it may read a table."""
        return self.everything or table in self.names


EVERYTHING = Named(everything=True)


def named_in(text: str) -> Named:
    """Return what a query names; it is valid, or DuckDB will say that it is not."""
    try:
        trees = [tree for tree in sqlglot.parse(text, dialect="duckdb") if tree is not None]
    except (SqlglotError, RecursionError):
        return Named(everything=True)
    starred = any(not isinstance(star.parent, exp.Count) for tree in trees for star in tree.find_all(exp.Star))
    names = {str(each.this) for tree in trees for each in tree.find_all(exp.Identifier)}
    texts = {str(each.this) for tree in trees for each in tree.find_all(exp.Literal) if each.is_string}
    texts |= {part for tree in trees for path in tree.find_all(exp.JSONPathKey) for part in [str(path.this)]}
    models = {text for tree in trees for text in _models(tree)}
    summary = any(isinstance(tree, exp.Describe | exp.Summarize | exp.Command | exp.Show) for tree in trees)
    return Named(
        starred or summary,
        frozenset(names | {name.lower() for name in names}),
        frozenset(texts),
        frozenset(models),
    )


def _models(tree: exp.Expr) -> Iterator[str]:
    for column in tree.find_all(exp.Column):
        if column.name.lower() == "model_id" and column.parent is not None:
            yield from (str(each.this) for each in column.parent.find_all(exp.Literal) if each.is_string)
