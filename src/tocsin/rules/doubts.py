"""What is allowed in a rule and probably not meant."""

from typing import Final

from tocsin.model.settings import nanoseconds
from tocsin.rules.calendar import Period
from tocsin.rules.config import SHORT_NAMES, Mode, RuleConfig
from tocsin.rules.problems import KeyPath, Mistake, closest

__all__ = ["doubts_of"]

_DAY_NS: Final = 86_400 * 1_000_000_000


def doubts_of(config: RuleConfig) -> list[Mistake]:
    """Return what to warn of in a rule without mistakes; paths begin at the rule."""
    doubts = []
    told = bool(config.notify) or any(level.notify for level in config.levels or ())
    if config.enabled and not told and config.mode is Mode.LIVE:
        doubts.append(Mistake((), "notifies nobody: its alerts are only recorded"))
    labels: list[tuple[KeyPath, str]] = [(("filters", label), label) for label in config.filters]
    labels += [(("group_by", at), label) for at, entry in enumerate(config.group_by) for label in entry]
    for path, label in labels:
        near = "" if "." in label or label in SHORT_NAMES else closest(label, SHORT_NAMES)
        if near:
            doubts.append(
                Mistake(path, f"{label!r} is taken for an attribute's key{near}", at_key=path[0] == "filters")
            )
    return doubts + _long_memory(config)


def _long_memory(config: RuleConfig) -> list[Mistake]:
    """Groups that never come again, kept for long."""
    if not any("trace" in entry for entry in config.group_by) or config.window is None:
        return []
    if not isinstance(config.window, Period) and nanoseconds(config.window) <= _DAY_NS:
        return []
    shown = config.window.value if isinstance(config.window, Period) else "window"
    text = (
        f"every trace is kept for the whole {shown}, up to 'limits.groups' of them; a trace lasts for minutes: "
        "write a shorter window, or group by what comes again"
    )
    return [Mistake(("window",), text)]
