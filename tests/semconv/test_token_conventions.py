"""Whatever convention a dialect has, a token count means the same afterwards: held by an oracle of one row."""

from hypothesis import given, settings
from hypothesis import strategies as st
from written_spans import Written, llm, normalized

from tocsin.model.batch import ABSENT

counts = st.integers(0, 10**6)
maybe = st.none() | counts
scopes = st.sampled_from([("test", "1.0"), ("openlit.instrumentation.anthropic", ""), ("logfire.anthropic", "4.30.1")])


@st.composite
def usages(draw: st.DrawFn) -> dict[str, int]:
    names = ("input", "output", "cache_read", "cache_write", "reasoning", "total")
    return {name: count for name in names if (count := draw(maybe)) is not None}


def plain_settled(usage: dict[str, int], *, exclusive: bool) -> dict[str, int]:
    """Return what one row's counts mean; slow and obvious."""
    names = ("input", "output", "cache_read", "cache_write", "reasoning", "total")
    count = {name: usage.get(name, ABSENT) for name in names}
    total = count["total"]
    if count["input"] < 0 <= count["output"] <= total:
        count["input"] = total - count["output"]
    if count["output"] < 0 <= count["input"] <= total:
        count["output"] = total - count["input"]
    cached = max(count["cache_read"], 0) + max(count["cache_write"], 0)
    said = count["input"] >= 0 and total == count["input"] + max(count["output"], 0) + cached
    if cached > 0 and (cached > count["input"] or said or exclusive):
        count["input"] = max(count["input"], 0) + cached
    apart = count["input"] >= 0 and count["output"] >= 0
    outside = apart and total == count["input"] + count["output"] + count["reasoning"]
    if count["reasoning"] > 0 and (count["reasoning"] > count["output"] or outside):
        count["output"] = max(count["output"], 0) + count["reasoning"]
    if count["input"] == 0 and count["output"] <= 0:
        return dict.fromkeys(names[:5], ABSENT)
    return {name: count[name] for name in names[:5]}


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(usages(), scopes), min_size=1, max_size=8))
def test_settling_a_batch_equals_settling_each_row(rows: list[tuple[dict[str, int], tuple[str, str]]]) -> None:
    batch = normalized(*(Written(llm(**usage), scope=scope) for usage, scope in rows)).batch
    for row, (usage, scope) in enumerate(rows):
        expected = plain_settled(usage, exclusive=scope[0] != "test")
        found = {
            name: int(getattr(batch, f"{name}_tokens")[row])
            for name in ("input", "output", "cache_read", "cache_write", "reasoning")
        }
        assert found == expected


@settings(max_examples=150, deadline=None)
@given(uncached=counts, read=counts, write=counts, output=st.integers(1, 10**6))
def test_both_conventions_of_one_call_give_the_same_counts(uncached: int, read: int, write: int, output: int) -> None:
    inside = llm(input=uncached + read + write, output=output, cache_read=read, cache_write=write)
    outside = llm(input=uncached, output=output, cache_read=read, cache_write=write)
    batch = normalized(Written(inside), Written(outside, scope=("openlit.instrumentation.anthropic", ""))).batch
    assert batch.input_tokens.tolist() == [uncached + read + write] * 2


@settings(max_examples=100, deadline=None)
@given(st.lists(usages(), min_size=1, max_size=8))
def test_a_part_never_exceeds_its_whole(rows: list[dict[str, int]]) -> None:
    batch = normalized(*(Written(llm(**usage)) for usage in rows)).batch
    cached = batch.cache_read_tokens.clip(0) + batch.cache_write_tokens.clip(0)
    assert (cached <= batch.input_tokens.clip(0)).all()
    assert (batch.reasoning_tokens.clip(0) <= batch.output_tokens.clip(0)).all()  # none of an unknown whole is fine
    assert (batch.cache_write_1h_tokens <= batch.cache_write_tokens).all()


@settings(max_examples=60, deadline=None)
@given(st.lists(usages(), min_size=2, max_size=8), st.integers(1, 7))
def test_a_batch_split_in_two_gives_the_same_counts(rows: list[dict[str, int]], at: int) -> None:
    spans = [Written(llm(**usage)) for usage in rows]
    parts = [part for part in (spans[:at], spans[at:]) if part]
    whole = normalized(*spans).batch
    for name in ("input_tokens", "output_tokens", "cache_read_tokens", "reasoning_tokens"):
        split = [count for part in parts for count in getattr(normalized(*part).batch, name).tolist()]
        assert split == getattr(whole, name).tolist()


def test_versions_are_compared_as_numbers() -> None:
    usage = llm(input=3000, output=5, cache_read=500)
    batch = normalized(
        *(Written(usage, scope=("logfire.anthropic", version)) for version in ("4.9.0", "4.31.0b1", "5.2"))
    ).batch
    assert batch.input_tokens.tolist() == [3500, 3000, 3000]
