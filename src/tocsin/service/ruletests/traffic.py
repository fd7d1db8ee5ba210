"""From what a test writes of its spans and series to the spans themselves."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from tocsin.model.settings import nanoseconds
from tocsin.rules.config import SHORT_NAMES
from tocsin.rules.measures import Metric
from tocsin.rules.problems import KeyPath, Mistakes
from tocsin.service.ruletests.config import LABELS, NUMBERS, SeriesConfig, SpansConfig, TestConfig, attribute_series
from tocsin.service.ruletests.notation import MOST_VALUES, series_of
from tocsin.service.ruletests.otlp import Item, Spelling, Value

__all__ = ["items_of"]

_ON_RETRIEVALS: Final = (Metric.RELEVANCE_SCORE, Metric.TOP_SCORE, Metric.RETRIEVED_COUNT)
_ON_CALLS: Final = (
    Metric.COST, Metric.LATENCY, Metric.TOKENS, Metric.INPUT_TOKENS, Metric.OUTPUT_TOKENS, Metric.CACHED_TOKENS,
    Metric.REASONING_TOKENS, Metric.COUNT, Metric.TIME_TO_FIRST_TOKEN, Metric.ERROR_RATE, Metric.SUCCESS_RATE,
)  # fmt: skip
_FAILED: Final = ("status_code", "status")
_DERIVED: Final = (Metric.COST_PER_TRACE, Metric.UNPRICED_RATIO, Metric.COST_MISMATCH)


def items_of(test: TestConfig, interval_ns: int, spelling: Spelling, mistakes: Mistakes, path: KeyPath) -> list[Item]:
    """Return the spans of a test.

    Args:
        test: as it was written.
        interval_ns: between two values of a series.
        spelling: which attributes stand for short names.
        mistakes: what is wrong is told here.
        path: where the test stands.
    """
    found: list[Item] = []
    for at, spans in enumerate(test.spans):
        found += _spans(spans, at, spelling)
    for at, series in enumerate(test.input_series):
        place = (*path, "input_series", at)
        written = mistakes.attempt((*place, "series"), partial(_written, series), None)
        none: tuple[float | None, ...] = ()
        values = mistakes.attempt((*place, "values"), partial(series_of, series.values), none)
        if written is not None:
            found += _series(written, values, interval_ns, f"series {at}", spelling)
    if len(found) > MOST_VALUES:
        mistakes.tell(path, f"more than {MOST_VALUES:,} spans; a test needs fewer")
        return []
    return found


def _spans(config: SpansConfig, number: int, spelling: Spelling) -> Iterator[Item]:
    every = nanoseconds(config.every) if config.every else 0
    series = {key: attribute_series(value) for key, value in config.attributes.items() if isinstance(value, str)}
    for n in range(config.size):
        attributes: dict[str, Value] = {}
        resource: dict[str, Value] = {}
        for label in LABELS:
            if (text := getattr(config, label)) is not None:
                spelling.write(label, _filled(text, n), resource if spelling.is_of_resource(label) else attributes)
        for name in NUMBERS:
            if name != "latency" and (value := _nth(getattr(config, name), n)) is not None:
                spelling.write(name, value, attributes)
        for key, written in config.attributes.items():
            own: Value | None = _nth(series[key], n) if series.get(key) else written
            if own is not None:
                attributes[key] = _filled(own, n) if isinstance(own, str) else own
        latency = _nth(config.latency, n)
        yield Item(
            at=nanoseconds(config.at) + n * every,
            kind=config.kind,
            trace=f"spans {number} {n}" if config.trace is None else _filled(config.trace, n),
            span=f"spans {number} {n}" if config.span is None else _filled(config.span, n),
            parent=None if config.parent is None else _filled(config.parent, n),
            latency_ns=_latency_of(config.kind, latency),
            failed=bool(_nth(config.failed, n)),
            attributes=attributes,
            resource=resource,
        )


def _latency_of(kind: str, latency_ms: float | None) -> int:
    if latency_ms is None:
        return 0 if kind == "evaluation" else 10**9
    return max(0, round(latency_ms * 1e6))


def _nth(values: Sequence[float | None], n: int) -> float | None:
    return values[n % len(values)] if values else None


def _filled(text: str, n: int) -> str:
    return text.replace("{n}", str(n))


@dataclass(frozen=True, slots=True)
class _Series:
    """What a series says of each of its spans."""

    kind: str
    number: str
    """A number of `SpansConfig`, an attribute's key, or `count` for nothing but the span."""
    factor: float
    """From the series' unit to the number's."""
    labels: Mapping[str, str]
    accumulates: bool
    """It is a counter: its increases are the samples."""
    failed: bool


def _written(config: SeriesConfig) -> _Series:
    """Return what a series is about.

    Raises:
        ValueError: it is no series, or spans have no equivalent.
    """
    from tocsin.rules.promql.names import Suffix, label_of, measured_of  # loaded where it is needed, as its parser is

    name, quoted, labels = _parsed(config.series)
    measured = measured_of(name, quoted=quoted)
    if measured.suffix is Suffix.BUCKET:
        raise ValueError("buckets have no equivalent: spans have values; write latency, or the attribute itself")
    metric = measured.metric
    if metric in _DERIVED:
        raise ValueError(f"{metric.value} follows from spans, and no span carries it; write 'spans' in place of this")
    failed = any(labels.pop(label, "").upper().endswith("ERROR") for label in _FAILED) if measured.by_status else False
    token = labels.pop("gen_ai_token_type", "") if measured.by_token_type else ""
    counts = metric is Metric.COUNT or measured.suffix is Suffix.COUNT
    if metric in (Metric.ERROR_RATE, Metric.SUCCESS_RATE):
        number = metric.value
    elif counts:
        number = "count"
    elif metric is Metric.ATTRIBUTE:
        number = measured.attribute or name
    elif metric is Metric.TOKENS:
        number = f"{token or 'input'}_tokens"
    else:
        number = metric.value
    return _Series(
        kind=config.kind or _usual_kind(metric),
        number=number,
        factor=1 / measured.scale,
        labels={label_of(label, quoted="." in label): value for label, value in labels.items()},
        accumulates=measured.is_counter or measured.suffix in (Suffix.TOTAL, Suffix.SUM, Suffix.COUNT),
        failed=failed,
    )


def _parsed(text: str) -> tuple[str, bool, dict[str, str]]:
    """Return the name of a series, whether it was quoted, and its labels."""
    import promql_parser

    wrong = 'write a series like relevance_score{tenant="acme"}, or {"app.my.number", tenant="acme"}'
    try:
        tree = promql_parser.parse(text)
    except ValueError as error:
        raise ValueError(f"{text[:60]!r} is no series; {wrong}") from error
    if not isinstance(tree, promql_parser.VectorSelector) or tree.offset is not None or tree.at is not None:
        raise ValueError(f"{text[:60]!r} is an expression, not a series; {wrong}")
    name, quoted, labels = tree.name or "", False, dict[str, str]()
    for matcher in tree.matchers.matchers:
        if matcher.op != promql_parser.MatchOp.Equal:
            raise ValueError(f'a series has values for its labels: write {matcher.name}="…"')
        if matcher.name == "__name__":
            name, quoted = matcher.value, True
        else:
            labels[matcher.name] = matcher.value
    if not name:
        raise ValueError(f"{text[:60]!r} has no name; {wrong}")
    return name, quoted, labels


def _usual_kind(metric: Metric) -> str:
    if metric in _ON_CALLS:
        return "llm"
    return "retrieval" if metric in _ON_RETRIEVALS else "chain"


def _series(
    series: _Series, values: Sequence[float | None], interval_ns: int, name: str, spelling: Spelling
) -> Iterator[Item]:
    attributes: dict[str, Value] = {}
    resource: dict[str, Value] = {}
    for label, text in series.labels.items():
        into = resource if spelling.is_of_resource(label) else attributes
        if label in SHORT_NAMES and label != "trace":
            spelling.write(label, text, into)
        elif label != "trace":
            attributes[label] = text
    trace = series.labels.get("trace")
    before = 0.0
    for n, value in enumerate(values):
        if value is None:
            continue
        amount = value
        if series.accumulates:
            amount, before = (value - before if value >= before else value), value
        for copy in range(_copies(series, amount)):
            own, latency, failed = dict(attributes), None, series.failed
            if series.number in ("error_rate", "success_rate"):
                failed = (amount > 0) == (series.number == "error_rate")
            elif series.number == "latency":
                latency = amount * series.factor
            elif series.number != "count":
                _write_number(series, amount, own, spelling)
            yield Item(
                at=n * interval_ns,
                kind=series.kind,
                trace=trace or f"{name} {n} {copy}",
                span=f"{name} {n} {copy}",
                latency_ns=_latency_of(series.kind, latency),
                failed=failed,
                attributes=own,
                resource=resource,
            )


def _write_number(series: _Series, amount: float, into: dict[str, Value], spelling: Spelling) -> None:
    if series.number in NUMBERS:
        spelling.write(series.number, amount * series.factor, into)
    else:
        into[series.number] = amount


def _copies(series: _Series, amount: float) -> int:
    """How many spans a sample is: as many as were counted, or one that carries the amount."""
    if series.number == "count":
        return min(max(0, round(amount)), MOST_VALUES + 1)
    return int(not series.accumulates or amount > 0)
