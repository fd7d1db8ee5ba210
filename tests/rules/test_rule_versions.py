"""A rule's version is part of every alert's id: it must be the same in every process."""

import os
import subprocess
import sys

from tocsin.service.loading import load_text

TEXT = """
contact_points: {oncall: {type: log}}
rules:
  - name: everything
    metric: cost
    window: 5m
    group_by: [tenant, conversation or trace]
    filters: {model: [gpt-4o*, "!gpt-4o-mini", "~claude-.*"], app.size: ">5", environment: production}
    condition: gt
    levels: [{severity: medium, threshold: 10, notify: [oncall]}, {severity: critical, threshold: 25}]
    labels: {team: support, area: chat}
    spans: [llm, embeddings, tool]
"""


def version_elsewhere(seed: int) -> str:
    program = f"from tocsin.service.loading import load_text; print(load_text({TEXT!r}).rules[0].version)"
    environment = {**os.environ, "PYTHONHASHSEED": str(seed)}
    ended = subprocess.run(  # noqa: S603  # our own program
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True, timeout=30
    )
    return ended.stdout.strip()


def test_a_version_is_the_same_in_processes_that_hash_texts_differently() -> None:
    assert len({version_elsewhere(seed) for seed in (1, 2)}) == 1


def test_a_version_does_not_change_when_the_rule_is_used() -> None:
    [rule] = load_text(TEXT).rules
    before = rule.version
    assert [each.accepts("gpt-4o") for each in rule.filters]
    hash(rule.filters[0])
    assert load_text(TEXT).rules[0].version == before
