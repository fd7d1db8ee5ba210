"""Changes of rules, contact points and prices: each read, made, checked and written as one. It blocks: use a thread."""

import difflib
import hashlib
import os
import textwrap
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tocsin.api.editing import (
    Decide,
    FieldProblem,
    Fields,
    MissingError,
    RejectedError,
    TakenError,
    UnwritableError,
    Written,
    WrittenItem,
    rule_key,
)
from tocsin.errors import ConfigError
from tocsin.rules.document import MAX_BYTES
from tocsin.rules.problems import KeyPath
from tocsin.rules.rule import Rule
from tocsin.service.editing.files import RuleKey, Shelf, TextFile, field_problems, read_shelf
from tocsin.service.editing.splicing import REMOVED, SpliceError, spliced
from tocsin.service.editing.swapping import Exchange, exchange, locked, swapped
from tocsin.service.loading import Loaded, Loader

__all__ = ["Edited", "Editor"]

_ATTEMPTS: Final = 20
"""How often a change is made again because somebody else wrote at the same moment."""
_OUTSIDE: Final = ("${env:", "${file:")


@dataclass(frozen=True, slots=True)
class Edited:
    """A change that was written, or was none."""

    item: WrittenItem | None
    path: Path
    digest: bytes
    """SHA-256 of the file's content afterwards."""
    is_new: bool
    """Whether anything was written."""


class Editor:
    """Changes the files of one configuration. Threads take turns."""

    def __init__(self, path: Path, *, environ: Mapping[str, str] | None = None, swap: Exchange = exchange) -> None:
        """Remember what to change; nothing is read yet.

        Args:
            path: the configuration file.
            environ: what `${env:}` stands for; the process's environment if None.
            swap: has two files change places.
        """
        self._path = path
        self._loader = Loader(path, environ=environ)
        self._swap = swap
        self._turn = threading.Lock()
        self._known: dict[Path, TextFile] = {}

    def shelf(self) -> Shelf:
        """Return the files as they are.

        Raises:
            UnwritableError: one can't be read.
        """
        with self._turn:
            return self._shelf()

    def change_rule(self, key: RuleKey, decide: Decide, file: str | None = None) -> Edited:
        """See `Edits.change_rule`."""
        return self._change(lambda shelf: _place_of(shelf, key, file), decide)

    def written(self, fields: Fields, file: str | None = None) -> Written:
        """See `Edits.written`."""
        key = rule_key(fields)
        with self._turn:
            old, path, before = _place_of(self._shelf(), key, file)
            new = self._spliced(old, path, _checked(fields, before))
        after = new.item(path)
        lines = _marked([] if before is None else _lines(old, before), _lines(new, after))
        return Written(str(old.path), tuple(lines), _read_only(old.path))

    def change_contact_point(self, name: str, decide: Decide) -> Edited:
        """See `Edits.change_contact_point`."""

        def place(shelf: Shelf) -> tuple[TextFile, KeyPath, WrittenItem | None]:
            points = shelf.main.document.root.child("contact_points")
            path = ("contact_points", name)
            there = points is not None and points.child(name) is not None
            return shelf.main, path, shelf.main.item(path) if there else None

        return self._change(place, decide)

    def add_price(self, model: str, prices: Fields) -> Edited:
        """See `Edits.add_price`."""
        path = ("prices", "overrides", model)

        def place(shelf: Shelf) -> tuple[TextFile, KeyPath, WrittenItem | None]:
            there = shelf.main.document.root
            for step in path:
                child = there.child(step)
                if child is None:
                    return shelf.main, path, None
                there = child
            return shelf.main, path, shelf.main.item(path)

        def decide(before: WrittenItem | None) -> Fields:
            if before is not None:
                raise TakenError(f"there is an override for {model!r} at {before.file}:{before.line}; change that")
            if "*" in model or "?" in model:
                text = f"{model!r} would be read as a pattern; write an override for it into the file by hand"
                raise RejectedError([FieldProblem("model", text)])
            _checked({model: prices}, None)  # senders choose the names of models
            return prices

        return self._change(place, decide)

    def tried(self, fields: Fields, *, anybody: bool = False) -> tuple[list[FieldProblem], Rule | None]:
        """Return what would be wrong with a rule, and the rule where that is nothing and it is enabled.

        Args:
            fields: the rule's.
            anybody: whether contact points need not be there.

        Raises:
            UnwritableError: the files can't be read.
        """
        with self._turn:
            shelf = self._shelf()
            key = rule_key(fields)
            found = shelf.find_rule(key)
            file, path = shelf.main, ("rules", sum(1 for _ in shelf.main.rules()))
            if found is not None:
                file, path = found[0], ("rules", found[1])
            new = self._spliced(file, path, _checked(fields, None))
            try:
                loaded = self._loaded({file.path: new.data}, anybody=anybody)
            except ConfigError as error:
                told = field_problems(error.problems, new, path)
                own = [problem for problem in told if problem.field or _is_within(problem, new, path)]
                return own, None
            return [], next((rule for rule in loaded.rules if rule.key == key), None)

    def _change(self, place: Callable[[Shelf], tuple[TextFile, KeyPath, WrittenItem | None]], decide: Decide) -> Edited:
        with self._turn:
            for _ in range(_ATTEMPTS):
                file, path, before = place(self._shelf())
                wanted = decide(before)
                if wanted is None and before is None:
                    return Edited(None, file.path, _digest(file), is_new=False)
                if wanted is not None and before is not None and wanted == before.fields:
                    return Edited(before, file.path, _digest(file), is_new=False)
                checked = None if wanted is None else _checked(wanted, before)
                new = self._spliced(file, path, checked)
                self._check(new, path, gone=wanted is None)
                if self._written(file, new):
                    item = None if wanted is None else new.item(path)
                    return Edited(item, file.path, _digest(new), is_new=True)
        raise UnwritableError(f"{self._path}: changes all the time; try again when nobody else writes it")

    def _shelf(self) -> Shelf:
        """Read the files; the loader finds which they are."""
        self._loader.instead = {}
        with suppress(ConfigError):  # what is wrong is told where it matters
            self._loader.load()
        paths = [path for path, limit in self._loader.reading.limits.items() if limit == MAX_BYTES]
        shelf = read_shelf(list(dict.fromkeys([self._path, *paths])), self._known)
        self._known = {file.path: file for file in shelf.files}
        return shelf

    def _spliced(self, file: TextFile, path: KeyPath, fields: Fields | None) -> TextFile:
        if not file.in_order:
            raise UnwritableError(f"{file.path}: is not in order as it is; correct it by hand first")
        try:
            value = REMOVED if fields is None else fields
            text = spliced(file.data.decode("utf-8-sig"), path, value, whole=len(path))
        except SpliceError as error:
            raise UnwritableError(f"{file.path}: {error}") from error
        return TextFile.of(file.path, file.encoded(text))

    def _check(self, new: TextFile, path: KeyPath, *, gone: bool) -> None:
        try:
            self._loaded({new.path: new.data})
        except ConfigError as error:
            told = [FieldProblem("", line) for line in error.problems] if gone else None
            raise RejectedError(told or field_problems(error.problems, new, path)) from error

    def _loaded(self, instead: Mapping[Path, bytes], *, anybody: bool = False) -> Loaded:
        self._loader.instead = instead
        try:
            return self._loader.check(anybody=True) if anybody else self._loader.load()
        finally:
            self._loader.instead = {}

    def _written(self, old: TextFile, new: TextFile) -> bool:
        try:
            with locked(old.path.resolve().parent):
                return swapped(old.path, old.data, new.data, swap=self._swap)
        except OSError as error:
            raise UnwritableError(
                f"{old.path}: can't be written ({error.strerror or error}); give the service the right to, or edit it "
                "where it comes from"
            ) from error


def _place_of(shelf: Shelf, key: RuleKey, file: str | None) -> tuple[TextFile, KeyPath, WrittenItem | None]:
    found = shelf.find_rule(key)
    if found is not None:
        return found[0], ("rules", found[1]), found[0].item(("rules", found[1]))
    home = shelf.home(file)
    if home is None:
        names = ", ".join(str(each.path) for each in shelf.files)
        raise MissingError(f"no file {file!r} holds rules; there are: {names}")
    return home, ("rules", sum(1 for _ in home.rules())), None


def _lines(file: TextFile, item: WrittenItem) -> list[str]:
    return textwrap.dedent("\n".join(file.text.splitlines()[item.line - 1 : item.last_line])).split("\n")


def _marked(old: Sequence[str], new: Sequence[str]) -> Iterator[tuple[str, str]]:
    for kind, begin, end, first, last in difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        if kind == "equal":
            yield from ((" ", line) for line in new[first:last])
        else:
            yield from (("-", line) for line in old[begin:end])
            yield from (("+", line) for line in new[first:last])


def _read_only(path: Path) -> str | None:
    """Why a file can't be changed, as far as can be told before it is tried: another takes its place."""
    if os.access(path.resolve().parent, os.W_OK | os.X_OK):
        return None
    return f"{path} can't be written by the service; give it the right to, or edit the file where it comes from"


def _checked(fields: Fields, before: WrittenItem | None) -> Fields:
    """Refuse new references to the outside: whoever may write rules must not read this machine's secrets by them.

    Raises:
        RejectedError: there is one that was not there before.
    """
    known = set(_texts(before.fields)) if before is not None else set()
    problems = [
        FieldProblem(
            ".".join(map(str, path)), "a reference to the environment or to a file is written in the file only"
        )
        for path, text in _walked(fields, ())
        if any(sign in text for sign in _OUTSIDE) and text not in known
    ]
    if problems:
        raise RejectedError(problems)
    return fields


def _texts(value: object) -> Sequence[str]:
    return [text for _, text in _walked(value, ())]


def _walked(value: Any, path: KeyPath) -> list[tuple[KeyPath, str]]:  # noqa: ANN401  # JSON
    if isinstance(value, str):
        return [(path, value)]
    if isinstance(value, Mapping):
        keys = [((*path, key), key) for key in value]
        return keys + [found for key, each in value.items() for found in _walked(each, (*path, key))]
    if isinstance(value, list | tuple):
        return [found for at, each in enumerate(value) for found in _walked(each, (*path, at))]
    return []


def _is_within(problem: FieldProblem, file: TextFile, path: KeyPath) -> bool:
    item = file.item(path)
    name, _, rest = problem.place.partition(f"{file.path}:")
    row = rest.partition(":")[0]
    return not name and row.isdigit() and item.line <= int(row) <= item.last_line


def _digest(file: TextFile) -> bytes:
    return hashlib.sha256(file.data).digest()
