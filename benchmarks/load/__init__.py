"""Whole-process scenarios: real servers under a load generator on this machine, each with a goal.

A scenario is a module with `run(effort) -> list[Outcome]`. Servers are compared in interleaved rounds,
because a machine's speed drifts, by the CPU time of their processes as the kernel counts it.
"""
