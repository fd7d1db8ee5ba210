"""Run the benchmarks: `python -m benchmarks [--only NAME …] [--quick]`; `--report` fills in the docs.

A full run records its result under `benchmarks/results/`. A part of it, or a quick one, only prints, unless
`--record` says otherwise: half a table must not take the place of a whole one.
"""

import argparse
import importlib
import sys
import time
from collections.abc import Callable, Sequence

from benchmarks import guard, report
from benchmarks.load import detection, durability, many_rules, memory, reload, start, steady, whole_path
from benchmarks.outcome import Effort, NotRunError, Outcome

__all__ = ["BENCHMARKS", "main"]

Benchmark = Callable[[Effort], Sequence[Outcome]]


def _module(name: str) -> Benchmark:
    """Return a benchmark that is a module with `run()`: in one process, and with its own rounds."""

    def run(effort: Effort) -> Sequence[Outcome]:
        del effort
        return [Outcome.of(row) for row in importlib.import_module(f"benchmarks.{name}").run()]

    return run


BENCHMARKS: dict[str, Benchmark] = {
    "decode": _module("decode"),
    "semconv": _module("semconv"),
    "pricing": _module("pricing"),
    "engine": _module("engine"),
    "spend": _module("spend"),
    "expressions": _module("expressions"),
    "whole-path": whole_path.run,
    "many-rules": many_rules.run,
    "detection": detection.run,
    "kill-switch": guard.run,
    "memory": memory.run,
    "start": start.run,
    "steady": steady.run,
    "durability": durability.run,
    "state": _module("state"),
    "reload": reload.run,
    "replay": _module("replay"),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what was asked for; return 1 where one could not run, or `--strict` and a goal is missed."""
    options = _parser().parse_args(arguments)
    if options.report:
        return _report()
    effort = Effort.quick() if options.quick else Effort()
    sections: dict[str, Sequence[Outcome]] = {}
    missing: dict[str, str] = {}
    for name in options.only or BENCHMARKS:
        _run_one(name, effort, sections, missing)
    result = report.result_of(sections, missing)
    print("\n" + report.table(result, report.previous(report.recorded())))
    if options.record or not (options.only or options.quick):
        print(f"\nrecorded in {report.record(result)}")
    missed = [row for rows in sections.values() for row in rows if row.reached is False]
    return 1 if missing or (options.strict and missed) else 0


def _run_one(name: str, effort: Effort, sections: dict[str, Sequence[Outcome]], missing: dict[str, str]) -> None:
    print(f"{name} …", end=" ", flush=True)
    begun = time.monotonic()
    try:
        sections[name] = BENCHMARKS[name](effort)
        print(f"{time.monotonic() - begun:.0f} s", flush=True)
    except (NotRunError, ImportError) as error:
        missing[name] = str(error)
        print(f"not run: {error}", flush=True)


def _report() -> int:
    results = report.recorded()
    if not results:
        print("benchmarks: there is no result to report; run `make bench` first", file=sys.stderr)
        return 1
    report.paste(results[-1])
    print(f"the result of {results[-1]['at']} is in {report.DOCUMENT}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--only", action="append", choices=BENCHMARKS, help="run this one; may be repeated")
    parser.add_argument("--quick", action="store_true", help="short rounds: to see it work, not for results")
    parser.add_argument("--record", action="store_true", help="record the result of a part or a quick run too")
    parser.add_argument("--strict", action="store_true", help="fail where a goal is missed")
    parser.add_argument("--report", action="store_true", help="paste the last recorded result into the documentation")
    return parser


if __name__ == "__main__":
    sys.exit(main())
