"""What a set of rules needs, compiled: the decoder's projection, and the aliases of each key that occurs.

A batch asks only about the columns that it has, so that the many aliases that are absent cost nothing.
"""

from collections.abc import Iterable, Sequence

from tocsin.model.batch import Needs
from tocsin.model.columns import DEFAULT_CAP, Projection, SpanColumns
from tocsin.semconv.bodies import BODIES, is_body
from tocsin.semconv.columns import occurs
from tocsin.semconv.labels import resource_aliases
from tocsin.semconv.recording import NOTHING, Recording
from tocsin.semconv.spellings import spellings_of
from tocsin.semconv.table import SPAN_NAME, Alias, How, Table

__all__ = ["ALWAYS", "EVALUATION_EVENT", "TTFT", "Occurrence", "Plan"]

ALWAYS = ("model", "provider", "service", "response_id", "tool", "agent", "prompt_version")
"""Labels that every batch carries, whatever the rules need."""

TTFT = "time_to_first_token"
EVALUATION_EVENT = "gen_ai.evaluation.result"

_ALWAYS_NUMBERS = ("cost", TTFT, "latency")
_MARKER_CAP = 256
_PRESENCE_CAP = 1  # only that it is there counts; some of these hold prompts


class Occurrence:
    """The aliases that occur in one batch, best first, by what they stand for."""

    __slots__ = ("labels", "numbers", "resources", "tokens")

    def __init__(self) -> None:
        self.tokens: dict[str, list[Alias]] = {}
        self.numbers: dict[str, list[Alias]] = {}
        self.labels: dict[str, list[Alias]] = {}
        self.resources: dict[str, list[Alias]] = {}

    def of_label(self, name: str) -> tuple[Sequence[Alias], Sequence[Alias]]:
        """Return the label's aliases on spans and those on resources."""
        return self.labels.get(name, ()), self.resources.get(name, ())


class Plan:
    """The table narrowed to what some rules need."""

    def __init__(self, table: Table, needs: Needs, recording: Recording = NOTHING) -> None:
        self.labels = tuple(dict.fromkeys((*ALWAYS, *sorted(needs.labels - {"trace"}))))
        self.numbers = tuple(sorted(needs.numbers))
        self.recorded_labels = tuple(sorted(recording.needs.labels - {*self.labels}))
        self.recorded_numbers = tuple(sorted(recording.needs.numbers - needs.numbers))
        self._tokens = dict(table.tokens)
        self._labels = {
            name: table.labels[name].aliases if name in table.labels else _spelled(name)
            for name in dict.fromkeys((*self.labels, *self.recorded_labels, "evaluation"))
        }
        self._numbers = {
            name: table.numbers.get(name) or _spelled(name)
            for name in dict.fromkeys((*_ALWAYS_NUMBERS, *self.numbers, *self.recorded_numbers, "judge_score"))
        }
        self._of_key: dict[str, list[tuple[str, str, int, Alias]]] = {}
        self._of_resource_key: dict[str, list[tuple[str, int, Alias]]] = {}
        self._special: list[tuple[str, str, int, Alias]] = []
        self._index()
        self.projection = _projection(table, self._every_alias(), recording)

    def occurrence(self, columns: SpanColumns) -> Occurrence:
        """Return the aliases that occur in a batch."""
        found: list[tuple[str, str, int, Alias]] = []
        for key in columns.attributes:
            found += self._of_key.get(key, ())
        found += [entry for entry in self._special if occurs(entry[3], columns)]
        # Ranks are unique within a name, so the aliases themselves are never compared.
        found.sort(key=_rank)
        occurrence = Occurrence()
        places = {"token": occurrence.tokens, "number": occurrence.numbers, "label": occurrence.labels}
        for place, name, _, alias in found:
            places[place].setdefault(name, []).append(alias)
        of_resource: list[tuple[str, int, Alias]] = []
        for key in columns.resources:
            of_resource += self._of_resource_key.get(key, ())
        of_resource.sort(key=lambda entry: entry[1])
        for name, _, alias in of_resource:
            occurrence.resources.setdefault(name, []).append(alias)
        return occurrence

    def _index(self) -> None:
        for place, names in (("token", self._tokens), ("number", self._numbers), ("label", self._labels)):
            for name, aliases in names.items():
                for rank, alias in enumerate(aliases):
                    entry = (place, name, rank, alias)
                    if alias.how in (How.EVENT_TIME, How.INDEXED) or alias.key == SPAN_NAME:
                        self._special.append(entry)
                    else:
                        self._of_key.setdefault(alias.key, []).append(entry)
        for name, aliases in self._labels.items():
            for rank, alias in enumerate(resource_aliases(aliases)):
                self._of_resource_key.setdefault(alias.key, []).append((name, rank, alias))

    def _every_alias(self) -> Iterable[Alias]:
        for names in (self._tokens, self._numbers, self._labels):
            for aliases in names.values():
                yield from aliases


def _spelled(name: str) -> tuple[Alias, ...]:
    """A key of the rules' own; one in Prometheus' spelling may have dots where the name has underscores."""
    return tuple(map(Alias, spellings_of(name)))


def _rank(entry: tuple[str, str, int, Alias]) -> int:
    return entry[2]


def _projection(table: Table, aliases: Iterable[Alias], recording: Recording) -> Projection:
    """Return what has to be decoded for these aliases, for the classification, and to be recorded."""
    caps: dict[str, int] = {}
    indexed: dict[tuple[str, str], None] = {}
    event_times: dict[str, None] = {}
    event_attributes: dict[tuple[str, str], None] = {}

    def want(key: str, cap: int) -> None:
        caps[key] = max(cap, caps.get(key, 0))

    for alias in aliases:
        if alias.indexed is not None:
            indexed[alias.indexed] = None
        elif alias.how is How.EVENT_TIME:
            event_times[alias.key] = None
        elif alias.event is not None:
            event_attributes[alias.event] = None
        elif alias.key != SPAN_NAME:
            want(alias.key, alias.cap)
        if alias.unless_false:
            want(alias.unless_false, DEFAULT_CAP)
    for kind in table.kinds:
        if kind.key:
            want(kind.key, _MARKER_CAP)
        for key in kind.any_of:
            want(key, _PRESENCE_CAP)
    for one in table.exclusive_input:
        for key in one.unless_any_of:
            want(key, _PRESENCE_CAP)
    for key in sorted(recording.names):
        want(key, DEFAULT_CAP)
    for key in [key for key in caps if key.startswith(recording.prefixes) and not is_body(key)]:
        want(key, DEFAULT_CAP)  # of some only a few bytes tell what a span is
    return Projection(
        attributes=caps,
        indexed=tuple(indexed),
        event_times=tuple(event_times),
        event_attributes=tuple(event_attributes),
        log_events=(EVALUATION_EVENT,),
        prefixes=recording.prefixes,
        barred=BODIES if recording.prefixes else (),
        most_prefixed=recording.most if recording.prefixes else 0,
    )
