"""The native decoder against the reference, on what was recorded, what is generated, and what is broken."""

import random
from pathlib import Path

import pytest
from agreement import assert_same
from fuzz import Fuzzer, main
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from strategies import PREFIX_PROJECTION, PROJECTION, export_logs, export_requests

from tocsin.decode import reference, wire
from tocsin.decode.json import traces_from_json
from tocsin.model.columns import Decoded, Projection

PAYLOADS = Path(__file__).parent.parent / "payloads"
RECORDED = sorted(path for path in PAYLOADS.iterdir() if path.suffix == ".pb" or ".traces.json" in path.name)
NATIVE, PLAIN = wire.Decoder(PROJECTION), reference.Decoder(PROJECTION)
BY_PREFIX = wire.Decoder(PREFIX_PROJECTION), reference.Decoder(PREFIX_PROJECTION)


def signal_and_data(path: Path) -> tuple[str, bytes]:
    data = path.read_bytes()
    if path.suffix == ".json":
        return "traces", traces_from_json(data)
    return path.suffixes[-2][1:], data


def wide_projection() -> Projection:
    """Everything that any recorded span has, so that nothing escapes the comparison."""
    keys = set()
    for path in RECORDED:
        signal, data = signal_and_data(path)
        if signal == "traces":
            for entry in ExportTraceServiceRequest.FromString(data).resource_spans:
                keys |= {pair.key for pair in entry.resource.attributes}
                for scope in entry.scope_spans:
                    keys |= {pair.key for span in scope.spans for pair in span.attributes}
    return Projection(
        attributes={key: 16 * (1 + index % 70) for index, key in enumerate(sorted(keys))},
        indexed=[("llm.input_messages.", ".message.role"), ("gen_ai.prompt.", ".content")],
        event_times=["exception", "gen_ai.content.completion"],
        event_attributes=[("exception", "exception.type")],
        log_events=["gen_ai.choice", "gen_ai.client.inference.operation.details", "gen_ai.user.message"],
    )


def both(signal: str, requests: list[bytes]) -> Decoded:
    assert_same(*(getattr(decoder, signal)(requests) for decoder in BY_PREFIX))
    native, plain = (getattr(decoder, signal)(requests) for decoder in (NATIVE, PLAIN))
    assert_same(native, plain)
    assert isinstance(native, Decoded)
    return native


def test_recorded_requests_decode_alike_one_by_one_and_together() -> None:
    projection = wide_projection()
    decoders = (wire.Decoder(projection), reference.Decoder(projection))
    together: dict[str, list[bytes]] = {"traces": [], "logs": []}
    for path in RECORDED:
        signal, data = signal_and_data(path)
        native, plain = (getattr(decoder, signal)([data]) for decoder in decoders)
        assert_same(native, plain)
        assert native.errors == [None]
        together[signal].append(data)
    for signal, requests in together.items():
        native, plain = (getattr(decoder, signal)(requests) for decoder in decoders)
        assert_same(native, plain)
        assert len(native.columns) > 40, signal


@given(st.lists(export_requests(), max_size=3))
@settings(max_examples=60, deadline=None)
def test_generated_traces_decode_alike(requests: list[ExportTraceServiceRequest]) -> None:
    decoded = both("traces", [request.SerializeToString() for request in requests])
    assert list(decoded.errors) == [None] * len(requests)


@given(st.lists(export_logs(), max_size=3))
@settings(max_examples=60, deadline=None)
def test_generated_logs_decode_alike(requests: list[ExportLogsServiceRequest]) -> None:
    decoded = both("logs", [request.SerializeToString() for request in requests])
    assert list(decoded.errors) == [None] * len(requests)


@given(export_requests(), st.data())
@settings(max_examples=60, deadline=None)
def test_truncated_requests_are_accepted_by_both_or_refused_by_both(
    request_message: ExportTraceServiceRequest, data: st.DataObject
) -> None:
    whole = request_message.SerializeToString()
    cut = data.draw(st.integers(0, len(whole)))
    both("traces", [whole[:cut], whole, whole[cut:]])


@given(st.lists(st.binary(max_size=40), max_size=4))
def test_arbitrary_bytes_are_accepted_by_both_or_refused_by_both(requests: list[bytes]) -> None:
    both("traces", requests)
    both("logs", requests)


def test_every_truncation_of_a_recorded_request_is_treated_alike() -> None:
    data = (PAYLOADS / "otel-v2-legacy-06.traces.pb").read_bytes()
    for start in range(0, len(data), 64):
        both("traces", [data[:cut] for cut in range(start, min(start + 64, len(data) + 1))])


@pytest.mark.slow
def test_the_fuzzer_finds_no_difference_in_ten_seconds(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--seconds", "10"]) == 0, capsys.readouterr().out


def test_the_fuzzer_would_find_a_difference() -> None:
    fuzzer = Fuzzer(seed=1)
    other = Projection(attributes=dict(PROJECTION.attributes) | {"short": 4})
    fuzzer._decoders = [(NATIVE, reference.Decoder(other))]
    differs = False
    for _ in range(2000):
        try:
            fuzzer._compare(*fuzzer._case())
        except AssertionError:
            differs = True
            break
    assert differs


def test_a_malformed_request_leaves_nothing_and_harms_no_other() -> None:
    draw = random.Random(7)
    good = [path.read_bytes() for path in RECORDED if path.name.endswith(".traces.pb")][:6]
    bad = [data[: draw.randrange(len(data))] + b"\x07" for data in good]
    mixed = [data for pair in zip(bad, good, strict=True) for data in pair]
    decoded = both("traces", mixed)
    alone = both("traces", good)
    assert [error is None for error in decoded.errors] == [False, True] * 6
    rows = [end - begin for begin, end in zip(decoded.offsets, decoded.offsets[1:], strict=False)]
    assert rows[0::2] == [0] * 6
    assert sum(rows) == len(alone.columns)
    assert decoded.columns.attributes.keys() == alone.columns.attributes.keys()
    for key, column in alone.columns.attributes.items():
        assert list(column.values) == list(decoded.columns.attributes[key].values)
