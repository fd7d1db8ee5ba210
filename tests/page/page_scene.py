"""Configurations and traffic for tests of the page."""

from collections.abc import Mapping
from pathlib import Path
from textwrap import dedent, indent

from browser_harness import PageService
from otlp_requests import Value

__all__ = ["RULES", "attributes_of", "spend_too_much", "written"]

RULES = """
# One conversation burns money.
- name: runaway-conversation
  description: One conversation burns money.
  severity: critical
  metric: cost
  window: 5m
  group_by: conversation
  condition: gt
  threshold: $2.50 # by hand
  notify: [terminal, nowhere]
  labels: {team: support}
  runbook_url: https://runbooks.example/runaway
- name: many-errors
  severity: medium
  metric: error_rate
  window: 10m
  condition: gt
  threshold: 5%
  min_samples: 20
# An agent that asks itself.
- name: too-many-calls
  severity: high
  metric: count
  window: 5m
  group_by: agent
  condition: gt
  threshold: 30 # a guess
  notify: terminal
"""


def written(path: Path, *, rules: str = RULES, api: str = "", more: str = "") -> Path:
    """Write a configuration and return its path; `nowhere` is a contact point that nobody listens at.

    Args:
        path: of the file.
        rules: YAML list items.
        api: further keys of `api`, as a flow mapping's inside.
        more: further top-level keys.
    """
    path.write_text(
        "# ours\n"
        "receivers:\n"
        "  otlp: {grpc: {endpoint: 127.0.0.1:0}, http: {endpoint: 127.0.0.1:0}}\n"
        f"api: {{endpoint: 127.0.0.1:0, rate_limit: 1000/s{', ' + api if api else ''}}}\n"
        "network: {allow_private: true}\n"
        "trace_url: https://jaeger.example/trace/{trace_id}\n"
        f"{dedent(more)}"
        "contact_points:\n"
        "  terminal: {type: log} # ours, too\n"
        "  nowhere: {type: webhook, url: 'http://127.0.0.1:9/none'}\n"
        f"rules:\n{indent(dedent(rules), '  ')}"
    )
    return path


def attributes_of(conversation: str, tenant: str = "acme", agent: str = "support-bot") -> Mapping[str, Value]:
    """Return the attributes of a call."""
    return {"gen_ai.conversation.id": conversation, "tenant.id": tenant, "gen_ai.agent.name": agent}


def spend_too_much(service: PageService, conversation: str) -> None:
    """Have a conversation cross the limit of runaway-conversation: 20 calls of $0.161 each."""
    service.send(model="gpt-4o", number=20, tokens=64_000, attributes=attributes_of(conversation))
