"""Names: the many ways in which one model and one provider are written, as candidates to look up.

Clouds and gateways put prefixes, regions, versions and dates around a model's own name
(`us.anthropic.claude-sonnet-4-20250514-v1:0`, `openai/gpt-4o`, `publishers/google/models/gemini-2.5-pro`,
`claude-sonnet-4@20250514`). A candidate is the name with less of that; the first that a table knows counts.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

import re2

__all__ = ["MAX_NAME", "Candidate", "candidates_of", "glob_of", "provider_of"]

MAX_NAME = 256
"""Longer names are no model's; they are not looked up."""

_MAX_READINGS = 16

_REGION = re.compile(r"^(?:us|eu|ap|apac|jp|au|ca|sa|me|af|global|us-gov)\.(?=[a-z0-9-]+\.)")
_VENDOR = re.compile(r"^(?:amazon|anthropic|ai21|cohere|deepseek|meta|mistral|openai|qwen|stability|writer)\.(?=.)")
_REVISION = re.compile(r"(?:-v\d+)?:\d+(?::\d+k)?$|-v\d+$")
_DATE = re.compile(
    r"[-@](?:20\d{2}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12]\d|3[01])"
    r"|20\d{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])"
    r"|(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01]))$"
)
_LATEST = re.compile(r"[-:@](?:latest|default)$")

_PROVIDERS = (
    ("azure", "azure"),  # azure.ai.openai, azure.ai.inference, azure_openai: before "openai" below
    ("amazon", "aws"),
    ("bedrock", "aws"),
    ("vertex", "google"),
    ("gcp", "google"),
    ("x_ai", "x-ai"),
    ("moonshot", "moonshotai"),
    ("together", "together"),
    ("fireworks", "fireworks"),
)


@dataclass(frozen=True, slots=True)
class Candidate:
    """One way to read a model's name, lower case."""

    name: str
    vendor: str | None = None
    """The provider that stood before the name (`openai/gpt-4o`); where the span's own provider does not
    know it."""


def provider_of(written: str) -> str:
    """Return the price table's word for a provider as spans write it: `azure` for `azure.ai.openai`."""
    name = written.lower().strip()
    return next((provider for part, provider in _PROVIDERS if part in name), name)


def candidates_of(model: str) -> list[Candidate]:
    """Return the readings of a model's name, from as written to most stripped, without repeats."""
    if len(model) > MAX_NAME:
        return []
    whole = model.lower().strip()
    readings = [Candidate(whole)]
    vendor, _, last = whole.rpartition("/")
    if vendor and last:
        # The name's own owner is nearest to it: `openrouter/anthropic/claude-3`.
        owner = vendor.removesuffix("/models").rpartition("/")[2]
        if owner.count(".") == 0 and ":" not in owner and owner != "models":
            readings.append(Candidate(f"{owner}/{last}", owner))
            readings.append(Candidate(last, owner))
        else:
            readings.append(Candidate(last))
    for strip in (_region, _vendor, _revision, _at_sign, _date, _latest):
        readings += [stripped for reading in readings if (stripped := strip(reading)) is not None]
    return list(dict.fromkeys(readings))[:_MAX_READINGS]


def glob_of(pattern: str) -> Callable[[str], bool]:
    """Return whether text matches a pattern with `*` and `?`, in linear time whatever both are."""
    wildcards = {"*": "(?s:.*)", "?": "(?s:.)"}
    compiled = re2.compile("".join(wildcards.get(char) or re2.escape(char) for char in pattern))
    return lambda text: compiled.fullmatch(text) is not None


def _region(reading: Candidate) -> Candidate | None:
    found = _REGION.match(reading.name)
    return Candidate(reading.name[found.end() :], reading.vendor) if found else None


def _vendor(reading: Candidate) -> Candidate | None:
    found = _VENDOR.match(reading.name)
    return Candidate(reading.name[found.end() :], reading.vendor or found[0].rstrip(".")) if found else None


def _revision(reading: Candidate) -> Candidate | None:
    return _without(_REVISION, reading)


def _at_sign(reading: Candidate) -> Candidate | None:
    return Candidate(reading.name.replace("@", "-"), reading.vendor) if "@" in reading.name else None


def _date(reading: Candidate) -> Candidate | None:
    return _without(_DATE, reading)


def _latest(reading: Candidate) -> Candidate | None:
    return _without(_LATEST, reading)


def _without(pattern: re.Pattern[str], reading: Candidate) -> Candidate | None:
    stripped = pattern.sub("", reading.name)
    return Candidate(stripped, reading.vendor) if stripped and stripped != reading.name else None
