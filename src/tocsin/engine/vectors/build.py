"""From a tree to nodes."""

from collections.abc import Callable, Iterator

from tocsin.engine.leaf import Leaf
from tocsin.engine.vectors.combining import AbsentNode, Combined, ScalarOf, Top, VectorOf
from tocsin.engine.vectors.joins import Included, IncludedProjections, ManyToOne, MetOn, OneToOne, Side
from tocsin.engine.vectors.nodes import Applied, Filled, LeafNode, Met, Node, Nulled, Paced, Paired, WithScalar
from tocsin.engine.vectors.scalars import Clock, Constant, Scalar, ScalarFunction, ScalarPair
from tocsin.engine.vectors.spaces import Place, Space, Spaces, place_of
from tocsin.rules.vector import (
    Absent,
    Apply,
    Binary,
    Combine,
    Combining,
    Entry,
    Function,
    Logical,
    Matching,
    Now,
    NullIf,
    Number,
    Otherwise,
    Projected,
    Series,
    Vector,
    labels_of,
)

__all__ = ["Builder", "places_of"]

_OF_ONE = frozenset({Combining.SUM, Combining.AVG, Combining.MIN, Combining.MAX})
"""Of one element they are that element."""


def places_of(vector: Vector | None) -> Iterator[Place]:
    """Yield the labels of all vectors that nodes of a tree are over, in the order in which groupings have them."""
    if vector is None:
        return
    labels = labels_of(vector)
    if labels is not None:
        yield place_of(labels)
    match vector:
        case Apply():
            for each in (vector.argument, *vector.parameters):
                yield from places_of(each)
        case Binary():
            yield from places_of(vector.left)
            yield from places_of(vector.right)
            if vector.matching is not None:
                yield place_of(vector.matching.on)
                yield place_of((*vector.matching.on, *vector.matching.include))
        case Logical():
            yield from places_of(vector.left)
            yield from places_of(vector.right)
            yield place_of(vector.on)
        case Combine():
            yield from places_of(vector.argument)
            yield from places_of(vector.parameter)
            yield place_of(vector.labels)
        case Absent() | Otherwise() | NullIf() | Projected():
            yield from places_of(vector.argument)
        case Number() | Now() | Series():
            pass


class Builder:
    """Makes the nodes of one rule."""

    def __init__(self, spaces: Spaces, leaf_of: Callable[[Series], Leaf]) -> None:
        self._spaces = spaces
        self._leaf_of = leaf_of
        self._leaves: dict[Series, LeafNode] = {}

    def scalar(self, vector: Vector) -> Scalar:
        """Return the node of a scalar.

        Raises:
            ValueError: it is a vector.
        """
        match vector:
            case Number():
                return Constant(vector.value)
            case Now():
                return Clock()
            case Binary():
                return ScalarPair(vector.operator, self.scalar(vector.left), self.scalar(vector.right))
            case Apply() if vector.function is Function.SCALAR:
                return ScalarOf(self.node(vector.argument))
            case Apply():
                return ScalarFunction(vector.function, [self.scalar(v) for v in (vector.argument, *vector.parameters)])
            case _:
                raise ValueError(f"{type(vector).__name__} is no scalar")

    def node(self, vector: Vector) -> Node:
        """Return the node of a vector.

        Raises:
            ValueError: it is a scalar.
        """
        match vector:
            case Series():
                return self._leaf(vector)
            case Apply() if vector.function is Function.VECTOR:
                return VectorOf(self.scalar(vector.argument), self._spaces[()])
            case Apply():
                parameters = [self.scalar(each) for each in vector.parameters]
                return Applied(vector.function, self.node(vector.argument), parameters)
            case Binary():
                return self._binary(vector)
            case Logical():
                return self._logical(vector)
            case Combine():
                return self._combine(vector)
            case Absent():
                return AbsentNode(self.node(vector.argument), self._spaces[()])
            case Otherwise():
                argument = self.node(vector.argument)
                for node in argument.leaves():
                    if set(argument.space.place) < set(node.space.place):
                        self._spaces.projection(node.space, argument.space)
                return Filled(argument, vector.value)
            case NullIf():
                return Nulled(self.node(vector.argument), vector.value)
            case Projected():
                return Paced(self._leaf(vector.argument), vector.least_elapsed_ns)
            case Number() | Now():
                raise ValueError(f"{type(vector).__name__} is no vector")

    def _leaf(self, series: Series) -> LeafNode:
        node = self._leaves.get(series)
        if node is None:
            leaf = self._leaf_of(series)
            node = self._leaves[series] = LeafNode(series, leaf, self._spaces[leaf.key.grouping])
        return node

    def _side(self, node: Node, on: tuple[Entry, ...]) -> Side:
        return Side(node, self._spaces.projection(node.space, self._spaces[place_of(on)]))

    def _binary(self, binary: Binary) -> Node:
        operator, as_bool = binary.operator, binary.returns_bool
        if labels_of(binary.left) is None:
            right, scalar = self.node(binary.right), self.scalar(binary.left)
            return WithScalar(operator, right, scalar, scalar_first=True, returns_bool=as_bool)
        left = self.node(binary.left)
        if labels_of(binary.right) is None:
            return WithScalar(operator, left, self.scalar(binary.right), scalar_first=False, returns_bool=as_bool)
        right = self.node(binary.right)
        matching = binary.matching or Matching(labels_of(binary.left) or ())
        on = place_of(matching.on)
        if left.space is right.space and on == left.space.place:
            return Paired(operator, left, right, returns_bool=as_bool)
        sides = self._side(left, on), self._side(right, on)
        if not matching.group:
            return OneToOne(operator, *sides, returns_bool=as_bool)
        many_left = matching.group == "left"
        many, one = sides if many_left else sides[::-1]
        place = place_of((*many.node.space.place, *matching.include))
        if place == many.node.space.place:
            return ManyToOne(operator, *sides, many_left=many_left, returns_bool=as_bool)
        result, brings = self._spaces[place], self._spaces[place_of((*on, *matching.include))]
        projections = IncludedProjections(
            self._spaces.projection(result, many.node.space),
            self._spaces.projection(result, brings),
            self._spaces.projection(one.node.space, brings),
        )
        return Included(operator, sides, projections, many_left=many_left, returns_bool=as_bool)

    def _logical(self, logical: Logical) -> Node:
        left, right = self.node(logical.left), self.node(logical.right)
        if left.space is right.space and place_of(logical.on) == left.space.place:
            return Met(logical.operator, left, right)
        return MetOn(logical.operator, self._side(left, logical.on), self._side(right, logical.on))

    def _combine(self, combine: Combine) -> Node:
        argument = self.node(combine.argument)
        if combine.combining in _OF_ONE and place_of(combine.labels) == argument.space.place:
            return argument  # each group has the one member that has its labels
        target: Space = self._spaces[place_of(combine.labels)]
        projection = self._spaces.projection(argument.space, target)
        parameter = None if combine.parameter is None else self.scalar(combine.parameter)
        if combine.combining in (Combining.TOPK, Combining.BOTTOMK):
            if parameter is None:
                raise ValueError(f"{combine.combining.value} needs a number of elements")
            return Top(argument, projection, parameter, largest=combine.combining is Combining.TOPK)
        return Combined(combine.combining, argument, projection, parameter)
