"""A name in Prometheus' spelling stands for the attributes that it may be of, in either decoder."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from written_spans import Written, request_of

from tocsin.decode import NATIVE, decoder, reference
from tocsin.model.batch import Needs, SpanBatch
from tocsin.semconv import Normalizer
from tocsin.semconv.spellings import MAX_UNDERSCORES, spellings_of

DECODERS = [
    pytest.param(reference.Decoder, id="reference"),
    pytest.param(decoder, id="native", marks=pytest.mark.skipif(not NATIVE, reason="no native decoder is built")),
]


def batch_of(make: object, needs: Needs, *spans: Written) -> SpanBatch:
    normalizer = Normalizer(needs)
    columns = make(normalizer.projection).traces([request_of(spans)]).columns  # type: ignore[operator]
    return normalizer.spans(columns, np.zeros(len(columns), np.int64)).batch


@pytest.mark.parametrize("make", DECODERS)
def test_numbers_are_found_under_every_spelling(make: object) -> None:
    spans = [
        Written({key: 7.5}) for key in ("acme.chunk_size", "acme.chunk.size", "acme_chunk_size", "acme_chunk.size")
    ]
    found = batch_of(make, Needs(numbers=frozenset({"acme_chunk_size"})), *spans, Written({"acme.chunk": 1}))
    np.testing.assert_array_equal(found.numbers["acme_chunk_size"], [7.5, 7.5, 7.5, 7.5, np.nan])


@pytest.mark.parametrize("make", DECODERS)
def test_labels_are_found_under_every_spelling_on_spans_and_resources(make: object) -> None:
    spans = [Written({"acme.cell_id": "a"}), Written(resource={"acme.cell.id": "b"}), Written({"acme": "c"})]
    found = batch_of(make, Needs(labels=frozenset({"acme_cell_id"})), *spans)
    column = found.labels["acme_cell_id"]
    assert [column.values[code] if code >= 0 else None for code in column.code] == ["a", "b", None]


@pytest.mark.parametrize("make", DECODERS)
def test_the_name_as_it_is_wins_then_the_one_with_the_most_dots(make: object) -> None:
    spans = [
        Written({"acme_chunk_size": 1, "acme.chunk.size": 2, "acme.chunk_size": 3}),
        Written({"acme.chunk.size": 2, "acme.chunk_size": 3}),
    ]
    found = batch_of(make, Needs(numbers=frozenset({"acme_chunk_size"})), *spans)
    np.testing.assert_array_equal(found.numbers["acme_chunk_size"], [1, 2])


def test_a_name_with_a_dot_is_a_key_as_it_is() -> None:
    assert spellings_of("acme.chunk_size") == ("acme.chunk_size",)
    assert (
        Normalizer(Needs(numbers=frozenset({"acme.chunk_size"})))
        .projection.attributes.keys()
        .isdisjoint({"acme.chunk.size"})
    )


def test_names_of_the_table_have_the_tables_keys_alone() -> None:
    keys = Normalizer(Needs(labels=frozenset({"prompt_version"}))).projection.attributes
    assert "prompt.version" not in keys or "prompt_version" not in keys


@given(st.from_regex(r"[a-z_]{1,12}", fullmatch=True))
def test_spellings_are_keys_that_prometheus_would_write_so(name: str) -> None:
    spellings = spellings_of(name)
    assert spellings[0] == name
    assert len(set(spellings)) == len(spellings) <= 2**MAX_UNDERSCORES
    for spelled in spellings[1:]:
        assert spelled.replace(".", "_") == name
        assert ".." not in spelled
        assert not spelled.startswith(".")
        assert not spelled.endswith(".")
