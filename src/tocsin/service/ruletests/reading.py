"""From a file of tests to a suite: its rules, loaded as the service loads them, and its tests, understood.

The file is read twice. As a file of tests by this module; and, for its rules, prices and attributes, as a
configuration by the loader, which is given the same text with all else blanked out, so that what is wrong with a rule
is told at its line.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tocsin.engine.config import LimitsConfig, TraceConfig
from tocsin.errors import ConfigError
from tocsin.model.settings import nanoseconds
from tocsin.pricing import PricesConfig
from tocsin.rules.document import MAX_BYTES, Document, parse
from tocsin.rules.problems import Mistake, Mistakes
from tocsin.rules.rule import Rule
from tocsin.rules.validation import validate
from tocsin.semconv.config import AttributesConfig
from tocsin.service.loading import Loaded, Loader
from tocsin.service.ruletests.config import OF_LOADER, TestConfig, TestFileConfig
from tocsin.service.ruletests.expecting import Alerts, Check, Events, Silence, checks_of
from tocsin.service.ruletests.otlp import Item, Spelling
from tocsin.service.ruletests.traffic import items_of

__all__ = ["Case", "Suite", "read_suite"]

_NO_EXPRESSIONS = (
    "promql_expr_test asks a database of series, and there is none: rules read spans as they arrive; "
    "expect the alerts of a rule, with alert_rule_test or expect"
)


@dataclass(frozen=True, slots=True)
class Case:
    """One test, ready to be played."""

    name: str
    line: int
    start: int
    """Unix nanoseconds."""
    end: int
    """Nanoseconds after the start."""
    items: tuple[Item, ...]
    checks: tuple[Check, ...]


@dataclass(frozen=True, slots=True)
class Suite:
    """A file of tests."""

    file: str
    rules: tuple[Rule, ...]
    cases: tuple[Case, ...]
    prices: PricesConfig = field(default_factory=PricesConfig)
    attributes: AttributesConfig = field(default_factory=AttributesConfig)
    trace: TraceConfig = field(default_factory=TraceConfig)
    limits: LimitsConfig = field(default_factory=LimitsConfig)
    notes: tuple[str, ...] = ()


def read_suite(path: Path, environ: Mapping[str, str] | None = None) -> Suite:
    """Return the tests of a file.

    Args:
        path: the file; others that it names are found from its directory.
        environ: what `${env:}` stands for in rules; the process's environment if None.

    Raises:
        ConfigError: with every problem of every file.
    """
    text = _text_of(path)
    document, problems = parse(text, str(path))
    top = document.root.plain()
    if not isinstance(top, dict):
        what = "the file has no tests; write 'rules:' or 'config:', and 'tests:'"
        raise ConfigError(*(map(str, problems) if problems else [f"{path}:1:1: {what}"]))
    config, mistakes = validate(TestFileConfig, document, (), top)
    told = Mistakes(mistakes)
    rules = _Rules(path, text, document, environ, told)
    # What is wrong with the rules is told together with what is wrong with the tests.
    readable = config or validate(TestFileConfig, document, (), {**top, "tests": []})[0]
    if readable is not None:
        rules.load(readable)
    if config is None or rules.loaded is None or told or problems:
        lines = [*problems, *(document.problem(each) for each in told)]
        raise ConfigError(*dict.fromkeys([*map(str, sorted(lines)), *rules.problems]))
    return _suite(path, config, rules, document, rules.loaded)


def _text_of(path: Path) -> str:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}; name a file of tests") from error
    if len(content) > MAX_BYTES:
        raise ConfigError(f"{path}: larger than {MAX_BYTES >> 20} MiB; a file of tests is smaller")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8; save the file as UTF-8") from error


@dataclass(slots=True)
class _Rules:
    """The rules of a file of tests, wherever they stand."""

    path: Path
    text: str
    document: Document
    environ: Mapping[str, str] | None
    mistakes: Mistakes
    problems: list[str] = field(default_factory=list)
    """Of other files."""
    notes: list[str] = field(default_factory=list)
    lacking: list[str] = field(default_factory=list)
    """Rules of Prometheus that have no equivalent: `name: why`."""
    loaded: Loaded | None = None
    rules: list[Rule] = field(default_factory=list)

    def load(self, config: TestFileConfig) -> None:
        """Load them all."""
        if config.config is not None:
            self._of_configuration(config)
            return
        if not config.rule_files and config.rules is None:
            text = "no rules; write 'rules:', 'rule_files: [FILE]' or 'config: FILE'"
            self.mistakes.tell((), text)
            return
        files = [file for at, name in enumerate(config.rule_files) for file in self._matching(name, at)]
        beside = self.path.parent
        own = [
            str(file.relative_to(beside) if file.is_relative_to(beside) else file)
            for file in files
            if not self._is_prometheus(file)
        ]
        told = len(self.mistakes)
        kept = self._kept()
        if len(self.mistakes) > told:
            return
        extra = f"\nrule_files: {json.dumps(own)}\n" if own else ""
        self.loaded = self._checked(Loader(self.path, environ=self.environ), (kept + extra).encode())
        if self.loaded is not None:
            self.rules[:0] = self.loaded.rules
            self._refuse_twins()

    def _of_configuration(self, config: TestFileConfig) -> None:
        for key in ("rule_files", *OF_LOADER):
            if self.document.root.child(key) is not None:
                self.mistakes.tell((key,), f"'config' brings its own {key!r}; keep one of the two", at_key=True)
        file = self.path.parent / (config.config or "")
        if not file.is_file():
            self.mistakes.tell(("config",), f"there is no file {config.config!r} beside this one")
            return
        self.loaded = self._checked(Loader(file, environ=self.environ), None)
        if self.loaded is not None:
            self.rules += self.loaded.rules

    def _matching(self, name: str, at: int) -> list[Path]:
        wild = any(char in name for char in "*?[")
        found = sorted(self.path.parent.glob(name)) if wild else [self.path.parent / name]
        found = [file for file in found if file.is_file()]
        if not found:
            self.mistakes.tell(("rule_files", at), f"there is no file {name!r} beside this one")
        return found

    def _is_prometheus(self, file: Path) -> bool:
        """Import a rule file of Prometheus; leave one of ours to the loader."""
        text = _text_of(file)
        document, problems = parse(text, str(file))
        if problems or document.root.child("groups") is None:
            return False
        from tocsin.rules.importing import import_rules  # loaded where it is needed, as its parser is

        imported = import_rules(text, "prometheus")
        self.notes += [f"{file}: {what}: {why}" for what, why in (*imported.refused, *imported.notes)]
        self.lacking += [f"{what}: {why}" for what, why in imported.refused]
        loaded = self._checked(Loader(file, environ=self.environ), json.dumps({"rules": imported.rules}).encode())
        if loaded is not None:
            self.rules += loaded.rules
        return True

    def _checked(self, loader: Loader, data: bytes | None) -> Loaded | None:
        try:
            return loader.check(data, anybody=True)
        except ConfigError as error:
            self.problems += error.problems
            return None

    def _kept(self) -> str:
        """Return the file's text with the lines of its other sections blanked out."""
        entries = self.document.root.entries or {}
        begins = sorted((place[0], key) for key, (place, _) in entries.items())
        lines = self.text.splitlines()
        ends = [begin for begin, _ in begins[1:]] + [len(lines) + 1]
        for (begin, key), end in zip(begins, ends, strict=True):
            if begin == end:
                self.mistakes.tell((key,), "write each section on lines of its own", at_key=True)
            if key in OF_LOADER:
                continue
            for at in range(begin - 1, min(end - 1, len(lines))):
                lines[at] = ""
        return "\n".join(lines) + ("" if any(key in OF_LOADER for _, key in begins) else "\nrules: []")

    def _refuse_twins(self) -> None:
        seen: set[tuple[str, str]] = set()
        for rule in self.rules:
            if rule.key in seen:
                self.mistakes.tell(("rule_files",), f"two rules are called {rule.name!r}; rename one", at_key=True)
            seen.add(rule.key)


def _suite(path: Path, config: TestFileConfig, rules: _Rules, document: Document, loaded: Loaded) -> Suite:
    mistakes = Mistakes()
    spelling = Spelling(loaded.configuration.attributes.table())
    cases = []
    if not config.tests:
        mistakes.tell(("tests",), "no test; add one")
    for at, test in enumerate(config.tests):
        place = ("tests", at)
        interval = nanoseconds(test.interval or config.interval)
        if test.promql_expr_test:
            mistakes.tell((*place, "promql_expr_test"), _NO_EXPRESSIONS, at_key=True)
        items = items_of(test, interval, spelling, mistakes, place)
        checks = checks_of(test, rules.rules, document, place, mistakes, rules.lacking)
        if not (test.expect or test.events or test.silent or test.alert_rule_test or test.promql_expr_test):
            mistakes.tell(place, "it expects nothing; add 'expect', 'events' or 'silent'")
        cases.append(_case(test, document.at(place).line, at, items, checks, mistakes))
    if mistakes:
        raise ConfigError(*dict.fromkeys(str(document.problem(each)) for each in mistakes))
    settings = loaded.configuration
    return Suite(
        str(path),
        tuple(rules.rules),
        tuple(cases),
        settings.prices,
        settings.attributes,
        settings.trace,
        settings.limits,
        (*dict.fromkeys(rules.notes), *_foreign(config)),
    )


def _case(test: TestConfig, line: int, number: int, items: list[Item], checks: list[Check], mistakes: Mistakes) -> Case:
    times = [item.at for item in items]
    for check in checks:
        match check:
            case Alerts():
                times.append(check.end)
            case Events():
                times += [(event.at or 0) + event.within for event in check.events]
            case Silence():
                times += [check.begin, check.end or 0]
    last = max(times, default=0)
    end = last if test.until is None else nanoseconds(test.until)
    if end < last:
        text = "the test ends before something in it; write a later time, or leave 'until' out"
        mistakes.append(Mistake(("tests", number, "until"), text))
    return Case(test.name or f"test {number + 1}", line, test.start_ns, end, tuple(items), tuple(checks))


def _foreign(config: TestFileConfig) -> list[str]:
    """What of promtool's form is understood and changes nothing."""
    found = []
    if config.evaluation_interval is not None:
        found.append("evaluation_interval: rules are evaluated as spans arrive, not at intervals")
    if any(each.exp_annotations for test in config.tests for prom in test.alert_rule_test for each in prom.exp_alerts):
        found.append("exp_annotations: not compared; write 'summary' under 'expect' for what a notification says")
    if any(test.external_labels or test.external_url for test in config.tests):
        found.append("external_labels, external_url: not used")
    return found
