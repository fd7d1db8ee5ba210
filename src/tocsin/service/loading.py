"""From a configuration file to a checked configuration and its rules; every mistake of every file at once.

Text only: nothing is opened but the files, nothing is started, no name is resolved.
"""

import glob
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tocsin.errors import ConfigError
from tocsin.notify.template import problem_of
from tocsin.rules.compile import RuleContext, compile_rule
from tocsin.rules.config import RuleConfig
from tocsin.rules.document import MAX_BYTES, Document
from tocsin.rules.doubts import doubts_of
from tocsin.rules.items import ItemMemory, Parsed
from tocsin.rules.problems import KeyPath, Mistake, Problem, closest
from tocsin.rules.rule import Rule
from tocsin.rules.templates import Expanded, Template, built_in, expand, templates_of
from tocsin.rules.validation import unknown_key, validate
from tocsin.service.config import Configuration
from tocsin.service.reading import Reading, ReadingError
from tocsin.service.references import References

__all__ = ["Loaded", "Loader", "load", "load_text"]

MAX_RULE_FILES = 10_000
_MAX_PROBLEMS = 100
"""More than these help nobody."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """A valid configuration and what it was made of."""

    configuration: Configuration
    """`rules` holds those of all files, disabled ones included, as they were written."""
    rules: tuple[Rule, ...]
    """The enabled ones, in the order of the files."""
    files: tuple[Path, ...]
    """Everything that was read: configuration, rule files, `${file:}` secrets."""
    warnings: tuple[str, ...] = ()
    """`file:line:col: what`, for what is allowed and probably not meant."""


def load(path: Path, *, environ: Mapping[str, str] | None = None) -> Loaded:
    """Return the configuration of a file.

    Args:
        path: the file.
        environ: what `${env:}` stands for; the process's environment if None.

    Raises:
        ConfigError: with every problem of every file.
    """
    return Loader(path, environ=environ).load()


def load_text(
    text: str,
    *,
    file: str = "config.yaml",
    directory: Path | None = None,
    environ: Mapping[str, str] | None = None,
) -> Loaded:
    """Return the configuration of a text, as if it stood in `directory / file`.

    Args:
        text: YAML.
        file: the name to show in problems.
        directory: where `rule_files:` and `${file:}` begin; the working directory if None.
        environ: what `${env:}` stands for; the process's environment if None.

    Raises:
        ConfigError: with every problem of every file.
    """
    loader = Loader((directory or Path()) / file, environ=environ)
    return loader.load(text.encode())


@dataclass(slots=True)
class _RuleText:
    """One rule of a file on its way."""

    document: Document
    path: KeyPath
    written: object
    """With its template filled in."""
    expanded: Expanded
    config: RuleConfig | None = None
    rule: Rule | None = None

    @property
    def shown(self) -> str:
        """How messages name it."""
        name = self.written.get("name") if isinstance(self.written, dict) else None
        return f"rule {name[:120]!r}" if isinstance(name, str) and name else f"rule {int(self.path[-1]) + 1}"


@dataclass(frozen=True, slots=True)
class _Meaning:
    """What one rule's text means, wherever it stands."""

    config: RuleConfig | None
    rule: Rule | None
    mistakes: list[Mistake]
    """Paths begin at the rule."""


@dataclass(frozen=True, slots=True)
class _Around:
    """What rules take from the configuration; where it changes, all of them are read again."""

    context: RuleContext
    templates: Mapping[str, Template] = field(compare=False)
    contents: object
    """What the user's own templates say."""


@dataclass(slots=True)
class _RuleFile:
    """What a file's rules became; kept while its content stays the same."""

    digest: bytes | str
    around: _Around
    document: Document
    rules: list[_RuleText]
    problems: list[Problem]


@dataclass(slots=True)
class _Outcome:
    """What one load has found so far."""

    problems: list[Problem] = field(default_factory=list)
    warnings: list[Problem] = field(default_factory=list)
    rules: list[_RuleText] = field(default_factory=list)


class Loader:
    """Loads a configuration again and again; files that did not change are not parsed again."""

    def __init__(self, path: Path, *, environ: Mapping[str, str] | None = None) -> None:
        self._path = path
        self._environ = os.environ if environ is None else environ
        self._rule_files: dict[Path, _RuleFile] = {}
        self._items: dict[Path, ItemMemory] = {}
        self._meanings: dict[Path, dict[str, _Meaning]] = {}
        self._around: _Around | None = None
        self.reading = Reading()
        """What the last load looked at, whether it succeeded or not."""
        self.instead: Mapping[Path, bytes] = {}
        """What counts as the content of some files at the next load."""

    def load(self, data: bytes | None = None) -> Loaded:
        """Return the configuration of the file, or of `data` in its place.

        Raises:
            ConfigError: with every problem of every file.
        """
        return self._load(data, bare=False)

    def check(self, data: bytes | None = None, *, anybody: bool = False) -> Loaded:
        """Return the configuration, where one with nothing but `rules:` may name contact points of another.

        Args:
            data: in place of the file's content.
            anybody: contact points need not be there, whatever else is.

        Raises:
            ConfigError: with every problem of every file.
        """
        return self._load(data, bare=True, anybody=anybody)

    def _load(self, data: bytes | None, *, bare: bool, anybody: bool = False) -> Loaded:
        self.reading = Reading(instead=self.instead)
        outcome = _Outcome()
        parsed = self._parsed(self._path, outcome, data)
        document = parsed.document if parsed else None
        top = document.root.plain() if document else None
        if parsed is None or document is None or (top is None and outcome.problems):
            raise _error(outcome.problems)
        if not isinstance(top, dict):
            text = (
                "the file is empty; write at least 'rules: []'"
                if top is None
                else "should be a mapping, 'key: value' lines"
            )
            raise _error([*outcome.problems, document.problem(Mistake((), text))])
        configuration = self._configuration(document, top, outcome)
        around = self._surroundings(document, configuration, outcome)
        self._add_rules(self._path, parsed, around, outcome)
        for path in self._rule_paths(document, top, outcome):
            self._add_rule_file(path, around, outcome)
        contacts = None if anybody or (bare and set(top) <= {"rules"}) else top.get("contact_points") or {}
        _check_together(outcome, contacts)
        if outcome.problems or configuration is None:
            raise _error(outcome.problems)
        return Loaded(
            configuration.model_copy(update={"rules": tuple(text.config for text in outcome.rules if text.config)}),
            tuple(text.rule for text in outcome.rules if text.rule and text.config and text.config.enabled),
            tuple(path for path, digest in self.reading.digests.items() if isinstance(digest, bytes)),
            tuple(str(warning) for warning in outcome.warnings),
        )

    def _parsed(self, path: Path, outcome: _Outcome, data: bytes | None = None) -> Parsed | None:
        """The parsed file; None where it can't be read."""
        try:
            content = self.reading.read(path, MAX_BYTES) if data is None else data
        except ReadingError as error:
            outcome.problems.append(Problem(str(path), 1, 1, str(error)))
            return None
        try:
            text = content.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            before = content[: error.start].decode()
            line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
            outcome.problems.append(Problem(str(path), line, column, "not UTF-8; save the file as UTF-8"))
            return None
        references = References(path.parent, self._environ, self.reading)
        memory = self._items.setdefault(path, ItemMemory())
        parsed = memory.parse(text, str(path), references.substitute)
        outcome.problems += parsed.problems
        return parsed

    def _configuration(self, document: Document, top: Mapping[str, Any], outcome: _Outcome) -> Configuration | None:
        rest = {key: value for key, value in top.items() if key != "rules"}
        configuration, mistakes = validate(Configuration, document, (), rest)
        for mistake in mistakes:
            shown = (
                f"contact point {mistake.path[1]!r}: "
                if mistake.path[:1] == ("contact_points",) and mistake.path[1:]
                else ""
            )
            outcome.problems.append(document.problem(Mistake(mistake.path, shown + mistake.text, mistake.at_key)))
        return configuration

    def _surroundings(self, document: Document, configuration: Configuration | None, outcome: _Outcome) -> _Around:
        own, mistakes = templates_of(document.root.child("templates"))
        for mistake in mistakes:
            shown = f"template {str(mistake.path[0])[:120]!r}: {mistake.text}"
            outcome.problems.append(document.problem(Mistake(("templates", *mistake.path), shown, mistake.at_key)))
        context = RuleContext()
        if configuration is not None:
            context = RuleContext(
                configuration.sampling, configuration.timezone, configuration.sql, routed=bool(configuration.routes)
            )
        around = _Around(context, {**built_in(), **own}, tuple(each.content for each in own.values()))
        if around != self._around:
            self._meanings.clear()
        self._around = around
        return around

    def _rule_paths(self, document: Document, top: Mapping[str, Any], outcome: _Outcome) -> Iterable[Path]:
        """The rule files of all patterns, each once."""
        patterns = top.get("rule_files")
        if not isinstance(patterns, list):
            return ()
        found: dict[Path, None] = {}
        for at, pattern in enumerate(patterns):
            if not isinstance(pattern, str):
                continue
            node = document.at(("rule_files", at))
            if node.secrets:
                text = "a rule file's path can't come from outside, as it could not be shown; write the path itself"
                outcome.problems.append(Problem(document.file, node.line, node.column, text))
                continue
            wild = any(char in pattern for char in "*?[")
            path = self._path.parent / pattern
            try:
                absolute = os.path.join(glob.escape(str(self._path.parent)), pattern)
                matching = self.reading.matching(absolute, MAX_RULE_FILES) if wild else (path,)
            except ReadingError as error:
                outcome.problems.append(document.problem(Mistake(("rule_files", at), str(error))))
                continue
            if not matching:
                outcome.warnings.append(document.problem(Mistake(("rule_files", at), f"no file matches {pattern!r}")))
            found.update(dict.fromkeys(matching))
        found.pop(self._path, None)
        return found

    def _add_rule_file(self, path: Path, around: _Around, outcome: _Outcome) -> None:
        own = _Outcome()
        known = self._rule_files.get(path)
        if known is not None and self._unchanged(path, known, around):
            outcome.rules += known.rules
            outcome.problems += known.problems
            return
        self._rule_files.pop(path, None)
        parsed = self._parsed(path, own)
        if parsed is not None:
            document = parsed.document
            self._add_file_rules(path, parsed, around, own)
            if document.is_whole:
                self._rule_files[path] = _RuleFile(
                    self.reading.digests[path], around, document, own.rules, own.problems
                )
        outcome.rules += own.rules
        outcome.problems += own.problems

    def _unchanged(self, path: Path, known: _RuleFile, around: _Around) -> bool:
        try:
            self.reading.read(path, MAX_BYTES)
        except ReadingError:
            return False
        return known.digest == self.reading.digests[path] and known.around == around

    def _add_file_rules(self, path: Path, parsed: Parsed, around: _Around, outcome: _Outcome) -> None:
        document = parsed.document
        top = document.root.plain()
        if not isinstance(top, dict):
            if not outcome.problems:
                text = (
                    "the file is empty; write at least 'rules: []'"
                    if top is None
                    else "should be a mapping with 'rules:'"
                )
                outcome.problems.append(document.problem(Mistake((), text)))
            return
        for key in top:
            if key != "rules":
                where = "belongs into the configuration file" if key in Configuration.model_fields else ""
                text = (
                    f"{key!r} {where}; a rule file holds only 'rules'"
                    if where
                    else f"{unknown_key(None, key)}; a rule file holds only 'rules'"
                )
                outcome.problems.append(document.problem(Mistake((key,), text, at_key=True)))
        self._add_rules(path, parsed, around, outcome)

    def _add_rules(self, path: Path, parsed: Parsed, around: _Around, outcome: _Outcome) -> None:
        document = parsed.document
        rules = document.root.child("rules")
        if rules is None or rules.plain() is None:
            return
        if rules.items is None:
            text = "should be a list of rules, each begun with '- name:'"
            outcome.problems.append(document.problem(Mistake(("rules",), text)))
            return
        before = self._meanings.get(path, {})
        now: dict[str, _Meaning] = {}
        for at, node in enumerate(rules.items):
            item = parsed.items[at] if parsed.items else ""
            expanded = expand(node, around.templates)
            rules.items[at] = expanded.node
            entry = _RuleText(document, ("rules", at), expanded.node.plain(), expanded)
            meaning = (before.get(item) if item else None) or _meaning_of(entry, around.context)
            if item:
                now[item] = meaning
            entry.config, entry.rule = meaning.config, meaning.rule
            outcome.problems += _told(entry, meaning.mistakes)
            outcome.rules.append(entry)
        self._meanings[path] = now


def _meaning_of(text: _RuleText, context: RuleContext) -> _Meaning:
    if text.expanded.mistakes:
        return _Meaning(None, None, list(text.expanded.mistakes))
    config, mistakes = validate(RuleConfig, text.document, text.path, text.written)
    if config is None:
        begin = len(text.path)
        return _Meaning(None, None, [replace(each, path=each.path[begin:]) for each in mistakes])
    rule, mistakes = compile_rule(config, context)
    mistakes += [
        Mistake((key,), f"not a template that can be filled in: {problem}")
        for key, template in (("summary", config.summary), ("dashboard_url", config.dashboard_url))
        if template is not None and (problem := problem_of(template)) is not None
    ]
    return _Meaning(config, rule, mistakes)


def _told(text: _RuleText, mistakes: Iterable[Mistake]) -> list[Problem]:
    return [
        text.document.problem(
            replace(
                mistake, path=(*text.path, *mistake.path), text=f"{text.shown}: {_lent(text, mistake)}{mistake.text}"
            )
        )
        for mistake in mistakes
    ]


def _lent(text: _RuleText, mistake: Mistake) -> str:
    """Which field of its template a mistake is about, where the rule itself does not have it."""
    if not mistake.path or mistake.path[0] not in text.expanded.lent:
        return ""
    return f"template {text.expanded.template!r}, {mistake.path[0]}: "


def _check_together(outcome: _Outcome, contacts: object) -> None:
    """What no rule can know alone: names that are taken, missing contact points, doubtful labels.

    It is read from what was written, so that it is told of rules with other mistakes too.
    """
    places: dict[tuple[str, str], _RuleText] = {}
    for text in outcome.rules:
        if not isinstance(text.written, dict):
            continue
        mistakes: list[Mistake] = []
        name, project = text.written.get("name"), text.written.get("project", "default")
        if isinstance(name, str) and isinstance(project, str):
            first = places.setdefault((project, name), text)
            mistakes += [] if first is text else [_taken(first, project)]
        if isinstance(contacts, dict):
            mistakes += _missing_contacts(text.written, contacts)
        outcome.problems += _told(text, mistakes)
        outcome.warnings += _told(text, doubts_of(text.config) if text.config else ())


def _taken(first: _RuleText, project: str) -> Mistake:
    place = first.document.problem(Mistake((*first.path, "name"), ""))
    return Mistake(("name",), f"project {project!r} has a rule of this name at {place.file}:{place.line}; rename one")


def _missing_contacts(written: Mapping[str, object], contacts: Mapping[str, object]) -> list[Mistake]:
    named = _named_contacts((), written)
    levels = written.get("levels")
    for at, level in enumerate(levels if isinstance(levels, list) else ()):
        if isinstance(level, dict):
            named += _named_contacts(("levels", at), level)
    return [
        Mistake(
            path,
            f"no contact point {name[:80]!r}{closest(name, contacts) or '; add it under contact_points'}",
        )
        for path, name in named
        if name not in contacts
    ]


def _named_contacts(path: KeyPath, written: Mapping[str, object]) -> list[tuple[KeyPath, str]]:
    notify = written.get("notify")
    names = notify if isinstance(notify, list) else [notify]
    return [((*path, "notify", at), name) for at, name in enumerate(names) if isinstance(name, str)]


def _error(problems: list[Problem]) -> ConfigError:
    files = {file: at for at, file in enumerate(dict.fromkeys(problem.file for problem in problems))}
    ordered = sorted(dict.fromkeys(problems), key=lambda problem: (files[problem.file], problem))
    told = [str(problem) for problem in ordered]
    if len(told) > _MAX_PROBLEMS:
        told = [*told[:_MAX_PROBLEMS], f"… and {len(told) - _MAX_PROBLEMS} more problems"]
    return ConfigError(*told)
