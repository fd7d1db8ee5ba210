"""The plan: rules to leaves and watches. A reload makes a new one out of the parts of the old that are unchanged."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from tocsin.engine.evidence import SampleLog
from tocsin.engine.leaf import Leaf
from tocsin.engine.leafkeys import NOT_INHERITED, LeafKey, awaited_bits, leaf_key, reader_key, series_key
from tocsin.engine.vectors.planning import Planned, planned, wanted_of
from tocsin.engine.vectors.spaces import Place, Spaces
from tocsin.engine.vectors.watching import FormulaSubject
from tocsin.engine.watch import Watch
from tocsin.model.sections import Section
from tocsin.model.state import Frozen
from tocsin.rules.rule import Rule, Scope
from tocsin.rules.vector import Expression, Series, series_of
from tocsin.windows.groups import Groups
from tocsin.windows.index import Secret

__all__ = ["Plan", "make_plan"]

_MAX_INHERITED = 60
"""Labels that a row can wait for: one bit each in a 64-bit column."""


@dataclass(slots=True)
class Plan:
    """What is evaluated."""

    leaves: dict[LeafKey, Leaf] = field(default_factory=dict)
    groups: dict[Place, Groups] = field(default_factory=dict)
    """By their labels; spans and traces of one group share a slot, so that expressions may compare them."""
    inherited: tuple[str, ...] = ()
    """Labels that a span may get from its trace; label i is bit `1 << i` of `View.missing`."""
    spaces: Spaces = field(default_factory=Spaces)
    expressions: list[Planned] = field(default_factory=list)
    """Rules with expressions, in their order."""
    memory: dict[Place, int] = field(default_factory=dict)
    """For each grouping how long after a sample its group has to be known, nanoseconds."""

    def of_scope(self, scope: Scope) -> list[Leaf]:
        """Return the leaves over spans or over traces."""
        return [leaf for leaf in self.leaves.values() if leaf.key.scope is scope]

    def over(self, groups: Groups) -> list[Leaf]:
        """Return the leaves with a grouping."""
        return [leaf for leaf in self.leaves.values() if leaf.groups is groups]

    def watches(self) -> list[tuple[Leaf | FormulaSubject, Watch]]:
        """Return all watches, each with what it watches, in an order that the rules decide."""
        own: list[tuple[Leaf | FormulaSubject, Watch]] = []
        own += [(leaf, watch) for leaf in self.leaves.values() for watch in leaf.watches]
        return own + [(each.subject, each.watch) for each in self.expressions]

    def forget(self, now: int) -> None:
        """Forget the groups whose samples have all left every window by event time `now`."""
        for place, groups in self.groups.items():
            leaves = self.over(groups)
            watches = [watch for _, watch in self.watches() if watch.groups is groups]
            gone = groups.sweep(now - self.memory[place], lambda slot, held=watches: any(w.active[slot] for w in held))  # type: ignore[misc]  # a bound default
            if len(gone):
                for leaf in leaves:
                    leaf.forget(gone)
                for watch in watches:
                    watch.resize()
                    watch.forget(gone)
                self.spaces[place].forget(gone)

    def find_memory(self) -> None:
        """Find how long groups have to be known: as long as a window may have samples of them."""
        longest = dict.fromkeys(self.groups, 0)
        for leaf in self.leaves.values():
            width = 0 if leaf.window is None or leaf.key.opens else leaf.window.panes.width_ns
            longest[leaf.key.grouping] = max(longest[leaf.key.grouping], leaf.key.memory_ns + width)
        # What is computed from other groups lives as long as they do; those have more labels.
        for place in sorted(self.groups, key=len, reverse=True):
            for projection in self.spaces.outer(place):
                target = projection.target.place
                longest[target] = max(longest[target], longest[place])
        self.memory = longest

    def freeze(self) -> dict[str, Frozen]:
        """Return a section for each grouping, each leaf and each expression."""
        sections = {f"groups {number}": groups.freeze() for number, groups in enumerate(self.groups.values())}
        sections |= {f"leaf {number}": leaf.freeze() for number, leaf in enumerate(self.leaves.values())}
        sections |= {f"expression {number}": each.freeze() for number, each in enumerate(self.expressions)}
        return sections | {"projections": self.spaces.freeze()}

    def thaw(self, sections: Section) -> None:
        """Take the sections of a plan of the same rules."""
        for number, groups in enumerate(self.groups.values()):
            groups.thaw(sections.part(f"groups {number}"))
        for number, leaf in enumerate(self.leaves.values()):
            leaf.thaw(sections.part(f"leaf {number}"))
        for number, each in enumerate(self.expressions):
            each.thaw(sections.part(f"expression {number}"))
        self.spaces.thaw(sections.part("projections"))


def make_plan(
    rules: Sequence[Rule], group_limit: int, evidence_limit: int, secret: Secret, old: Plan | None = None
) -> Plan:
    """Return the plan of some rules, taking windows and alert state from an old one where their keys are equal."""
    plan = Plan(inherited=_inherited(rules, old.inherited if old else ()))
    members: dict[LeafKey, list[tuple[Rule, str | None]]] = defaultdict(list)
    wanted = {rule.key: wanted_of(rule, rule.expression) for rule in rules if rule.expression is not None}
    for rule in rules:
        if rule.expression is None:
            key, constant = leaf_key(rule)
            members[key].append((rule, constant))
            continue
        needs = wanted[rule.key]
        for series, running in (*((each, False) for each in needs.series), *((each, True) for each in needs.running)):
            members[series_key(series, rule, running=running)] += ()
    places = [key.grouping for key in members]
    places += [place for needs in wanted.values() for place in needs.places]
    for place in dict.fromkeys(places):
        before = old.groups.get(place) if old else None
        plan.groups[place] = Groups(len(place), group_limit) if before is None else before
    _make_leaves(plan, members, max(4096, evidence_limit // max(len(members), 1)), secret, old)
    for place, groups in plan.groups.items():
        plan.spaces.add(place, groups)
    for rule in rules:
        if rule.expression is not None:
            plan.expressions.append(_expression(plan, rule, rule.expression, old))
    for leaf in plan.leaves.values():
        leaf.is_logged = bool(leaf.watches or leaf.leads)
    plan.find_memory()
    return plan


def _make_leaves(
    plan: Plan,
    members: Mapping[LeafKey, Sequence[tuple[Rule, str | None]]],
    log_limit: int,
    secret: Secret,
    old: Plan | None,
) -> None:
    bits = {label: 1 << i for i, label in enumerate(plan.inherited)}
    measures: dict[object, int] = {}
    choices: dict[object, int] = {}
    named: dict[Place, set[str]] = defaultdict(set)
    for key, sharing in members.items():
        kept = None if old is None else old.leaves.get(key)
        groups = plan.groups[key.grouping]
        named[key.grouping] |= {constant for _, constant in sharing if constant is not None}
        leaf = kept if kept is not None else Leaf(key, groups, SampleLog(log_limit), secret)
        leaf.log.limit = log_limit
        former, leaf.watches = leaf.watches, _watches(sharing, groups)
        leaf.leave()
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


def _expression(plan: Plan, rule: Rule, expression: Expression, old: Plan | None) -> Planned:
    """Return a rule's formulas; its alerts go on where what is compared is what it was."""

    def leaf_of(series: Series, running: bool) -> Leaf:  # noqa: FBT001  # a kind of window
        return plan.leaves[series_key(series, rule, running=running)]

    found = planned(rule, expression, plan.spaces, leaf_of)
    found.join()
    for before in () if old is None else old.expressions:
        was = before.rule.expression
        if before.rule.key == rule.key and was is not None and was.value == expression.value:
            found.watch.adopt(before.watch)
            found.ready_at, found.is_pending = before.ready_at, before.is_pending
            found.complete_from = before.complete_from
            break
    return found


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
    wanted = (label for rule in rules for label in _labels_of(rule) if label not in NOT_INHERITED)
    return tuple(dict.fromkeys((*before, *wanted)))[:_MAX_INHERITED]


def _labels_of(rule: Rule) -> Iterator[str]:
    """Yield the labels that a rule reads of samples."""
    yield from (each.label for each in rule.filters)
    yield from (label for entry in rule.group_by for label in entry)
    expression = rule.expression
    for series in (
        () if expression is None else series_of(expression.value, *(expression.limits or ()), expression.gate)
    ):
        yield from (each.label for each in series.filters)
        yield from (label for entry in series.labels for label in entry)
