"""Inhibition: while one alert rings, others that follow from it need not. Alertmanager's `inhibit_rules`."""

from collections.abc import Mapping
from typing import Annotated, Final

from pydantic import Field

from tocsin.model.settings import Settings
from tocsin.notify.routing.matchers import MatchesConfig, matches

__all__ = ["InhibitRule", "Inhibitions"]

_Key = tuple[int, tuple[str, ...]]
_NOBODY: Final[Mapping[str, bool]] = {}


class InhibitRule(Settings):
    """One entry of `inhibit_rules:`."""

    source_matchers: MatchesConfig
    """Which alerts, while they fire, hold others back."""
    target_matchers: MatchesConfig
    """Which alerts are held back."""
    equal: Annotated[tuple[str, ...], Field(max_length=20)] = ()
    """Labels that must have the same value in both; one that both lack is the same."""


class Inhibitions:
    """Which firing alerts are sources of which rules; a look-up costs one step a rule, however many fire."""

    def __init__(self, rules: tuple[InhibitRule, ...] = ()) -> None:
        self._rules = rules
        self._sources: dict[_Key, dict[str, bool]] = {}
        """Rule and equal values -> alerts, and whether each of them matches the rule's other side too."""
        self._of_alert: dict[str, tuple[_Key, ...]] = {}

    def fires(self, alert_id: str, labels: Mapping[str, str]) -> None:
        """Note that an alert fires with these labels; again, when they changed."""
        self.ends(alert_id)
        keys = tuple(
            (at, _values(rule, labels)) for at, rule in enumerate(self._rules) if matches(rule.source_matchers, labels)
        )
        for key in keys:
            both = matches(self._rules[key[0]].target_matchers, labels)
            self._sources.setdefault(key, {})[alert_id] = both
        if keys:
            self._of_alert[alert_id] = keys

    def ends(self, alert_id: str) -> None:
        """Note that an alert does not fire any more."""
        for key in self._of_alert.pop(alert_id, ()):
            sources = self._sources[key]
            del sources[alert_id]
            if not sources:
                del self._sources[key]

    def source_of(self, alert_id: str, labels: Mapping[str, str]) -> str | None:
        """Return the id of an alert that holds this one back, or None.

        One that matches both sides of a rule is not held back by another of which the same is true, as in
        Alertmanager: else two would silence each other.
        """
        for at, rule in enumerate(self._rules):
            if not matches(rule.target_matchers, labels):
                continue
            sources = self._sources.get((at, _values(rule, labels)), _NOBODY)
            both = matches(rule.source_matchers, labels)
            for source, is_target in sources.items():
                if source != alert_id and not (both and is_target):
                    return source
        return None


def _values(rule: InhibitRule, labels: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(labels.get(name, "") for name in rule.equal)
