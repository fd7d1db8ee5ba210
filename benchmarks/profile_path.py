"""Where the time goes inside the process: the same path as `benchmarks.engine`, function by function.

Run: `python -m benchmarks.profile_path [--spans 512] [--body 0] [--merged 1] [--top 40] [--out FILE]`. First
the stages are timed without a profiler, because cProfile makes calls look dearer than they are; then cProfile
names the functions. `--out` keeps its data for snakeviz or pstats.
"""

import argparse
import cProfile
import pstats
import sys
import time
from collections.abc import Sequence

from benchmarks.load import configuration
from benchmarks.load.generator import Traffic
from benchmarks.path import InProcess, requests_of
from tocsin.receivers.intake import Signal
from tocsin.service.stages import Offer

__all__ = ["main"]

_SPANS = 200_000


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the stages, then the functions that take the most time of their own."""
    options = _parser().parse_args(arguments)
    traffic = Traffic(spans=options.spans, body=options.body)
    count = max(4 * options.merged, _SPANS // options.spans // (1 if options.spans > 100 else 4))
    path = InProcess(configuration.per_tenant(options.tenants) if options.tenants else configuration.mixed())
    _evaluate(path, requests_of(count, traffic), options.merged)  # caches are warm, groups exist
    _stages(path, requests_of(count, traffic), options.merged)
    requests = requests_of(count, traffic)
    profile = cProfile.Profile(time.thread_time)
    profile.enable()
    _evaluate(path, requests, options.merged)
    profile.disable()
    if options.out:
        profile.dump_stats(options.out)
    pstats.Stats(profile, stream=sys.stdout).sort_stats(options.sort).print_stats(options.top)


def _evaluate(path: InProcess, requests: Sequence[bytes], merged: int) -> None:
    for at in range(0, len(requests), merged):
        path.take(requests[at : at + merged])


def _stages(path: InProcess, requests: Sequence[bytes], merged: int) -> None:
    """Print what each stage takes per span and per evaluation, in microseconds of this thread's CPU time."""
    names = ("decode", "conventions and prices", "engine")
    taken = dict.fromkeys(names, 0.0)
    spans = evaluations = 0
    for at in range(0, len(requests), merged):
        now = time.time_ns()
        offers = [Offer(Signal.TRACES, data, "grpc", now) for data in requests[at : at + merged]]
        marks = [time.thread_time()]
        decoded = path.stages.decode(offers)
        marks.append(time.thread_time())
        prepared = path.stages.finish(offers, decoded)
        marks.append(time.thread_time())
        for batch in prepared.batches:
            path.engine.ingest(batch, now)
        marks.append(time.thread_time())
        for name, begun, ended in zip(names, marks, marks[1:], strict=False):
            taken[name] += ended - begun
        spans += sum(map(len, prepared.batches))
        evaluations += 1
    total = sum(taken.values())
    print(f"{spans:,} spans in {evaluations:,} evaluations, {total:.2f} s: {spans / total:,.0f} spans/s")
    for name, seconds in taken.items():
        each = f"{seconds / spans * 1e6:7.3f} µs a span, {seconds / evaluations * 1e6:8.1f} µs an evaluation"
        print(f"  {name:<24} {each}, {seconds / total:4.0%}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.profile_path", description=__doc__)
    parser.add_argument("--spans", type=int, default=512, help="in a request")
    parser.add_argument("--body", type=int, default=0, help="bytes of messages in a span")
    parser.add_argument("--merged", type=int, default=1, help="requests evaluated together")
    parser.add_argument("--tenants", type=int, default=0, help="so many per-tenant rules, not the mixed ones")
    parser.add_argument("--top", type=int, default=40, help="functions to print")
    parser.add_argument("--sort", default="tottime", choices=("tottime", "cumtime", "ncalls"))
    parser.add_argument("--out", help="file for the profile's data")
    return parser


if __name__ == "__main__":
    main()
