"""Since when what is recorded: a small file beside the journal, so that a gap is told from silence.

The service writes it when it starts and when its configuration changes; whoever asks for an attribute that was not
recorded all the time is told so.
"""

import json
import os
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from tocsin.history.config import LABELS, NUMBERS
from tocsin.model.batch import Needs, SpanBatch
from tocsin.model.recorded import label_of, number_of
from tocsin.semconv.bodies import is_body
from tocsin.semconv.documents import numeric
from tocsin.semconv.recording import Recording
from tocsin.semconv.spellings import spellings_of

__all__ = ["RecordedSince", "note_recorded", "read_back"]

FILE: Final = "recorded.json"
_MOST: Final = 1000
"""Changes that are kept; the oldest go."""
_ALWAYS: Final = frozenset({"model", "provider", "service", "response_id", "tool", "agent", "prompt_version"})


def note_recorded(journal: Path, recording: Recording, needs: Needs, now: int) -> None:
    """Write down what is recorded from now on, if that is new. Raises OSError.

    Args:
        journal: its directory, which is there.
        recording: what is kept beside what rules read.
        needs: what they read.
        now: wall clock, Unix nanoseconds.
    """
    names = _ALWAYS | recording.names | recording.needs.labels | recording.needs.numbers | needs.labels | needs.numbers
    entry = {"names": sorted(names), "prefixes": sorted(recording.prefixes)}
    known = RecordedSince.of(journal).entries
    if known and {key: known[-1].get(key) for key in entry} == entry:
        return
    path = journal / FILE
    new = path.with_suffix(".new")
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "w") as file:
        json.dump([*known, {"since": now, **entry}][-_MOST:], file)
    new.replace(path)


def read_back(batch: SpanBatch, needs: Needs) -> tuple[SpanBatch, list[str]]:
    """Return a recorded batch with what rules read, where it was recorded in any form, and the names it has not.

    An attribute that no rule read then may have been recorded as a number and be wanted as text, or the other way
    round; and a rule may write its key with underscores.
    """
    labels, numbers, missing = dict(batch.labels), dict(batch.numbers), []
    for name in sorted(needs.labels):
        if name in labels and name not in numbers:
            continue
        label = next((found for key in spellings_of(name) if (found := label_of(batch, key)) is not None), None)
        if label is None:
            missing.append(name)
        else:
            labels[name] = label
    for name in sorted(needs.numbers):
        if name in numbers and name not in batch.labels:
            continue
        spelled = (number_of(batch, key, numeric) for key in spellings_of(name))
        number = next((each for each in spelled if each is not None), None)
        if number is None:
            missing.append(name)
        else:
            numbers[name] = number
    return batch.conformed(labels, numbers), missing


@dataclass(frozen=True, slots=True)
class RecordedSince:
    """What was recorded from which time on."""

    entries: Sequence[dict[str, Any]]

    @classmethod
    def of(cls, journal: Path) -> "RecordedSince":
        """Return what a journal's directory says; nothing where it does not."""
        with suppress(OSError, ValueError):
            found = json.loads((journal / FILE).read_text())
            if isinstance(found, list):
                return cls([each for each in found if isinstance(each, dict) and isinstance(each.get("since"), int)])
        return cls(())

    def was(self, name: str, at: int) -> bool | None:
        """Return whether a label, number or attribute was recorded at a time; None: nobody knows."""
        entry = next((each for each in reversed(self.entries) if each["since"] <= at), None)
        return None if entry is None else _has(entry, name)

    def since(self, name: str) -> int | None:
        """Return since when a name has been recorded without a gap until now; None where it is not."""
        found = None
        for entry in reversed(self.entries):
            if not _has(entry, name):
                break
            found = int(entry["since"])
        return found

    def lacking(self, names: Iterable[str], found: Collection[str], times: tuple[int, int]) -> Iterator[str]:
        """Yield a sentence for each name that was not recorded all of a time.

        Args:
            names: of a query; those that are no short name, and no attribute's key, are left out.
            found: attributes that some span has.
            times: from and up to, Unix nanoseconds.
        """
        if not self.entries:
            return
        first = max(times[0], int(self.entries[0]["since"]))
        for name in sorted(set(names)):
            is_key = "." in name or name in found
            if not is_key and name not in LABELS and name not in NUMBERS:
                continue
            since = self.since(name)
            if since is None and name not in found and is_key:
                if any(_has(entry, name) for entry in self.entries):
                    yield f"{name} is not recorded any more"
                elif all(char.isalnum() or char in "._-" for char in name):
                    yield f"{name} is not recorded; history.attributes says which attributes are"
            elif since is not None and since > first:
                yield f"{name} was not recorded before {_shown(since)}"


def _has(entry: dict[str, Any], name: str) -> bool:
    for key in (name, *spellings_of(name)):
        if key in entry.get("names", ()):
            return True
        if not is_body(key) and key.startswith(tuple(entry.get("prefixes", ()))):
            return True
    return False


def _shown(at: int) -> str:
    return f"{datetime.fromtimestamp(at // 10**9, UTC):%Y-%m-%d %H:%M:%SZ}"
