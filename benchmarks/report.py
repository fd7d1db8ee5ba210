"""The table of results: printed, recorded, compared with the last recorded one, pasted into the docs."""

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.machine import machine, revision
from benchmarks.outcome import Outcome

__all__ = ["DOCUMENT", "RESULTS", "markdown", "paste", "previous", "record", "recorded", "result_of", "table"]

RESULTS = Path(__file__).parent / "results"
DOCUMENT = Path(__file__).parent.parent / "docs" / "performance.md"
_BEGIN = "<!-- results: begin, written by `python -m benchmarks --report` -->"
_END = "<!-- results: end -->"


def result_of(sections: Mapping[str, Sequence[Outcome]], missing: Mapping[str, str]) -> dict[str, Any]:
    """Return what is recorded: the outcomes by benchmark, why others did not run, machine and revision."""
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "revision": revision(),
        "machine": machine(),
        "sections": {name: [row.as_dict() for row in rows] for name, rows in sections.items()},
        "not_run": dict(missing),
    }


def record(result: Mapping[str, Any]) -> Path:
    """Write a result under its date and return the file; a second one of a day replaces the first."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{result['at'][:10]}.json"
    path.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return path


def recorded() -> list[dict[str, Any]]:
    """Return all recorded results, the oldest first."""
    return [json.loads(path.read_text(encoding="utf-8")) for path in sorted(RESULTS.glob("*.json"))]


def previous(results: Iterable[Mapping[str, Any]]) -> dict[str, float]:
    """Return the last recorded value of every row."""
    return {row["name"]: row["value"] for result in results for rows in result["sections"].values() for row in rows}


def table(result: Mapping[str, Any], before: Mapping[str, float]) -> str:
    """Return the result as lines for a terminal."""
    lines = [_headline(result)]
    for name, rows in result["sections"].items():
        lines.append(f"\n{name}")
        for row in rows:
            cells = _cells(row, before)
            lines.append(
                f"  {cells['what']:<66} {cells['value']:>22} {cells['range']:>21}"
                f"  {cells['goal']:<9}{cells['reached']:<8}{cells['before']}"
            )
            if row.get("note"):
                lines.append(f"      {row['note']}")
    lines += [f"\nnot run: {name}: {_brief(why)}" for name, why in result["not_run"].items()]
    return "\n".join(lines)


def markdown(result: Mapping[str, Any]) -> str:
    """Return the result as tables for the documentation."""
    lines = [_headline(result)]
    for name, rows in result["sections"].items():
        lines += [
            "",
            f"### {name}",
            "",
            "| what | median | range | goal | reached |",
            "|---|---|---|---|---|",
        ]
        for row in rows:
            cells = _cells(row, {})
            what = cells["what"] + (f" ({row['note']})" if row.get("note") else "")
            lines.append(f"| {what} | {cells['value']} | {cells['range']} | {cells['goal']} | {cells['reached']} |")
    lines += [f"\nNot run: {name}: {_brief(why)}" for name, why in result["not_run"].items()]
    return "\n".join(lines)


def paste(result: Mapping[str, Any], document: Path = DOCUMENT, *, begin: str = _BEGIN, end: str = _END) -> None:
    """Replace what stands between two marks of a document.

    Raises:
        ValueError: it has no markers.
    """
    text = document.read_text(encoding="utf-8")
    if begin not in text or end not in text:
        raise ValueError(f"{document} has no markers; it needs the lines {begin!r} and {end!r}")
    head, rest = text.split(begin, 1)
    tail = rest.split(end, 1)[1]
    document.write_text(f"{head}{begin}\n{markdown(result)}\n{end}{tail}", encoding="utf-8")


def _headline(result: Mapping[str, Any]) -> str:
    facts = result["machine"]
    packages = ", ".join(f"{name} {number}" for name, number in facts["packages"].items())
    return (
        f"{result['at']}, revision {result['revision'] or 'unknown'}: "
        f"{facts['cores']} cores of {facts['cpu']}, "
        f"{facts['memory_gib']} GiB, Linux {facts['kernel']}, load before {facts['load_before']}; "
        f"Python {facts['python']}, {packages}."
    )


def _cells(row: Mapping[str, Any], before: Mapping[str, float]) -> dict[str, str]:
    spread = row.get("low") is not None and row["rounds"] > 1
    reached = {True: "yes", False: "NO", None: ""}[row["reached"]]
    last = before.get(row["name"])
    return {
        "what": row["name"],
        "value": f"{_number(row['value'])} {row['unit']}".strip(),
        "range": f"{_number(row['low'])} to {_number(row['high'])}" if spread else "",
        "goal": row["target"].replace("<=", "≤").replace(">=", "≥"),
        "reached": reached,
        "before": "" if last is None else f"was {_number(last)}",
    }


def _brief(why: str) -> str:
    """Return the first line of a reason and, of what a program said after it, the last."""
    lines = why.splitlines() or [""]
    return lines[0] if len(lines) == 1 else f"{lines[0]} {lines[-1]}"


def _number(value: float) -> str:
    """Return three significant digits, and whole numbers from a hundred on."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
