"""Results of tests as JUnit's XML, which CI systems show."""

import re
from collections.abc import Sequence
from xml.etree import ElementTree as Xml  # written only, never read

from tocsin.service.ruletests.outcome import CaseResult, SuiteResult
from tocsin.service.ruletests.text import lines_of

__all__ = ["junit_of"]

_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def junit_of(suites: Sequence[SuiteResult]) -> bytes:
    """Return the results as a document in UTF-8."""
    root = Xml.Element("testsuites", _counts([case for suite in suites for case in suite.cases]))
    for suite in suites:
        own = Xml.SubElement(root, "testsuite", {"name": _safe(suite.file), **_counts(suite.cases)})
        for case in suite.cases:
            _add(own, suite, case)
    Xml.indent(root)
    return Xml.tostring(root, encoding="utf-8", xml_declaration=True)


def _counts(cases: Sequence[CaseResult]) -> dict[str, str]:
    failed = sum(not case.ok for case in cases)
    return {"tests": str(len(cases)), "failures": str(failed), "time": f"{sum(case.seconds for case in cases):.3f}"}


def _add(parent: Xml.Element, suite: SuiteResult, case: CaseResult) -> None:
    attributes = {"name": _safe(case.name), "classname": _safe(suite.file), "file": _safe(suite.file)}
    element = Xml.SubElement(parent, "testcase", {**attributes, "line": str(case.line), "time": f"{case.seconds:.3f}"})
    if not case.ok:
        failure = Xml.SubElement(element, "failure", {"message": _safe(case.failures[0].what)})
        told = lines_of(SuiteResult(suite.file, (case,)))
        failure.text = _safe("\n".join(line.plain for line in list(told)[1:]))


def _safe(text: str) -> str:
    return _NOT_XML.sub("�", text)
