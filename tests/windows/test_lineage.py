"""Lineages against walks over a tree, in any order of arrival and any batches."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tocsin.model.batch import SpanClass
from tocsin.windows.index import mix
from tocsin.windows.lineage import Lineage

MINUTE = 60_000_000_000
NOW = 1_700_000_000 * 10**9
CALLS = (SpanClass.LLM, SpanClass.EMBEDDINGS)
BARRIERS = (SpanClass.AGENT, SpanClass.TOOL)
CLASSES = [*CALLS, *BARRIERS, SpanClass.CHAIN, SpanClass.OTHER, SpanClass.DUPLICATE]


@dataclass(frozen=True)
class Node:
    """A span; its parent's place is lower than its own, -1 for a root."""

    place: int
    parent: int
    span_class: SpanClass
    text: str | None


@st.composite
def trees(draw: st.DrawFn, classes: Sequence[SpanClass] = CLASSES, most: int = 12) -> list[Node]:
    return [
        Node(
            place,
            draw(st.integers(max(-1, place - 4), place - 1)),
            draw(st.sampled_from(classes)),
            draw(st.sampled_from([None, None, "a", "b"])),
        )
        for place in range(draw(st.integers(1, most)))
    ]


def cut(nodes: Sequence[Node], sizes: Sequence[int]) -> list[list[Node]]:
    batches: list[list[Node]] = []
    begin = 0
    while begin < len(nodes):
        size = sizes[len(batches) % len(sizes)]
        batches.append(list(nodes[begin : begin + size]))
        begin += size
    return batches


def keys_of(places: Sequence[int]) -> NDArray[np.uint64]:
    mixed = mix(np.ones(len(places), np.uint64), np.array(places, np.int64).view(np.uint64))
    return np.where(np.array(places, np.int64) < 0, np.uint64(0), mixed)


def codes_of(lineage: Lineage, texts: Sequence[str | None]) -> NDArray[np.int32]:
    named = [text for text in texts if text is not None]
    codes = dict(zip(named, lineage.texts.codes(named).tolist(), strict=False))
    return np.array([0 if text is None else codes[text] for text in texts], np.int32)


def inherited(lineage: Lineage, keys: NDArray[np.uint64], label: str) -> tuple[list[str | None], NDArray[np.bool_]]:
    codes, whole = lineage.inherited(keys, label)
    return lineage.texts.objects(codes).tolist(), whole


def feed(lineage: Lineage, batch: Sequence[Node], now: int = NOW) -> list[Node]:
    """Add spans and return those that repeat a call."""
    keys, parents = keys_of([node.place for node in batch]), keys_of([node.parent for node in batch])
    classes = np.array([node.span_class for node in batch], np.uint8)
    lineage.add(keys, parents, classes, {"agent": codes_of(lineage, [node.text for node in batch])}, now)
    repeated = lineage.repeated_calls(keys, parents, classes)
    return [node for node, is_repeated in zip(batch, repeated.tolist(), strict=True) if is_repeated]


def ancestors(nodes: Sequence[Node], node: Node) -> list[Node]:
    above = []
    while node.parent >= 0:
        node = nodes[node.parent]
        above.append(node)
    return above


def calls_above(nodes: Sequence[Node], node: Node) -> list[Node]:
    """The calls that a call is inside of, with no agent or tool between."""
    found = []
    for each in ancestors(nodes, node):
        if each.span_class in BARRIERS:
            break
        if each.span_class in CALLS:
            found.append(each)
    return found


sizes = st.lists(st.integers(1, 6), min_size=1, max_size=4)


@given(trees(), st.randoms(use_true_random=False), sizes, st.integers(0, 12))
def test_a_label_is_that_of_the_nearest_ancestor_whatever_the_order_of_arrival(
    nodes: list[Node], random: object, sizes: list[int], held_back: int
) -> None:
    order = nodes.copy()
    random.shuffle(order)  # type: ignore[attr-defined]  # a Random
    arrived, missing = order[: len(order) - held_back], set(order[len(order) - held_back :] if held_back else ())
    lineage = Lineage(["agent"])
    for batch in cut(arrived, sizes):
        feed(lineage, batch)
    texts, whole = inherited(lineage, keys_of([node.parent for node in nodes]), "agent")
    for node, text, is_whole in zip(nodes, texts, whole.tolist(), strict=True):
        wanted, gap = None, False
        for each in ancestors(nodes, node):
            gap = each in missing
            if gap or each.text is not None:
                wanted = None if gap else each.text
                break
        assert text == wanted
        if text is None:
            assert is_whole == (not gap)


@given(trees(most=20), sizes)
def test_of_nested_calls_that_end_inside_out_the_innermost_count_however_batched(
    nodes: list[Node], sizes: list[int]
) -> None:
    outer = {each for node in nodes if node.span_class in CALLS for each in calls_above(nodes, node)}
    lineage = Lineage(["agent"])
    repeated = [node for batch in cut(nodes[::-1], sizes) for node in feed(lineage, batch)]
    assert {node for node in repeated if node.span_class in CALLS} == outer


@given(trees(most=20), sizes)
def test_of_nested_calls_that_arrive_outside_in_one_by_one_the_outermost_count(
    nodes: list[Node], sizes: list[int]
) -> None:
    lineage = Lineage(["agent"])
    repeated = {node for node in nodes for node in feed(lineage, [node])}
    assert {node for node in repeated if node.span_class in CALLS} == {
        node for node in nodes if node.span_class in CALLS and calls_above(nodes, node)
    }


@given(st.integers(2, 12), sizes, st.sampled_from([SpanClass.LLM, SpanClass.CHAIN]))
def test_of_a_chain_of_calls_one_counts_whichever_way_it_arrives(depth: int, sizes: list[int], link: SpanClass) -> None:
    classes = [SpanClass.LLM if place % 2 == 0 else link for place in range(depth)]
    nodes = [Node(place, place - 1, span_class, None) for place, span_class in enumerate(classes)]
    calls = classes.count(SpanClass.LLM)
    for order in (nodes, nodes[::-1]):
        lineage = Lineage(["agent"])
        repeated = [node for batch in cut(order, sizes) for node in feed(lineage, batch)]
        assert sum(node.span_class is SpanClass.LLM for node in repeated) == calls - 1


@settings(max_examples=300)
@given(trees(most=14), st.randoms(use_true_random=False), sizes)
def test_no_call_is_lost_whatever_the_order_of_arrival(nodes: list[Node], random: object, sizes: list[int]) -> None:
    order = nodes.copy()
    random.shuffle(order)  # type: ignore[attr-defined]  # a Random
    lineage = Lineage(["agent"])
    repeated = {node for batch in cut(order, sizes) for node in feed(lineage, batch)}
    calls = [node for node in nodes if node.span_class in CALLS]
    kin = {node: set(calls_above(nodes, node)) for node in calls}
    for node in repeated & set(calls):
        related = kin[node] | {each for each in calls if node in kin[each]}
        assert related, "a call that is alone counts"
    for root in (node for node in calls if not kin[node]):
        nest = {root} | {each for each in calls if root in kin[each]}
        assert nest - repeated, "of a nest of calls at least one counts"


@given(trees([*CLASSES, SpanClass.USAGE], most=16), st.randoms(use_true_random=False), sizes)
def test_a_span_knows_of_a_call_below_it_once_all_has_arrived(
    nodes: list[Node], random: object, sizes: list[int]
) -> None:
    order = nodes.copy()
    random.shuffle(order)  # type: ignore[attr-defined]  # a Random
    lineage = Lineage(["agent"])
    for batch in cut(order, sizes):
        feed(lineage, batch)
    carrying = (*CALLS, SpanClass.USAGE)
    wanted = {each for node in nodes if node.span_class in carrying for each in ancestors(nodes, node)}
    below = lineage.has_call_below(keys_of([node.place for node in nodes]))
    assert {node for node, has in zip(nodes, below.tolist(), strict=True) if has} == wanted


def test_what_an_agent_was_billed_for_itself_is_known_to_all_above_it() -> None:
    nodes = [Node(0, -1, SpanClass.AGENT, None), Node(1, 0, SpanClass.CHAIN, None), Node(2, 1, SpanClass.AGENT, None)]
    lineage = Lineage(["agent"])
    feed(lineage, nodes)
    assert not lineage.has_call_below(keys_of([0, 1, 2])).any()
    lineage.mark_billed(keys_of([1]))
    assert lineage.has_call_below(keys_of([0, 1, 2])).tolist() == [True, True, False]


@given(trees(), st.integers(0, 11))
def test_spans_are_known_for_a_minute_at_least_and_two_at_most(nodes: list[Node], early: int) -> None:
    lineage = Lineage(["agent"])
    feed(lineage, nodes[:early] or nodes[:1], NOW)
    late = nodes[max(early, 1) :]
    if late:
        feed(lineage, late, NOW + 59 * 10**9)
    stranger = Node(100, -1, SpanClass.OTHER, None)
    feed(lineage, [stranger], NOW + MINUTE)
    every = keys_of([node.place for node in nodes])
    assert (lineage._find(every) >= 0).all()
    texts, whole = inherited(lineage, keys_of([node.parent for node in nodes]), "agent")
    for node, text in zip(nodes, texts, strict=True):
        assert text == next((each.text for each in ancestors(nodes, node) if each.text is not None), None)
    feed(lineage, [Node(101, -1, SpanClass.OTHER, None)], NOW + 3 * MINUTE)
    feed(lineage, [Node(102, -1, SpanClass.OTHER, None)], NOW + 5 * MINUTE)
    assert (lineage._find(every) < 0).all()
    assert not lineage.has_call_below(every).any()
    assert whole.dtype == np.bool_


def test_a_span_that_is_its_own_parent_ends_the_search() -> None:
    lineage = Lineage(["agent"])
    loop = [Node(0, 1, SpanClass.LLM, None), Node(1, 0, SpanClass.LLM, None), Node(2, 2, SpanClass.CHAIN, None)]
    feed(lineage, loop)
    texts, whole = inherited(lineage, keys_of([0, 1, 2]), "agent")
    assert texts == [None, None, None]
    assert not whole.any()


def test_a_label_that_is_followed_later_is_unknown_of_earlier_spans() -> None:
    lineage = Lineage(["agent"])
    feed(lineage, [Node(0, -1, SpanClass.AGENT, "a")])
    lineage.extend(["tenant"])
    keys = keys_of([1])
    one = codes_of(lineage, ["x"])
    lineage.add(keys, keys_of([0]), np.array([SpanClass.CHAIN], np.uint8), {"agent": one, "tenant": one}, NOW)
    assert inherited(lineage, keys_of([1, 0]), "tenant")[0] == ["x", None]
    assert inherited(lineage, keys_of([0]), "agent")[0] == ["a"]


def test_there_is_room_for_many_spans_of_one_minute() -> None:
    lineage = Lineage(["agent"])
    nodes = [Node(place, place - 1 if place % 7 else -1, SpanClass.CHAIN, str(place)) for place in range(5000)]
    for batch in cut(nodes, [700]):
        feed(lineage, batch)
    texts, _ = inherited(lineage, keys_of([node.place for node in nodes]), "agent")
    assert texts == [node.text for node in nodes]
