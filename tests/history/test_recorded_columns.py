"""What is recorded of spans, and that it is what was sent."""

import math
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from history_journals import AT, asked, batches_of, calls_of, recorded
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from otlp_requests import Value, request_of

from tocsin import decode, telemetry
from tocsin.decode import reference
from tocsin.engine.engine import Engine
from tocsin.engine.spend import FOLLOWED
from tocsin.errors import ConfigError
from tocsin.model.batch import Needs
from tocsin.model.recorded import label_of, number_of
from tocsin.pricing import PriceBook
from tocsin.receivers.intake import Signal
from tocsin.semconv.bodies import is_body
from tocsin.semconv.documents import numeric
from tocsin.semconv.normalizer import Normalizer
from tocsin.service.backtest import History, backtest
from tocsin.service.loading import load_text
from tocsin.service.serve import stages_of
from tocsin.service.stages import Offer

RECORDING = "history: {attributes: [app.*, plain]}\n"

TEXTS = st.one_of(
    st.sampled_from(["chat", "5", "5.0", "0.1", "nan", "a\0b", "é", "'\";--"]), st.text(min_size=1, max_size=5)
)
VALUES: st.SearchStrategy[Value] = st.one_of(
    TEXTS,
    st.integers(-(2**53) + 1, 2**53 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from([0.0, 5.0, -0.0, 0.1, 1e300, 2.5]),
    st.booleans(),
)
SPANS = st.lists(
    st.dictionaries(st.sampled_from(["app.a", "app.b", "plain", "other"]), VALUES, max_size=4), min_size=1, max_size=6
)


def text_of(value: Value | None) -> str | None:
    """As rules read it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return None if value is None else str(value)


@settings(max_examples=200, deadline=None)
@given(SPANS)
def test_recorded_attributes_read_as_rules_would_have_read_them(spans: list[dict[str, Value]]) -> None:
    [late] = batches_of(load_text(RECORDING), [calls_of(spans)])
    keys = ("app.a", "app.b")
    every = "window: 1m, condition: gt, threshold: 1"
    rules = "".join(
        f"- {{name: l{n}, metric: count, group_by: ['{key}'], {every}}}\n"
        f"- {{name: n{n}, attribute: {key}, aggregate: max, {every}}}\n"
        for n, key in enumerate(keys)
    )
    [live] = batches_of(load_text("rules:\n" + rules), [calls_of(spans)])
    for key in keys:
        found, expected = label_of(late, key), live.labels[key]
        texts = [None] * len(late) if found is None else [found.values[c] if c >= 0 else None for c in found.code]
        assert texts == [expected.values[c] if c >= 0 else None for c in expected.code]
        numbers = number_of(late, key, numeric)
        for number, other in zip(
            [math.nan] * len(late) if numbers is None else numbers, live.numbers[key], strict=True
        ):
            assert number == other or (math.isnan(number) and math.isnan(other))
    assert not late.labels.keys() & {"other"}
    assert not late.numbers.keys() & {"other"}


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(SPANS, min_size=1, max_size=4))
def test_what_is_queried_is_what_was_sent(requests: list[list[dict[str, Value]]]) -> None:
    calls = [calls_of(spans, at=AT + number * 10**12) for number, spans in enumerate(requests)]
    with TemporaryDirectory() as directory:
        journal = recorded(Path(directory), calls, RECORDING)
        rows = asked(
            journal,
            'SELECT epoch_us(timestamp), trace_id, span_id, model, input_tokens, latency_ms, "app.a", "app.b" '
            "FROM spans ORDER BY timestamp",
        )
    sent = [call for request in calls for call in request]
    for place, key in ((6, "app.a"), (7, "app.b")):
        values = [call.attributes.get(key) for call in sent]
        whole = all(
            value is None or (isinstance(value, int | float) and not isinstance(value, bool)) for value in values
        )
        for row, value in zip(rows, values, strict=True):
            if value is None or whole:
                assert row[place] == value
            elif isinstance(value, str | bool):
                assert row[place] == text_of(value)
            else:
                assert float(row[place]) == value
    for row, call in zip(rows, sent, strict=True):
        assert row[:6] == (
            call.end // 1000, call.trace_id.hex(), call.span_id.hex(), call.model, call.input_tokens, 800.0,
        )  # fmt: skip


def test_both_decoders_record_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = [
        calls_of([{"app.a": 1, "app.b": "x", "gen_ai.request.top_p": 0.5, "gen_ai.prompt": "no"}, {"app.c": True}])
    ]
    loaded = load_text("history: {attributes: [app.*, gen_ai.*], max_attributes: 4}\n")
    native = batches_of(loaded, calls)
    monkeypatch.setattr(decode, "decoder", reference.Decoder)
    plain = batches_of(loaded, calls)
    for left, right in zip(native, plain, strict=True):
        assert {name: list(each.values) for name, each in left.labels.items()} == {
            name: list(each.values) for name, each in right.labels.items()
        }
        assert {name: each.tolist() for name, each in left.numbers.items()} == {
            name: each.tolist() for name, each in right.numbers.items()
        }


BODIES = (
    "gen_ai.prompt", "gen_ai.completion", "gen_ai.input.messages", "gen_ai.output.messages", "gen_ai.prompt.0.content",
    "gen_ai.completion.12.content", "gen_ai.system_instructions", "gen_ai.tool.call.arguments", "input.value",
    "output.value", "llm.input_messages.0.message.content", "llm.prompts", "langfuse.observation.input",
    "traceloop.entity.input", "ai.prompt.messages", "ai.response.text", "ai.toolCall.args", "llm.openai.messages",
    "retrieval.documents.0.document.content", "all_messages_events",
)  # fmt: skip


def test_bodies_of_messages_are_never_recorded_by_the_beginning_of_their_keys() -> None:
    prefixes = sorted({key[:3] + "*" for key in BODIES} | {"gen_ai.prompt*"})
    loaded = load_text(f"history: {{attributes: {prefixes}}}\n")
    [batch] = batches_of(loaded, [calls_of([dict.fromkeys(BODIES, "a secret word")])])
    assert not [name for name, each in batch.labels.items() if any("secret" in value for value in each.values)]
    assert all(map(is_body, BODIES))
    # Nor are they copied on the way.
    projection = Normalizer(Needs(), recording=loaded.configuration.history.recording()).projection
    request = request_of(calls_of([dict.fromkeys(BODIES, "a secret word") | {"gen_ai.own": "x"}])).SerializeToString()
    for decoder in (decode.decoder(projection), reference.Decoder(projection)):
        columns = decoder.traces([request]).columns.attributes
        assert "gen_ai.own" in columns
        assert not [key for key, each in columns.items() if any("secret" in str(value) for value in each.values)]
    assert not is_body("gen_ai.prompt.version")
    assert not is_body("gen_ai.request.temperature")


def test_bodies_are_recorded_where_they_are_asked_for_by_name_and_only_then() -> None:
    with pytest.raises(ConfigError, match="add bodies: true"):
        load_text("history: {attributes: [gen_ai.prompt]}\n")
    loaded = load_text("history: {attributes: [gen_ai.prompt, gen_ai.*], bodies: true}\n")
    [batch] = batches_of(loaded, [calls_of([{"gen_ai.prompt": "asked for", "gen_ai.completion": "not"}])])
    assert batch.labels["gen_ai.prompt"].values == ["asked for"]
    assert "gen_ai.completion" not in batch.labels


def test_values_are_cut_to_a_kibibyte() -> None:
    loaded = load_text("history: {attributes: [app.*, app.exact]}\n")
    [batch] = batches_of(loaded, [calls_of([{"app.long": "x" * 5000, "app.exact": "é" * 5000, "user.id": "u" * 5000}])])
    assert batch.labels["app.long"].values == ["x" * 1024]
    assert batch.labels["app.exact"].values == ["é" * 512]
    assert batch.labels["user"].values == ["u" * 1024]
    request = request_of(calls_of([{}]))
    pair = request.resource_spans[0].scope_spans[0].spans[0].attributes.add(key="app.list")
    pair.value.array_value.values.extend([AnyValue(string_value="\x01" * 50)] * 12)
    stages = stages_of(loaded, PriceBook(loaded.configuration.prices))
    [batch] = stages.prepare([Offer(Signal.TRACES, request.SerializeToString(), "grpc", AT)]).batches
    assert [len(value) for value in batch.labels["app.list"].values] == [1024]


def test_marks_of_which_a_few_bytes_are_enough_are_recorded_whole() -> None:
    loaded = load_text("history: {attributes: [llm.openai.*]}\n")
    [batch] = batches_of(loaded, [calls_of([{"llm.openai.model": "gpt-4o-mini"}])])
    assert batch.labels["llm.openai.model"].values == ["gpt-4o-mini"]


def test_attributes_past_the_limit_are_left_out_and_counted() -> None:

    def left_out() -> float:
        for line in telemetry.exposition("")[0].decode().splitlines():
            if line.startswith("tocsin_history_attributes_left_out_total "):
                return float(line.split()[1])
        return 0.0

    before = left_out()
    loaded = load_text("history: {attributes: [app.*], max_attributes: 3}\n")
    first, second = batches_of(
        loaded, [calls_of([{f"app.a{n}": n for n in range(2)}]), calls_of([{f"app.b{n}": n for n in range(9)}])]
    )
    assert sorted(first.numbers) == ["app.a0", "app.a1"]
    assert sorted(second.numbers) == ["app.b0"]
    # Three of nine came through the decoder, and of those one had room; and the request as such was crowded.
    assert left_out() - before == 3


def test_nothing_more_is_decoded_where_there_is_no_journal() -> None:

    loaded = load_text("journal: {enabled: false}\nhistory: {attributes: [app.*]}\n")
    prices = PriceBook(loaded.configuration.prices)
    stages = stages_of(loaded, prices)
    assert isinstance(stages.normalizer, Normalizer)
    needs = Needs(prices.needs.labels | {*FOLLOWED}, prices.needs.numbers)
    assert stages.normalizer.projection == Normalizer(needs).projection
    assert not Normalizer(Needs()).projection.prefixes


def test_the_engine_is_given_what_its_rules_read_and_no_more() -> None:

    loaded = load_text(
        RECORDING + "rules: [{name: a, metric: count, window: 1m, condition: gt, threshold: 0, group_by: [user]}]\n"
    )
    engine = Engine(loaded.rules)
    [batch] = batches_of(loaded, [calls_of([{"app.a": "x", "user.id": "u", "app.tenant.id": "acme"}])])
    assert {"user", "app.a", "tenant"} <= batch.labels.keys()
    [event] = engine.ingest(batch, int(batch.end[-1]))
    assert event.group == {"user": "u"}
    ids: dict[str, Any] = {"trace_id": b"another trace id", "span_id": b"87654321", "parent_id": b"12345678"}
    waiting = [replace(each, **ids) for each in calls_of([{"app.a": "x"}], at=AT + 10**9)]
    [batch] = batches_of(loaded, [waiting])
    engine.ingest(batch, int(batch.end[-1]))
    state: Any = engine.freeze()["waiting"]()
    assert "user" in state["batch"]["labels"]
    assert "app.a" not in state["batch"]["labels"]
    # Rules that are gone: what they read is not in requests any more, and nothing fails.
    engine.replace_rules([], engine.time)
    [other] = batches_of(load_text("history: {short_names: []}\n"), [calls_of([{"app.a": "y"}], at=AT + 10**10)])
    assert "user" not in other.labels
    engine.ingest(other, int(other.end[-1]))


def test_a_new_rule_finds_what_was_recorded_before_there_was_a_rule(tmp_path: Path) -> None:
    calls = calls_of([{"app.size": n, "app.kind": "big" if n > 5 else "small", "user.id": "u"} for n in range(10)])
    journal = recorded(tmp_path, [calls], "history: {attributes: [app.*]}\n")
    window = "window: 1m, condition: gt"
    loaded = load_text(
        "rules:\n"
        f"- {{name: sum, attribute: app.size, aggregate: sum, {window}, threshold: 29, group_by: [user, app.kind]}}\n"
        f"- {{name: text, metric: count, {window}, threshold: 0, filters: {{app.size: ['7']}}}}\n"
        f"- {{name: spelled, attribute: app_size, aggregate: max, {window}, threshold: 8}}\n"
        f"- {{name: never, metric: count, {window}, threshold: 0, filters: {{app.unseen: x}}}}\n"
        f"- {{name: unrecorded, metric: count, {window}, threshold: 0, filters: {{other.key: x}}}}\n"
    )
    source = History(journal)
    report = backtest(loaded.rules, source)
    assert {rule.name: rule.breached for rule in report.rules} == {
        "sum": 1, "text": 1, "spelled": 1, "never": 0, "unrecorded": 0,
    }  # fmt: skip
    assert dict(source.lacking) == {"other.key": 10}
