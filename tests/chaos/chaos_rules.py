"""The configuration under chaos: rules of which an oracle can say what they must do, whatever happens in between."""

from chaos_receiver import Collector, Webhook

__all__ = ["BURST_COOLDOWN", "CRITICAL", "MEDIUM", "SLOW", "SLOW_SECONDS", "configuration_of"]

MEDIUM, CRITICAL = 1_500_000_000, 4_000_000_000
"""Thresholds of `conversation-spend`, nano-USD."""
SLOW, SLOW_SECONDS = 1_000_000_000, 2
"""Threshold of `slow-burn`, nano-USD, and its `for`."""
BURST_COOLDOWN = 10

_RULES = f"""
rules:
  - name: conversation-spend
    metric: cost
    window: 6h
    group_by: conversation
    filters: {{app.kind: chat}}
    condition: gt
    levels:
      - {{severity: medium, threshold: {MEDIUM / 1e9}}}
      - {{severity: critical, threshold: {CRITICAL / 1e9}}}
    cooldown: 12h
    notify: [hook, second]
  - name: slow-burn
    metric: cost
    window: 6h
    group_by: conversation
    filters: {{app.kind: chat}}
    condition: gt
    threshold: {SLOW / 1e9}
    for: {SLOW_SECONDS}s
    cooldown: 12h
    notify: [hook]
  - name: burst
    metric: count
    window: 3s
    group_by: tenant
    filters: {{app.kind: chat}}
    condition: gt
    threshold: 40
    cooldown: {BURST_COOLDOWN}s
    notify: [hook]
  - name: conversation-total
    metric: cost
    window: 6h
    group_by: conversation
    condition: gt
    threshold: 500
    cooldown: 12h
    notify: [hook]
  - name: tenant-tokens
    metric: input_tokens
    window: 6h
    group_by: tenant
    condition: gt
    threshold: 100000000000
    cooldown: 12h
    notify: [hook]
  - name: tenant-units
    attribute: app.units
    aggregate: sum
    spans: llm
    window: 6h
    group_by: tenant
    condition: gt
    threshold: 1000000000
    cooldown: 12h
    notify: [hook]
"""


def configuration_of(hook: Webhook, second: Webhook, collector: Collector | None) -> str:
    """Return the configuration, without addresses and directories; small files and short intervals, to meet more."""
    forward = ""
    if collector is not None:
        retry = "retry: {initial: 200ms, max: 2s}"
        forward = f"forward: {{otlp: {{endpoint: '{collector.url}', protocol: http, timeout: 3s, {retry}}}}}\n"
    return (
        "contact_points:\n"
        f"  hook: {{type: webhook, url: '{hook.url}', allow_private: true, timeout: 3s}}\n"
        f"  second: {{type: webhook, url: '{second.url}', allow_private: true, timeout: 3s}}\n"
        "journal: {segment_size: 1MiB, max_size: 64MiB, snapshot_interval: 1s}\n"
        f"{forward}{_RULES}"
    )
