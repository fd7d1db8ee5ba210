"""The plan: rules to leaves and watches. A reload makes a new one out of the parts of the old that are unchanged."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from tocsin.engine.evidence import SampleLog
from tocsin.engine.leaf import NOT_INHERITED, Leaf, LeafKey, awaited_bits, leaf_key, reader_key
from tocsin.engine.watch import Watch
from tocsin.model.sections import Section
from tocsin.model.state import Frozen
from tocsin.rules.rule import Rule, Scope
from tocsin.windows.groups import Groups
from tocsin.windows.index import Secret

__all__ = ["Plan", "make_plan"]

_MAX_INHERITED = 60
"""Labels that a row can wait for: one bit each in a 64-bit column."""


@dataclass(slots=True)
class Plan:
    """What is evaluated."""

    leaves: dict[LeafKey, Leaf] = field(default_factory=dict)
    groups: dict[tuple[tuple[str, ...], ...], Groups] = field(default_factory=dict)
    inherited: tuple[str, ...] = ()
    """Labels that a span may get from its trace; label i is bit `1 << i` of `View.missing`."""

    def of_scope(self, scope: Scope) -> list[Leaf]:
        """Return the leaves over spans or over traces."""
        return [leaf for leaf in self.leaves.values() if leaf.key.scope is scope]

    def over(self, groups: Groups) -> list[Leaf]:
        """Return the leaves with a grouping."""
        return [leaf for leaf in self.leaves.values() if leaf.groups is groups]

    def freeze(self) -> dict[str, Frozen]:
        """Return a section for each grouping and each leaf."""
        sections = {f"groups {number}": groups.freeze() for number, groups in enumerate(self.groups.values())}
        return sections | {f"leaf {number}": leaf.freeze() for number, leaf in enumerate(self.leaves.values())}

    def thaw(self, sections: Section) -> None:
        """Take the sections of a plan of the same rules."""
        for number, groups in enumerate(self.groups.values()):
            groups.thaw(sections.part(f"groups {number}"))
        for number, leaf in enumerate(self.leaves.values()):
            leaf.thaw(sections.part(f"leaf {number}"))


def make_plan(
    rules: Sequence[Rule], group_limit: int, evidence_limit: int, secret: Secret, old: Plan | None = None
) -> Plan:
    """Return the plan of some rules, taking windows and alert state from an old one where their keys are equal."""
    plan = Plan(inherited=_inherited(rules, old.inherited if old else ()))
    bits = {label: 1 << i for i, label in enumerate(plan.inherited)}
    members: dict[LeafKey, list[tuple[Rule, str | None]]] = defaultdict(list)
    for rule in rules:
        key, constant = leaf_key(rule)
        members[key].append((rule, constant))
    measures: dict[object, int] = {}
    choices: dict[object, int] = {}
    named: dict[tuple[tuple[str, ...], ...], set[str]] = defaultdict(set)
    log_limit = max(4096, evidence_limit // max(len(members), 1))
    for key, sharing in members.items():
        kept = None if old is None else old.leaves.get(key)
        # Trace rules and span rules count different things under the same labels: their groups live apart.
        place = (("scope", key.scope.value), *key.grouping)
        if place not in plan.groups:
            before = old.groups.get(place) if old else None
            plan.groups[place] = Groups(len(key.grouping), group_limit) if before is None else before
        groups = plan.groups[place]
        named[place] |= {constant for _, constant in sharing if constant is not None}
        leaf = kept if kept is not None else Leaf(key, groups, SampleLog(log_limit), secret)
        leaf.log.limit = log_limit
        former, leaf.watches = leaf.watches, _watches(sharing, groups)
        leaf.awaited = awaited_bits(key, bits)
        leaf.measure = measures.setdefault((key.metric, key.attribute), len(measures))
        choice = (leaf.billed, key.classes, key.filters, key.grouping, leaf.awaited)
        leaf.choice = choices.setdefault(choice, len(choices))
        for watch in leaf.watches:
            watch.resize()
            for each in former:
                watch.adopt(each)
        plan.leaves[key] = leaf
    for place, constants in named.items():
        plan.groups[place].reserved = frozenset(constants)
    return plan


def _watches(sharing: Iterable[tuple[Rule, str | None]], groups: Groups) -> list[Watch]:
    """Return watches with at most one rule a group each: rules for the same value, or for all, go to different ones."""
    layers: dict[tuple[object, ...], list[dict[str, Rule]]] = defaultdict(list)
    watches = []
    for rule, constant in sharing:
        if constant is None:
            watches.append(Watch([rule], None, groups))
            continue
        rows = layers[reader_key(rule)]
        layer = next((row for row in rows if constant not in row), None)
        if layer is None:
            rows.append(layer := {})
        layer[constant] = rule
    for rows in layers.values():
        watches += [Watch(list(layer.values()), {name: i for i, name in enumerate(layer)}, groups) for layer in rows]
    return watches


def _inherited(rules: Sequence[Rule], before: tuple[str, ...]) -> tuple[str, ...]:
    """Return the labels that may be inherited; those of before keep their bits."""
    wanted = (
        label
        for rule in rules
        for label in (
            *(each.label for each in rule.filters),
            *(label for entry in rule.group_by for label in entry),
        )
        if label not in NOT_INHERITED
    )
    return tuple(dict.fromkeys((*before, *wanted)))[:_MAX_INHERITED]
