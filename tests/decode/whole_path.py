"""From bytes to alerts in this process, as text: run by test_without_native_module.py, with and without it.

`python whole_path.py native` prints what came out; `python whole_path.py hidden` the same without the Rust module.
"""

import dataclasses
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

EPOCH = 1_790_000_000 * 10**9
SECOND = 10**9
RULES: tuple[dict[str, Any], ...] = (
    {"name": "spend", "metric": "cost", "condition": "gt", "threshold": 0.05, "window": "1m", "group_by": ["model"]},
    {"name": "errors", "metric": "error_rate", "condition": "gt", "threshold": "20%", "window": "2m"},
    {"name": "slow", "metric": "latency", "aggregate": "p95", "condition": "gt", "threshold": "1s", "window": "1m"},
    {
        "name": "talk",
        "metric": "count",
        "condition": "gte",
        "threshold": 4,
        "window": "5m",
        "group_by": ["conversation"],
    },
    {"name": "trace", "metric": "cost", "condition": "gt", "threshold": 0.003, "scope": "trace"},
)


def main() -> None:
    if sys.argv[1] == "hidden":
        sys.modules["tocsin._native"] = None  # type: ignore[assignment]  # what import takes for a missing module
    sys.path[:0] = [str(Path(__file__).parents[1])]
    sys.stdout.write(json.dumps({"uses": uses(), "said": list(said())}))


def uses() -> list[str]:
    """Return the implementations that were chosen."""
    from tocsin import decode
    from tocsin.windows.index import KeyIndex

    return ["native" if decode.NATIVE else "reference", KeyIndex.__name__]


def said() -> Iterator[list[str]]:
    """Feed requests, one of them malformed, and tell the columns and the events of each moment."""
    from tocsin.decode import decoder
    from tocsin.engine import Engine
    from tocsin.pricing import PriceBook, PricesConfig
    from tocsin.rules.compile import compile_rule
    from tocsin.rules.config import RuleConfig
    from tocsin.rules.needs import needs_of
    from tocsin.semconv import Normalizer

    rules = []
    for fields in RULES:
        rule, mistakes = compile_rule(RuleConfig.model_validate(fields))
        assert rule is not None, mistakes
        rules.append(rule)
    normalizer = Normalizer(needs_of(rules))
    decoding, prices, engine = decoder(normalizer.projection), PriceBook(PricesConfig()), Engine(rules)
    for now, requests in deliveries():
        decoded = decoding.traces(requests)
        batch = normalizer.spans(decoded.columns, np.full(len(decoded.columns), now, np.int64)).batch
        prices.price(batch)
        refused = [error is not None for error in decoded.errors]
        yield [
            text(decoded.columns),
            text(batch),
            text([decoded.offsets, refused]),
            *map(text, engine.ingest(batch, now)),
        ]
    yield [text(event) for event in engine.advance(now + 3600 * SECOND)]


def deliveries() -> Iterator[tuple[int, list[bytes]]]:
    """Two minutes of requests, some of which arrive together."""
    from otlp_requests import Call, request_of

    random = Random(7)
    for moment in range(12):
        now = EPOCH + moment * 10 * SECOND
        requests = []
        for _ in range(random.choice((1, 1, 3))):
            calls = []
            for _ in range(random.randrange(1, 12)):
                more = {
                    "model": random.choice(("gpt-4o", "gpt-4o-mini", "claude-sonnet-4-5")),
                    "failed": random.random() < 0.3,
                }
                attributes = {"gen_ai.conversation.id": f"conv-{random.randrange(12)}"}
                lasted = random.randrange(10**8, 2 * SECOND)
                calls.append(Call.drawn(random, end=now, duration_ns=lasted, attributes=attributes, **more))
            requests.append(request_of([*calls, calls[0]]).SerializeToString())
        yield now, [*requests, b"\xff"]


def text(value: Any) -> str:  # noqa: ANN401  # any column or event
    """Return a value with all that is in it, to the bit."""
    if isinstance(value, np.ndarray):
        return f"{value.dtype}{value.shape}{value.tobytes().hex()}"
    if dataclasses.is_dataclass(value):
        return text({field.name: getattr(value, field.name) for field in dataclasses.fields(value)})
    if hasattr(value, "items"):
        return "{" + ", ".join(f"{key}: {text(own)}" for key, own in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(text, value)) + "]"
    return repr(value)


if __name__ == "__main__":
    main()
