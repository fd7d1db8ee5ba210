"""Expressions over what a SELECT's rows have: arithmetic, CASE, COALESCE and functions of numbers."""

from collections.abc import Callable
from dataclasses import dataclass

from sqlglot import exp

from tocsin.rules.sql.algebra import Level, Value, apply, both, divide, greatest, operate, without
from tocsin.rules.sql.calls import Kind, call_of
from tocsin.rules.sql.context import Context, bare
from tocsin.rules.sql.rows import FLOAT_TYPES, INTEGER_TYPES
from tocsin.rules.vector import Function, NullIf, Number, Operator, Vector, labels_of

__all__ = ["Evaluator"]

_ARITHMETIC: dict[type[exp.Expression], Operator] = {
    exp.Add: Operator.ADD,
    exp.Sub: Operator.SUB,
    exp.Mul: Operator.MUL,
}
_COMPARISONS: dict[type[exp.Expression], Operator] = {
    exp.EQ: Operator.EQ,
    exp.NEQ: Operator.NE,
    exp.GT: Operator.GT,
    exp.GTE: Operator.GTE,
    exp.LT: Operator.LT,
    exp.LTE: Operator.LTE,
}
_OPPOSITE = {
    Operator.EQ: Operator.NE,
    Operator.NE: Operator.EQ,
    Operator.GT: Operator.LTE,
    Operator.LTE: Operator.GT,
    Operator.LT: Operator.GTE,
    Operator.GTE: Operator.LT,
}
_FUNCTIONS: dict[type[exp.Expression], Function] = {
    exp.Abs: Function.ABS,
    exp.Ceil: Function.CEIL,
    exp.Floor: Function.FLOOR,
    exp.Sign: Function.SGN,
    exp.Exp: Function.EXP,
}
_LIMITED: dict[type[exp.Expression], tuple[Function, Operator]] = {
    exp.Sqrt: (Function.SQRT, Operator.GTE),
    exp.Ln: (Function.LN, Operator.GT),
    exp.Log: (Function.LOG10, Operator.GT),
}
"""Functions with no value for some numbers: they are NULL there, where PostgreSQL ends with an error."""
_MOST_DIGITS = 15


@dataclass(frozen=True, slots=True)
class Evaluator:
    """Compiles expressions over one level; `leaf` is asked for columns and aggregates."""

    context: Context
    level: Level
    leaf: Callable[[exp.Expression], Value]
    """What a column or an aggregate is.

    Raises:
        RefusedError: there is no such number here.
    """

    def value(self, node: exp.Expression) -> Value:
        """Return the vector of an expression.

        Raises:
            RefusedError: a part of it has no equivalent.
        """
        node = bare(node)
        kind = type(node)
        if kind in _ARITHMETIC:
            return operate(_ARITHMETIC[kind], self.value(node.this), self.value(node.expression))
        if kind in _FUNCTIONS and not node.args.get("decimals"):
            return apply(_FUNCTIONS[kind], self.value(node.this))
        if kind in _LIMITED:
            return self._limited(node)
        match node:
            case exp.Literal() if not node.is_string:
                return self._number(node)
            case exp.Null():
                return None
            case exp.Neg():
                return operate(Operator.MUL, self.value(node.this), Number(-1.0))
            case exp.Div() | exp.IntDiv() | exp.Mod():
                return self._quotient(node)
            case exp.Coalesce():
                return self._coalesced(node)
            case exp.Nullif():
                return self._null_if(node)
            case exp.Case() | exp.If():
                return self._case(node)
            case exp.Greatest() | exp.Least():
                return self._extreme(node)
            case exp.Round():
                return self._rounded(node)
            case exp.Cast():
                return self._cast(node)
            case _:
                return self.leaf(node)

    def truth(self, node: exp.Expression, *, negated: bool = False) -> Vector:
        """Return the rows where a condition is true; negated: where it is false. NULL is neither.

        Raises:
            RefusedError: it is no condition on numbers.
        """
        node = bare(node)
        match node:
            case exp.Not():
                return self.truth(node.this, negated=not negated)
            case exp.And() | exp.Or():
                left, right = (self.truth(each, negated=negated) for each in (node.this, node.expression))
                if isinstance(node, exp.And) is negated:
                    return self.level.either(left, right)
                return both(self.level.spread(left), right)
            case exp.Is() if isinstance(bare(node.expression), exp.Null):
                value = self._present(node.this)
                return value if bool(node.args.get("negate")) ^ negated else self.level.missing(value)
            case exp.Between():
                low = exp.GTE(this=node.this, expression=node.args["low"])
                high = exp.LTE(this=node.this.copy(), expression=node.args["high"])
                return self.truth(exp.And(this=low, expression=high), negated=negated)
            case exp.EQ() | exp.NEQ() | exp.GT() | exp.GTE() | exp.LT() | exp.LTE():
                return self._compared(node, negated=negated)
            case _:
                text = "a condition here compares numbers: =, <>, <, >, BETWEEN, IS NULL, AND, OR, NOT"
                raise self.context.refused(node, self.context.parsed.word(node), text)

    def _compared(self, node: exp.Expression, *, negated: bool) -> Vector:
        operator = _COMPARISONS[type(node)]
        operator = _OPPOSITE[operator] if negated else operator
        left, right = self.value(node.this), self.value(node.expression)
        if left is None or right is None:
            raise self.context.refused(node, "NULL", "comparing with NULL is never true; write IS NULL")
        if labels_of(left) is None and labels_of(right) is None:
            raise self.context.refused(node, "condition", "two constants are compared; compare what the query reads")
        found = operate(operator, left, right)
        return found if found is not None else self.level.zeros()

    def _present(self, node: exp.Expression) -> Vector:
        value = self.value(node)
        if value is None or labels_of(value) is None:
            raise self.context.refused(node, "IS NULL", "a constant is tested; test what the query reads")
        return value

    def _number(self, node: exp.Literal) -> Number:
        try:
            return Number(float(node.this))
        except (ValueError, OverflowError):
            text = f"{str(node.this)[:40]!r} is no number"
            raise self.context.refused(node, str(node.this)[:40], text) from None

    def _quotient(self, node: exp.Expression) -> Value:
        if isinstance(node, exp.IntDiv):
            raise self.context.refused(node, "DIV", "write FLOOR(a / b)")
        operator = Operator.MOD if isinstance(node, exp.Mod) else Operator.DIV
        left, right = self.value(node.this), self.value(node.expression)
        if isinstance(right, Number) and right.value == 0.0:
            raise self.context.refused(node.expression, "0", "this divides by zero; divide by something else")
        return divide(left, right, operator)

    def _coalesced(self, node: exp.Coalesce) -> Value:
        found = self.value(node.this)
        for each in node.expressions:
            found = self.level.filled(found, self.value(each))
        return found

    def _null_if(self, node: exp.Nullif) -> Value:
        value, other = self.value(node.this), self.value(node.expression)
        if value is None or other is None:
            return value
        if isinstance(value, Number) and isinstance(other, Number):
            return None if value.value == other.value else value
        if isinstance(other, Number):
            return NullIf(value, other.value)
        same = operate(Operator.EQ, self.level.spread(value), self.level.spread(other))
        return value if same is None else without(self.level.spread(value), same)

    def _case(self, node: exp.Case | exp.If) -> Value:
        branches = node.args.get("ifs") or [node]
        default = node.args.get("default") or node.args.get("false")
        found = None if default is None else self.value(default)
        subject = node.this if isinstance(node, exp.Case) else None
        for branch in reversed(branches):
            condition = branch.this
            if isinstance(subject, exp.Expression):
                condition = exp.EQ(this=subject.copy(), expression=branch.this)
            found = self.level.chosen(self.truth(condition), self.value(branch.args["true"]), found)
        return found

    def _extreme(self, node: exp.Greatest | exp.Least) -> Value:
        operator = Operator.GTE if isinstance(node, exp.Greatest) else Operator.LTE
        found = self.value(node.this)
        for each in node.expressions:
            found = greatest(self.level, operator, found, self.value(each))
        return found

    def _rounded(self, node: exp.Round) -> Value:
        """Halves away from zero, as SQL rounds; the engine's function rounds them upwards."""
        decimals = node.args.get("decimals")
        digits = 0
        if decimals is not None:
            number = bare(decimals)
            negative = isinstance(number, exp.Neg)
            literal = bare(number.this) if isinstance(number, exp.Neg) else number
            text = str(literal.this) if isinstance(literal, exp.Literal) and not literal.is_string else ""
            if not text.isdecimal() or int(text) > _MOST_DIGITS:
                why = f"ROUND takes a number of digits up to {_MOST_DIGITS}: ROUND(x, 2)"
                raise self.context.refused(node, "ROUND", why)
            digits = -int(text) if negative else int(text)
        value = self.value(node.this)
        size = apply(Function.ROUND, apply(Function.ABS, value), *((10.0**-digits,) if digits else ()))
        return operate(Operator.MUL, apply(Function.SGN, value), size)

    def _limited(self, node: exp.Expression) -> Value:
        function, operator = _LIMITED[type(node)]
        if node.args.get("expression") is not None:
            raise self.context.refused(node, "LOG", "a logarithm has base 10 (LOG) or e (LN) here; divide two of them")
        value = self.value(node.this)
        if value is None:
            return None
        return apply(function, operate(operator, self.level.spread(value), Number(0.0)))

    def _cast(self, node: exp.Cast) -> Value:
        if node.to.this in FLOAT_TYPES and not node.to.expressions:
            return self.value(node.this)
        call = call_of(bare(node.this), self.context)
        if node.to.this in INTEGER_TYPES and call is not None and call.kind is Kind.COUNT:
            return self.value(node.this)
        text = "a cast that changes a number is not done here; write ROUND(x, digits), FLOOR(x) or ::float"
        raise self.context.refused(node, "CAST", text)
