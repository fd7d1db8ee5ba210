"""Rule text to `Rule`: defaults filled in, units made exact, and what does not go together refused."""

from collections.abc import Mapping
from dataclasses import fields, replace
from types import MappingProxyType
from typing import Any

from tocsin.model.settings import nanoseconds
from tocsin.rules.config import Mode, RuleConfig
from tocsin.rules.measured import default_aggregate, measured_question
from tocsin.rules.problems import Mistake, Mistakes
from tocsin.rules.queries import expression_question, query_question
from tocsin.rules.question import Question, RuleContext
from tocsin.rules.rule import ROUTED, BlockAction, Rule
from tocsin.rules.versions import version_of

__all__ = ["RuleContext", "compile_rule", "default_aggregate"]

_OF_QUERIES = ("bound", "interval", "metric_name")
"""Fields that mean something beside `sql` only."""


def compile_rule(config: RuleConfig, context: RuleContext | None = None) -> tuple[Rule | None, list[Mistake]]:
    """Return the rule that a person wrote, or None and all that is wrong with it.

    Args:
        config: the rule's fields, each valid on its own.
        context: what counts where the rule does not say, and what names in its query stand for.

    Returns:
        The rule and no mistakes, or None and some; their paths begin at the rule.
    """
    context = context or RuleContext()
    mistakes = Mistakes()
    question = _question(config, context, mistakes)
    if question is None:
        return None, mistakes
    parts = _parts(config, context, question)
    parts["actions"] = _actions(config, question, mistakes)
    if config.mode is Mode.SHADOW:
        parts["levels"] = tuple(replace(level, notify=()) for level in question.levels)
        parts["actions"] = ()
    elif context.routed:
        parts["levels"] = tuple(replace(level, notify=level.notify or (ROUTED,)) for level in question.levels)
    if mistakes:
        return None, mistakes
    return Rule(**parts, version=version_of(parts)), mistakes


def _question(config: RuleConfig, context: RuleContext, mistakes: Mistakes) -> Question | None:
    if config.expr is not None:
        return expression_question(config, context, mistakes)
    if config.sql is not None:
        return query_question(config, context, mistakes)
    for key in _OF_QUERIES:
        if getattr(config, key) is not None:
            mistakes.tell((key,), f"'{key}' belongs to a rule with 'sql'; remove it, or write the query", at_key=True)
    if config.condition is None and config.baseline is None:
        mistakes.tell((), "'condition' is missing; add it")
        return None
    return measured_question(config, context, mistakes)


def _parts(config: RuleConfig, context: RuleContext, question: Question) -> dict[str, Any]:
    return {
        "project": config.project,
        "name": config.name,
        "description": config.description,
        **{field.name: getattr(question, field.name) for field in fields(question)},
        "for_ns": nanoseconds(config.for_),
        "keep_firing_ns": nanoseconds(config.keep_firing_for),
        "cooldown_ns": nanoseconds(config.cooldown),
        "notify_resolved": config.notify_resolved,
        "sampling": config.sampling or context.sampling,
        "runbook_url": config.runbook_url,
        "dashboard_url": config.dashboard_url,
        "summary": config.summary,
        "labels": MappingProxyType(_labels(config)),
        "shadow": config.mode is Mode.SHADOW,
    }


def _labels(config: RuleConfig) -> Mapping[str, str]:
    """The rule's labels; a query's own name for what it measures is one of them."""
    named = {} if config.metric_name is None else {"metric_name": config.metric_name}
    return {**named, **config.labels}


def _actions(config: RuleConfig, question: Question, mistakes: Mistakes) -> tuple[BlockAction, ...]:
    known = {label for entry in question.group_by for label in entry}
    for at, action in enumerate(config.actions):
        if action.block not in known:
            where = "'group_by'" if config.sql is None else "the query's GROUP BY"
            text = f"the rule has no single {action.block!r} to block; add it to {where}"
            mistakes.tell(("actions", at, "block"), text)
        elif not action.ttl:
            mistakes.tell(("actions", at, "ttl"), "a block of no length; write how long it lasts, like 1h")
    return tuple(BlockAction(action.block, nanoseconds(action.ttl)) for action in config.actions)
