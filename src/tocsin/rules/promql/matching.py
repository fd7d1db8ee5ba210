"""Which labels vectors have, known from the text alone, and which elements of two of them belong together.

Prometheus finds out at each evaluation that several elements match where one may; here it is refused once, because
the labels that tell series apart are fixed when the rule is compiled.
"""

from collections.abc import Iterable

from tocsin.rules.promql.leaves import attempt, refusal
from tocsin.rules.promql.names import entry_of, label_of
from tocsin.rules.promql.syntax import (
    Aggregation,
    Call,
    Grouping,
    Infix,
    Name,
    Negation,
    Node,
    Selector,
)
from tocsin.rules.refusals import QueryError, Refusal
from tocsin.rules.vector import Entry, Matching

__all__ = ["Labelling", "is_raw", "side_labels"]

_BUCKET_LABEL = "le"
_NAME_LABEL = "__name__"


class Labelling:
    """Labels of one text as entries of the rule that it belongs to."""

    def __init__(self, group_by: tuple[Entry, ...]) -> None:
        self._group_by = group_by

    def entry(self, name: Name) -> Entry:
        """Return the label that a word stands for.

        Raises:
            QueryError: it stands for none.
        """
        label = attempt(name.place, name.text, lambda: label_of(name.text, quoted=name.quoted))
        return entry_of(label, self._group_by)

    def entries(self, names: Iterable[Name]) -> tuple[Entry, ...]:
        """Return the distinct labels of some words.

        Raises:
            QueryError: some stand for none.
        """
        found: dict[Entry, None] = {}
        refused: list[Refusal] = []
        for name in names:
            try:
                found[self.entry(name)] = None
            except QueryError as error:
                refused += error.refusals
        if refused:
            raise QueryError(tuple(refused))
        return tuple(found)

    def of_series(self, tree: Node) -> tuple[Entry, ...]:
        """Return what tells series apart: the rule's own labels, then those that the text names outside matchers.

        What `group_left` and `group_right` bring over is named for the one side alone.

        Raises:
            QueryError: a word stands for no label.
        """
        named = [name for grouping in _groupings(tree) for name in grouping.labels if name.text not in _SPECIAL]
        return tuple(dict.fromkeys((*self._group_by, *self.entries(named))))

    def grouped(
        self, grouping: Grouping | None, labels: tuple[Entry, ...], *, of_buckets: bool = False
    ) -> tuple[Entry, ...]:
        """Return the labels that `by` or `without` leaves of some.

        A label of `by` that no element has is empty in all of them, so it tells nothing apart. Of buckets, `le` may
        be named.

        Raises:
            QueryError: a word stands for no label.
        """
        if grouping is None:
            return ()
        names = [name for name in grouping.labels if not (of_buckets and name.text == _BUCKET_LABEL)]
        # In the order of the argument: vectors of one text then all have their labels in one order.
        return self._chosen(names, labels, keeps=grouping.keeps)

    def _chosen(self, names: Iterable[Name], labels: tuple[Entry, ...], *, keeps: bool) -> tuple[Entry, ...]:
        # A metric's name is no label of any element, so it can be left out of them.
        named = self.entries(name for name in names if keeps or name.text != _NAME_LABEL)
        return tuple(entry for entry in labels if (entry in named) is keeps)

    def set_matching(self, infix: Infix, left: tuple[Entry, ...], right: tuple[Entry, ...]) -> tuple[Entry, ...]:
        """Return the labels in which elements of both sides have to be equal.

        Raises:
            QueryError: no two elements can be.
        """
        grouping = infix.matched.labels
        both = tuple(dict.fromkeys((*left, *right)))
        wanted = both if grouping is None else self._chosen(grouping.labels, both, keeps=grouping.keeps)
        for side, labels in (("left", left), ("right", right)):
            lacking = [entry for entry in wanted if entry not in labels]
            if lacking:
                place = infix.operator.place if grouping is None else grouping.place
                common = [entry for entry in both if entry in left and entry in right]
                on = ", ".join(entry[0] for entry in common)
                text = (
                    f"nothing matches: the {side} side has no {_listed(lacking)}; "
                    f"write {infix.operator.text} on ({on}), or aggregate both sides by the same labels"
                )
                raise refusal(place, infix.operator.text, text)
        return wanted

    def matching(self, infix: Infix, left: tuple[Entry, ...], right: tuple[Entry, ...]) -> Matching:
        """Return how an arithmetic operator or a comparison matches its sides.

        Raises:
            QueryError: no elements can match, or several match where one may.
        """
        matched = infix.matched
        wanted = self.set_matching(infix, left, right)
        include = self.entries(matched.include)
        one_side = {"left": "right", "right": "left"}.get(matched.group)
        for side, labels in (("left", left), ("right", right)):
            if matched.group == side:
                continue
            allowed = (*wanted, *include) if side == one_side else wanted
            extra = [entry for entry in labels if entry not in allowed]
            if extra:
                raise refusal(infix.operator.place, infix.operator.text, _ambiguous(infix, side, extra))
        one = {"left": right, "right": left}.get(matched.group, ())
        missing = [entry for entry in include if entry not in one]
        if missing:
            text = f"the {one_side} side has no {_listed(missing)} to give; name it in its `by`, or leave it out"
            raise refusal(matched.group_place or infix.operator.place, f"group_{matched.group}", text)
        many = {"left": left, "right": right}.get(matched.group, ())
        return Matching(wanted, matched.group, tuple(entry for entry in include if entry not in many))


_SPECIAL = (_BUCKET_LABEL, _NAME_LABEL)


def _ambiguous(infix: Infix, side: str, extra: list[Entry]) -> str:
    other = "left" if side == "left" else "right"
    advice = f"aggregate that side without {_listed(extra)}"
    if not infix.matched.group and infix.matched.labels is not None:
        advice += f", or write group_{other}"
    return f"several elements of the {side} side can match one: they differ in {_listed(extra)}; {advice}"


def _listed(entries: list[Entry]) -> str:
    return " and ".join(" or ".join(entry) for entry in entries)


def _groupings(tree: Node) -> list[Grouping]:
    match tree:
        case Negation():
            return _groupings(tree.argument)
        case Call():
            return [each for argument in tree.arguments for each in _groupings(argument)]
        case Aggregation():
            own = [] if tree.grouping is None else [tree.grouping]
            inner = [] if tree.parameter is None else _groupings(tree.parameter)
            return [*own, *inner, *_groupings(tree.argument)]
        case Infix():
            own = [] if tree.matched.labels is None else [tree.matched.labels]
            return [*_groupings(tree.left), *own, *_groupings(tree.right)]
        case _:
            return []


def side_labels(
    infix: Infix, labels: tuple[Entry, ...], labelling: Labelling
) -> tuple[tuple[Entry, ...], tuple[Entry, ...]]:
    """Return the labels of series on the left and on the right: what one side gives, the other does not have.

    Raises:
        QueryError: a word stands for no label.
    """
    matched = infix.matched
    if not matched.include:
        return labels, labels
    include = labelling.entries(matched.include)
    grouping = matched.labels
    on = labelling.entries(grouping.labels) if grouping is not None and grouping.keeps else ()
    many = tuple(entry for entry in labels if entry not in include or entry in on)
    one = tuple(dict.fromkeys((*labels, *include)))
    return (many, one) if matched.group == "left" else (one, many)


def is_raw(node: Node) -> bool:
    """Whether elements are series as they come, told apart by the rule's labels alone and not by an aggregation."""
    match node:
        case Negation():
            return is_raw(node.argument)
        case Call():
            if node.function.text in ("absent", "absent_over_time", "vector", "scalar", "histogram_quantile"):
                return False
            return any(is_raw(argument) for argument in node.arguments)
        case Aggregation():
            return node.operator.text in ("topk", "bottomk") and is_raw(node.argument)
        case Infix():
            return is_raw(node.left) or is_raw(node.right)
        case _:
            return isinstance(node, Selector)
