"""From text to a syntax tree with places: `promql_parser` reads the meaning, the text's words give the places."""

from collections.abc import Sequence
from typing import Any

import promql_parser

from tocsin.rules.promql.mistakes import syntax_error
from tocsin.rules.promql.syntax import (
    Aggregation,
    Call,
    Grouping,
    Infix,
    Literal,
    Matched,
    Matcher,
    Name,
    Negation,
    Node,
    Place,
    Selector,
    Subquery,
    Text,
    nanoseconds_of,
)
from tocsin.rules.promql.tokens import Kind, Token, tokens_of
from tocsin.rules.refusals import QueryError, Refusal

__all__ = ["read"]

_MAX_WORDS = 1000
_MAX_DEPTH = 100
_METRIC_NAME = "__name__"


def read(text: str) -> Node:
    """Return the syntax tree of a text.

    Raises:
        QueryError: it is no PromQL, or more than is taken at once.
    """
    words = tokens_of(text)
    # The parser's recursion ends the process where a text is nested some thousand times.
    if len(words) > _MAX_WORDS:
        raise QueryError((Refusal(0, len(text), "expression", _too_long(len(words))),))
    try:
        tree = promql_parser.parse(text)
    except ValueError as error:
        raise QueryError((syntax_error(text, words, str(error)),)) from error
    except BaseException as error:
        if type(error).__name__ != "PanicException":  # what a Rust library raises, no Exception
            raise
        raise QueryError((Refusal(0, len(text), "expression", "the PromQL parser can't read it"),)) from error
    return _Reader(text, words).node(tree, 0)


def _too_long(count: int) -> str:
    return f"{count} words in one expression are too many, {_MAX_WORDS} are taken; write several rules"


class _Reader:
    """Reads the parser's tree in the order of the text, a word at a time."""

    def __init__(self, text: str, words: Sequence[Token]) -> None:
        self.whole = Place(0, len(text))
        self.words = words
        self.at = 0
        self.lost = False

    def node(self, tree: Any, depth: int) -> Node:  # noqa: ANN401  # the parser's classes share no useful one
        if depth > _MAX_DEPTH:
            text = f"it is nested more than {_MAX_DEPTH} deep; write several rules, or compare parts on their own"
            raise QueryError((Refusal(self.whole.begin, self.whole.end, "expression", text),))
        match tree:
            case promql_parser.NumberLiteral():
                return self._number(tree)
            case promql_parser.StringLiteral():
                return Text(self._take(Kind.STRING))
            case promql_parser.ParenExpr():
                self._sign("(")
                inner = self.node(tree.expr, depth + 1)
                self._sign(")")
                return inner
            case promql_parser.UnaryExpr():
                begin = self._sign("-")
                argument = self.node(tree.expr, depth + 1)
                return Negation(begin.to(argument.place), argument)
            case promql_parser.VectorSelector():
                return self._selector(tree, None)
            case promql_parser.MatrixSelector():
                return self._selector(tree.vector_selector, nanoseconds_of(tree.range))
            case promql_parser.SubqueryExpr():
                return self._subquery(tree, depth)
            case promql_parser.Call():
                return self._call(tree, depth)
            case promql_parser.AggregateExpr():
                return self._aggregation(tree, depth)
            case promql_parser.BinaryExpr():
                return self._infix(tree, depth)
            case _:
                text = f"{type(tree).__name__} is no part of PromQL that rules know; write it with what docs list"
                raise QueryError((Refusal(self.whole.begin, self.whole.end, "expression", text),))

    # Words.

    def _peek(self) -> Token | None:
        return None if self.lost or self.at >= len(self.words) else self.words[self.at]

    def _next(self, *, found: bool) -> Place:
        if not found or self.lost:
            self.lost = True
            return self.whole
        word = self.words[self.at]
        self.at += 1
        return Place(word.begin, word.end)

    def _take(self, kind: Kind) -> Place:
        word = self._peek()
        return self._next(found=word is not None and word.kind is kind)

    def _sign(self, *words: str) -> Place:
        self._skip_plus(unless="+" in words)
        word = self._peek()
        return self._next(found=word is not None and word.is_word(*words))

    def _sees(self, *words: str) -> bool:
        word = self._peek()
        return word is not None and word.is_word(*words)

    def _before(self, *words: str) -> bool:
        """Whether none of these has come yet."""
        return not self.lost and self.at < len(self.words) and not self._sees(*words)

    def _skip_plus(self, *, unless: bool = False) -> None:
        """A unary plus is no node."""
        while not unless and self._sees("+"):
            self.at += 1

    # Leaves.

    def _number(self, tree: promql_parser.NumberLiteral) -> Literal:
        place: Place | None = None
        while self._sees("+", "-"):
            sign = self._sign("+", "-")
            place = place or sign
        word = self._peek()
        # Inf and NaN are numbers that look like names.
        digits = self._next(found=word is not None and word.kind in (Kind.NUMBER, Kind.NAME))
        return Literal(place.to(digits) if place else digits, float(tree.val))

    def _selector(self, tree: promql_parser.VectorSelector, range_ns: int | None) -> Selector:
        self._skip_plus()
        place: Place | None = None
        name: Name | None = None
        if tree.name is not None:
            place = self._take(Kind.NAME)
            name = Name(tree.name, place)
        labels: list[tuple[Place, Place]] = []
        if self._sees("{"):
            braces, labels = self._braces()
            place = place.to(braces) if place else braces
        place = place or self.whole
        written = list(tree.matchers.matchers)
        matchers = []
        for at, each in enumerate(written):
            spot, label = labels[at] if len(labels) == len(written) else (place, place)
            matchers.append(Matcher(spot, Name(each.name, label), _sign_of(each.op), each.value))
        named = [each for each in matchers if each.label.text == _METRIC_NAME and each.sign == "="]
        if name is None and len(named) == 1:
            # A quoted name may be any text; `__name__="…"` is one written out.
            name = Name(named[0].value, named[0].place, quoted=True)
            matchers.remove(named[0])
        range_place = None
        if range_ns is not None:
            range_place = self._take(Kind.RANGE)
            place = place.to(range_place)
        offset_place, at_place = self._modifiers()
        for modifier in (offset_place, at_place):
            place = place if modifier is None else place.to(modifier)
        return Selector(
            place,
            name,
            tuple(matchers),
            range_ns,
            range_place,
            0 if tree.offset is None else nanoseconds_of(tree.offset),
            offset_place or (None if tree.offset is None else place),
            at_place or (None if tree.at is None else place),
            bool(tree.matchers.or_matchers),
        )

    def _braces(self) -> tuple[Place, list[tuple[Place, Place]]]:
        """Return the place of `{…}`, and those of each matcher and its label."""
        begin = self._sign("{")
        found: list[tuple[Place, Place]] = []
        while self._before("}"):
            label = self._next(found=self.at < len(self.words))
            last = label
            while self._before(",", "}", "or"):
                last = self._next(found=self.at < len(self.words))
            found.append((label.to(last), label))
            if self._sees(",", "or"):
                self.at += 1
        return begin.to(self._sign("}")), found

    def _modifiers(self) -> tuple[Place | None, Place | None]:
        """Return the places of `offset …` and `@ …`."""
        offset: Place | None = None
        at: Place | None = None
        while self._sees("offset", "@"):
            is_offset = self._sees("offset")
            place = self._sign("offset", "@")
            while self._sees("-", "+"):
                self.at += 1
            if is_offset or not self._sees("start", "end"):
                place = place.to(self._take(Kind.NUMBER))
            else:
                self.at += 1
                self._sign("(")
                place = place.to(self._sign(")"))
            offset, at = (place, at) if is_offset else (offset, place)
        return offset, at

    # Nodes.

    def _subquery(self, tree: promql_parser.SubqueryExpr, depth: int) -> Subquery:
        inner = self.node(tree.expr, depth + 1)
        clause = self._take(Kind.RANGE)
        self._modifiers()
        return Subquery(inner.place.to(clause), clause)

    def _call(self, tree: promql_parser.Call, depth: int) -> Call:
        self._skip_plus()
        name = self._take(Kind.NAME)
        self._sign("(")
        arguments = []
        for each in tree.args:
            arguments.append(self.node(each, depth + 1))
            if self._sees(","):
                self.at += 1
        return Call(name.to(self._sign(")")), Name(tree.func.name, name), tuple(arguments))

    def _aggregation(self, tree: promql_parser.AggregateExpr, depth: int) -> Aggregation:
        self._skip_plus()
        name = self._take(Kind.NAME)
        before = self._grouping_place()
        self._sign("(")
        parameter = None
        if tree.param is not None:
            parameter = self.node(tree.param, depth + 1)
            self._sign(",")
        argument = self.node(tree.expr, depth + 1)
        if self._sees(","):
            self.at += 1
        end = self._sign(")")
        after = self._grouping_place()
        grouping = None
        if tree.modifier is not None:
            labels = list(tree.modifier.labels)
            spot, places = before or after or (self.whole, [])
            keeps = tree.modifier.type == promql_parser.AggModifierType.By
            grouping = Grouping(spot, keeps, self._names(labels, spot, places))
        place = name.to(after[0] if after else end)
        return Aggregation(place, Name(str(tree.op).lower(), name), argument, parameter, grouping)

    def _infix(self, tree: promql_parser.BinaryExpr, depth: int) -> Infix:
        left = self.node(tree.lhs, depth + 1)
        operator = str(tree.op).lower()
        spot = self._sign(operator)
        matched = self._matched(tree.modifier)
        right = self.node(tree.rhs, depth + 1)
        return Infix(left.place.to(right.place), Name(operator, spot), left, right, matched)

    def _matched(self, modifier: Any) -> Matched:  # noqa: ANN401  # None or the parser's
        returns_bool = self._sign("bool") if self._sees("bool") else None
        labels = self._grouping_place("on", "ignoring")
        group = self._grouping_place("group_left", "group_right", optional=True)
        fill: Place | None = None
        while self._sees("fill", "fill_left", "fill_right"):
            fill = self._sign("fill", "fill_left", "fill_right")
            while self._before(")"):
                self.at += 1
            self._sign(")")
        if modifier is None:
            return Matched(None)
        grouping = None
        if modifier.matching is not None:
            spot, places = labels or (self.whole, [])
            keeps = modifier.matching.type == promql_parser.LabelModifierType.Include
            grouping = Grouping(spot, keeps, self._names(list(modifier.matching.labels), spot, places))
        side = {
            "VectorMatchCardinality.ManyToOne": "left",
            "VectorMatchCardinality.OneToMany": "right",
        }.get(str(modifier.card), "")
        spot, places = group or (self.whole, [])
        fills = modifier.fill_values
        return Matched(
            labels=grouping,
            group=side,
            include=self._names(list(modifier.group_labels or ()), spot, places),
            group_place=spot if side else None,
            fill_place=None if fills.lhs is None and fills.rhs is None else fill or self.whole,
            bool_place=(returns_bool or self.whole) if modifier.return_bool else None,
        )

    def _grouping_place(self, *words: str, optional: bool = False) -> tuple[Place, list[tuple[Place, bool]]] | None:
        """Return the place of `by (a, b)`, and of each label with whether it is quoted; None where there is none."""
        if not self._sees(*(words or ("by", "without"))):
            return None
        begin = self._sign(*(words or ("by", "without")))
        if optional and not self._sees("("):
            return begin, []
        self._sign("(")
        labels = []
        while self._before(")"):
            quoted = self.words[self.at].kind is Kind.STRING
            labels.append((self._next(found=True), quoted))
            if self._sees(","):
                self.at += 1
        return begin.to(self._sign(")")), labels

    @staticmethod
    def _names(labels: Sequence[str], spot: Place, places: Sequence[tuple[Place, bool]]) -> tuple[Name, ...]:
        known = places if len(places) == len(labels) else [(spot, "." in label) for label in labels]
        return tuple(Name(label, place, quoted) for label, (place, quoted) in zip(labels, known, strict=True))


def _sign_of(operator: promql_parser.MatchOp) -> str:
    """Return `=`, `!=`, `=~` or `!~`; the parser's operators can't be looked up in a mapping."""
    signs = (
        (promql_parser.MatchOp.Equal, "="),
        (promql_parser.MatchOp.NotEqual, "!="),
        (promql_parser.MatchOp.Re, "=~"),
        (promql_parser.MatchOp.NotRe, "!~"),
    )
    return next(sign for known, sign in signs if known == operator)
