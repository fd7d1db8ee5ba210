"""Configuration files for tests: the service on free ports of 127.0.0.1."""

from pathlib import Path
from textwrap import dedent, indent

__all__ = ["write_configuration"]


def write_configuration(path: Path, rules: str, *, webhook: str = "", more: str = "") -> Path:
    """Write a configuration with these rules (YAML list items) and return its path.

    Contact points are `terminal` (the log) and, where `webhook` is a URL, `hook`.
    """
    hook = f"  hook: {{type: webhook, url: {webhook}, allow_private: true}}\n" if webhook else ""
    path.write_text(
        "receivers:\n"
        "  otlp:\n"
        "    grpc: {endpoint: 127.0.0.1:0}\n"
        "    http: {endpoint: 127.0.0.1:0}\n"
        "api: {endpoint: 127.0.0.1:0}\n"
        "contact_points:\n"
        "  terminal: {type: log}\n"
        f"{hook}{dedent(more)}"
        f"rules:\n{indent(dedent(rules), '  ')}"
    )
    return path
