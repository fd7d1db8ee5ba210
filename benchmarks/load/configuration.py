"""Configurations that the scenarios run Tocsin on; thresholds are so high that no load reaches them."""

from typing import Any

__all__ = ["MIXED_RULES", "mixed", "per_tenant", "probe_rule", "with_webhook"]

_NEVER = {"cost": 10**9, "latency": 10**12, "error_rate": 1, "count": 10**15}
_NEVER_TOKENS = 10**15

_PRICES = {
    # USD per million tokens: those of the load generator and of the collector's configuration.
    "gpt-4o-2024-11-20": (2.5, 10, 1.25),
    "gpt-4o-mini-2024-07-18": (0.15, 0.6, 0.075),
    "gpt-4.1-2025-04-14": (2, 8, 0.5),
    "o3-2025-04-16": (2, 8, 0.5),
    "claude-sonnet-4-5-20250929": (3, 15, 0.3),
    "claude-haiku-4-5-20251001": (1, 5, 0.1),
    "gemini-2.5-pro": (1.25, 10, 0.31),
    "us.meta.llama3-3-70b-instruct-v1:0": (0.72, 0.72, 0.72),
}

_MIXED: list[tuple[str, str, str, list[str], dict[str, Any]]] = [
    # metric, aggregate, window, group_by, filters
    ("cost", "sum", "5m", ["conversation"], {}),
    ("cost", "sum", "1h", ["tenant"], {}),
    ("cost", "sum", "10m", ["model"], {}),
    ("cost", "sum", "1h", ["tenant", "model"], {"provider": "openai"}),
    ("cost", "sum", "30m", [], {"environment": "production"}),
    ("cost", "avg", "5m", ["model"], {}),
    ("cost", "max", "1m", ["conversation"], {}),
    ("latency", "p95", "5m", ["model"], {}),
    ("latency", "p95", "10m", ["tenant"], {"model": ["gpt-4o*", "claude-*"]}),
    ("latency", "p99", "5m", ["tenant"], {}),
    ("latency", "avg", "1m", ["model"], {"environment": "production"}),
    ("latency", "max", "5m", ["tenant"], {}),
    ("error_rate", "avg", "5m", ["model"], {}),
    ("error_rate", "avg", "10m", ["tenant"], {"app.feature": "chat"}),
    ("tokens", "sum", "5m", ["conversation"], {}),
    ("tokens", "sum", "1h", ["tenant"], {}),
    ("output_tokens", "avg", "5m", ["model"], {}),
    ("input_tokens", "max", "10m", ["conversation"], {"model": ["gpt-4o*", "claude-*"]}),
    ("count", "sum", "1m", ["conversation"], {}),
    ("count", "sum", "5m", ["tenant"], {"app.feature": ["chat", "search"]}),
]

MIXED_RULES = len(_MIXED)


def mixed() -> dict[str, Any]:
    """Return the twenty mixed rules."""
    return _configuration(
        [
            _rule(f"mixed-{number:02}", metric, aggregate, window, group_by, filters)
            for number, (metric, aggregate, window, group_by, filters) in enumerate(_MIXED)
        ]
    )


def per_tenant(rules: int) -> dict[str, Any]:
    """Return one budget for each of so many tenants: they differ in a constant only."""
    names = [f"tenant-{number:05}" for number in range(rules)]
    return _configuration([_rule(f"budget-{name}", "cost", "sum", "1h", [], {"tenant": name}) for name in names])


def probe_rule(name: str = "probe", threshold: float = 1000, **fields: object) -> dict[str, Any]:
    """Return a rule that a conversation breaks with more than `threshold` USD; it tells `probe`."""
    return {
        "name": name,
        "metric": "cost",
        "aggregate": "sum",
        "window": "5m",
        "group_by": ["conversation"],
        "condition": "gt",
        "threshold": threshold,
        "notify": ["probe"],
        "notify_resolved": False,
        **fields,
    }


def with_webhook(config: dict[str, Any], port: int) -> dict[str, Any]:
    """Return the configuration with the contact point `probe`, a webhook on this machine."""
    return {
        **config,
        "contact_points": {"probe": {"type": "webhook", "url": f"http://127.0.0.1:{port}/hook", "allow_private": True}},
    }


def _configuration(rules: list[dict[str, Any]]) -> dict[str, Any]:
    overrides = {
        model: {"input": read, "output": written, "cache_read": cached, "per": "1M"}
        for model, (read, written, cached) in _PRICES.items()
    }
    return {"prices": {"overrides": overrides}, "rules": rules}


def _rule(
    name: str, metric: str, aggregate: str, window: str, group_by: list[str], filters: dict[str, Any]
) -> dict[str, Any]:
    return {
        "name": name,
        "metric": metric,
        "aggregate": aggregate,
        "window": window,
        "group_by": group_by,
        "filters": filters,
        "condition": "gt",
        "threshold": _NEVER.get(metric, _NEVER_TOKENS),
    }
