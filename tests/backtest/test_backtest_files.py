"""Files of OTLP requests: every form that they come in gives what sending them would have given."""

import base64
import gzip
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from random import Random

import pytest
import zstandard
from google.protobuf.json_format import MessageToDict
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from otlp_requests import Call
from otlp_requests import request_of as calls_of
from recorded_requests import DIRECTORY, INDEX, request_of
from recording import ids_of
from samples import EPOCH, MINUTE, SECOND
from strategies import export_logs, export_requests

from tocsin.engine.engine import Engine
from tocsin.errors import DecodeError
from tocsin.pricing import PriceBook
from tocsin.receivers.intake import Signal
from tocsin.service.backtest import BacktestError, Files, Period, Report, backtest
from tocsin.service.backtest.failures import InputProblems
from tocsin.service.backtest.framing import messages_of
from tocsin.service.backtest.wire import signal_of
from tocsin.service.loading import load_text
from tocsin.service.serve import stages_of
from tocsin.service.stages import Offer

LOADED = load_text(
    """
contact_points: {log: {type: log}}
rules:
  - {name: any-call, metric: count, window: 5m, group_by: model, condition: gte, threshold: 1, notify: log}
  - {name: slow, metric: latency, condition: gt, threshold: 1ms, group_by: service, notify: log, cooldown: 0s}
  - {name: spent, metric: cost, window: 5m, condition: gt, threshold: $0, notify: log}
  - {name: judged, metric: judge_score, window: 5m, aggregate: avg, condition: gte, threshold: 0, notify: log}
"""
)
IDS = ("traceId", "spanId", "parentSpanId")
PRICES = PriceBook(LOADED.configuration.prices)


def report_on(*paths: Path, period: Period | None = None) -> Report:
    return backtest(LOADED.rules, Files(paths, PRICES), period=period)


def sent(signal: Signal, data: bytes) -> list[str]:
    """Return the ids of what a live engine says to a request."""
    engine, stages = Engine(LOADED.rules), stages_of(LOADED, PRICES)
    prepared = stages.prepare([Offer(signal, data, "grpc", EPOCH)])
    return sorted(
        event.id for batch in prepared.batches for event in engine.ingest(batch, int(batch.end.max()) + SECOND)
    )


def framed(requests: Sequence[bytes]) -> bytes:
    return b"".join(len(request).to_bytes(4, "big") + request for request in requests)


def as_json(request: bytes, signal: Signal = Signal.TRACES) -> bytes:
    """Return a request as the collector's file exporter writes it: ids in hexadecimal."""
    message = ExportTraceServiceRequest() if signal is Signal.TRACES else ExportLogsServiceRequest()
    message.ParseFromString(request)
    body = MessageToDict(message, use_integers_for_enums=True)
    return json.dumps(_hexadecimal(body)).encode()


def _hexadecimal(value: object) -> object:
    match value:
        case dict():
            return {
                key: base64.b64decode(each).hex()
                if key in ("traceId", "spanId", "parentSpanId")
                else _hexadecimal(each)
                for key, each in value.items()
            }
        case list():
            return [_hexadecimal(each) for each in value]
        case _:
            return value


def story(count: int = 40) -> list[bytes]:
    random = Random(7)
    calls = [
        Call.drawn(random, end=EPOCH + number * 20 * SECOND, duration_ns=random.randrange(1, 10**9))
        for number in range(count)
    ]
    return [calls_of(calls[begin : begin + 4]).SerializeToString() for begin in range(0, count, 4)]


FORMS: dict[str, Callable[[list[bytes]], bytes]] = {
    "JSON lines": lambda requests: b"\n".join(map(as_json, requests)) + b"\n",
    "JSON lines without a last line break": lambda requests: b"\r\n".join(map(as_json, requests)),
    "protobuf behind its length": framed,
    "JSON behind its length": lambda requests: framed([*map(as_json, requests)]),
    "messages compressed one by one": lambda requests: framed([zstandard.compress(each) for each in requests]),
}
COMPRESSIONS: dict[str, Callable[[bytes], bytes]] = {"plain": bytes, "gzip": gzip.compress, "zstd": zstandard.compress}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_every_form_and_compression_gives_the_same(tmp_path: Path, form: str, compression: str) -> None:
    requests = story()
    plain, file = tmp_path / "plain", tmp_path / "file"
    plain.write_bytes(framed(requests))
    file.write_bytes(COMPRESSIONS[compression](FORMS[form](requests)))
    expected, found = report_on(plain), report_on(file)
    assert found.spans == 40
    assert not found.problem_count
    assert found.rules == expected.rules
    assert ids_of(found)


@pytest.mark.parametrize("entry", INDEX, ids=lambda entry: entry["file"])
def test_a_recorded_payload_gives_what_sending_it_gives(tmp_path: Path, entry: dict[str, str]) -> None:
    data, signal = request_of(entry["file"]), Signal(entry["signal"])
    expected = sent(signal, data)
    forms = {"bare": data, "framed": framed([data]), "line": as_json(data, signal), "as it is": b""}
    forms["as it is"] = (DIRECTORY / entry["file"]).read_bytes()
    for name, content in forms.items():
        path = tmp_path / name
        path.write_bytes(content)
        assert found_in(path) == expected, name


def found_in(path: Path) -> list[str]:
    try:
        return ids_of(report_on(path))
    except BacktestError as error:
        if "has no spans" not in str(error):
            raise
        return []


def test_files_are_merged_by_time(tmp_path: Path) -> None:
    requests = story(80)
    whole, odd, even = tmp_path / "whole", tmp_path / "odd", tmp_path / "even"
    whole.write_bytes(framed(requests))
    odd.write_bytes(framed(requests[1::2]))
    even.write_bytes(gzip.compress(b"\n".join(map(as_json, requests[::2]))))
    assert report_on(odd, even).rules == report_on(whole).rules


def test_broken_lines_are_reported_and_the_rest_is_used(tmp_path: Path) -> None:
    path = tmp_path / "spans.jsonl"
    lines = [*map(as_json, story(12))]
    lines[1:1] = [
        b'{"resourceSpans": [{"scopeSpans": 5}]}',
        b"{ no json",
        b"",
        b'{"other": 1}',
        b'{"resourceMetrics": []}',
    ]
    path.write_bytes(b"\n".join(lines))
    report = report_on(path)
    assert report.spans == 12
    assert report.skipped_metrics == 1
    assert [problem.removeprefix(f"{path}:").split(":")[0] for problem in report.problems] == ["2", "3", "5"]
    assert "/resourceSpans/0/scopeSpans" in report.problems[0]


def test_a_first_line_that_is_broken_is_reported(tmp_path: Path) -> None:
    path = tmp_path / "spans.jsonl"
    path.write_bytes(b"\n".join([b'{"resourceSpans": [', *map(as_json, story(8))]))
    report = report_on(path)
    assert (report.spans, report.problem_count) == (8, 1)
    assert report.problems[0].startswith(f"{path}:1: not JSON")


def test_one_request_over_many_lines_is_read(tmp_path: Path) -> None:
    path = tmp_path / "pretty.json"
    path.write_text(json.dumps(json.loads(as_json(story(4)[0])), indent=2))
    assert report_on(path).spans == 4


@pytest.mark.parametrize("compress", [bytes, gzip.compress, zstandard.compress])
def test_a_file_that_is_cut_off_is_used_as_far_as_it_goes(tmp_path: Path, compress: Callable[[bytes], bytes]) -> None:
    path = tmp_path / "cut"
    noise = Random(1).randbytes(200_000)
    whole = compress(framed([*story(), noise]))
    path.write_bytes(whole[: len(whole) - 60_000])
    report = report_on(path)
    assert report.spans == 40
    assert report.problem_count == 1
    assert str(path) in report.problems[0]


def test_a_file_that_is_no_otlp_says_what_is_expected(tmp_path: Path) -> None:
    path = tmp_path / "picture.png"
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(100))
    with pytest.raises(BacktestError, match="the collector's file exporter"):
        report_on(path)
    with pytest.raises(BacktestError, match="No such file"):
        report_on(tmp_path / "none")
    (tmp_path / "empty").write_bytes(b"")
    with pytest.raises(BacktestError, match="is empty"):
        report_on(tmp_path / "empty")


def test_a_period_takes_its_part(tmp_path: Path) -> None:
    path = tmp_path / "spans"
    path.write_bytes(framed(story(400)))
    period = Period(EPOCH + 60 * MINUTE, EPOCH + 90 * MINUTE)
    report = report_on(path, period=period)
    whole = report_on(path)
    inside = [each for each in whole.rules[1].sendings if "2026-09-21T15:13:20" <= each.at <= "2026-09-21T15:43:20.9"]
    assert [each.event_id for each in report.rules[1].sendings] == [each.event_id for each in inside]
    assert inside
    with pytest.raises(BacktestError, match="has no spans from 2026-09-28"):
        report_on(path, period=Period(EPOCH + 7 * 24 * 60 * MINUTE))


@given(export_requests())
def test_a_request_of_traces_is_known_as_one(request: ExportTraceServiceRequest) -> None:
    spans = [span for each in request.resource_spans for scope in each.scope_spans for span in scope.spans]
    if all(span.start_time_unix_nano or span.end_time_unix_nano for span in spans):
        assert signal_of(request.SerializeToString()) is Signal.TRACES


@given(export_logs())
def test_a_request_of_logs_is_known_as_one(request: ExportLogsServiceRequest) -> None:
    records = [each for one in request.resource_logs for scope in one.scope_logs for each in scope.log_records]
    if records and all(each.time_unix_nano or each.observed_time_unix_nano for each in records):
        assert signal_of(request.SerializeToString()) is Signal.LOGS


def test_metrics_are_known() -> None:
    request = ExportMetricsServiceRequest()
    metric = request.resource_metrics.add().scope_metrics.add().metrics.add(name="sixteen.letters!", unit="1")
    metric.sum.data_points.add(as_int=1, time_unix_nano=EPOCH)
    assert signal_of(request.SerializeToString()) is None


@given(st.binary(max_size=200))
def test_any_bytes_are_read_without_a_crash(data: bytes) -> None:
    try:
        signal_of(data)
    except DecodeError as error:
        assert "OTLP" in str(error)  # noqa: PT017  # other errors would fail the test


@given(st.binary(max_size=300), st.sampled_from([b"", b"{", b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"\x00\x00\x00\x08"]))
def test_any_file_is_read_without_a_crash(tmp_path_factory: pytest.TempPathFactory, data: bytes, head: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "any-file"
    path.write_bytes(head + data)
    problems = InputProblems()
    read: Iterator[object] = messages_of(path, problems)
    assert sum(1 for _ in read) + problems.count + problems.skipped >= 0
