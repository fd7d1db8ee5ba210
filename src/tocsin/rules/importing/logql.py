"""LogQL over logs of model calls, as PromQL over their spans.

A line of a log and a span are two reports of the same call, so a number that is unwrapped from the one is an attribute
of the other. Source: Grafana Loki documentation, "Metric queries" and "Log queries".
"""

import re

from tocsin.rules.promql.tokens import Kind, Token, tokens_of

__all__ = ["looks_like_logql", "promql_of"]

_PARSERS = ("json", "logfmt")
_FIELDS = {
    "cost_usd": "cost",
    "cost": "cost",
    "total_cost": "cost",
    "latency_ms": "latency",
    "duration_ms": "latency",
    "prompt_tokens": "input_tokens",
    "completion_tokens": "output_tokens",
    "total_tokens": "tokens",
}
"""Fields of a flat log line -> the metric that is the same number of a call."""
_SERVICE = ("app", "job", "container", "service", "service_name", "app_kubernetes_io_name")
"""What says in Loki where a line comes from, as the resource's service.name does for a span."""
_UNWRAP = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_GROUPED = re.compile(r"\b([a-z]+_over_time|rate)\s*(\([^()]*\))\s*by\s*\(\s*([A-Za-z0-9_,\s]*)\)", re.IGNORECASE)


def looks_like_logql(text: str) -> bool:
    """Whether a text is LogQL: it has a pipe, which PromQL has not."""
    return any(token.kind is Kind.OTHER and token.text == "|" for token in tokens_of(text))


def promql_of(text: str) -> tuple[str, tuple[str, ...], list[str]]:
    """Return the expression in PromQL, the labels that a range is grouped by, and what was taken for what.

    Raises:
        ValueError: something in it has no equivalent; the text says what.
    """
    words = tokens_of(text)
    taken: list[str] = []
    found: list[str] = []
    copied = at = 0
    while at < len(words):
        if not words[at].is_word("{"):
            at += 1
            continue
        found.append(text[copied : words[at].begin])
        selector, at = _selector(text, words, at, taken)
        found.append(selector)
        copied = words[at - 1].end
    found.append(text[copied:])
    group_by: tuple[str, ...] = ()

    def ungrouped(match: re.Match[str]) -> str:
        nonlocal group_by
        group_by = tuple(label.strip() for label in match[3].split(",") if label.strip())
        return f"{match[1]}{match[2]}"

    return _GROUPED.sub(ungrouped, "".join(found)), group_by, taken


def _selector(text: str, words: list[Token], at: int, taken: list[str]) -> tuple[str, int]:
    """Return a log range as a selector with a range, and the place of the first word after it."""
    end = next((place for place in range(at, len(words)) if words[place].is_word("}")), None)
    if end is None:
        raise ValueError("the stream selector has no '}'")
    matchers = _matchers(text, words[at + 1 : end], taken)
    field: str | None = None
    window = ""
    at = end + 1
    while at < len(words) and not window:
        word = words[at]
        if word.kind is Kind.RANGE:
            window = word.text
            at += 1
        elif word.kind is Kind.OTHER and word.text == "|":
            last = next((place for place in range(at + 1, len(words)) if _ends_stage(words[place])), len(words))
            stage = words[at + 1 : last]
            if stage and stage[0].is_word("unwrap"):
                field = _unwrapped(stage[1:])
            else:
                matchers += _stage(text, stage, taken)
            at = last
        else:
            raise ValueError(f"{word.text!r} has no equivalent between the selector and the range")
    if not window:
        raise ValueError("a log stream has no value; count or unwrap it over a range, like [5m]")
    if field is None:
        raise ValueError(
            "it counts lines of a log, and rules count spans; unwrap a number, or write "
            f"count_over_time(count{window}) for calls"
        )
    metric = _FIELDS.get(field, field)
    if metric != field:
        taken.append(f"the field {field} is taken for the metric {metric}")
    return f"{metric}{{{', '.join(matchers)}}}{window}" if matchers else f"{metric}{window}", at


def _ends_stage(word: Token) -> bool:
    return word.kind is Kind.RANGE or (word.kind is Kind.OTHER and word.text == "|")


def _matchers(text: str, words: list[Token], taken: list[str]) -> list[str]:
    """Return the matchers of a stream selector."""
    found = []
    for name, sign, value in _comparisons(text, words):
        label = name
        if name in _SERVICE:
            label = "service"
            if name not in ("service", "service_name"):
                taken.append(f"the stream's label {name} is taken for service, the resource's service.name")
        found.append(f"{label}{sign}{value}")
    return found


def _comparisons(text: str, words: list[Token]) -> list[tuple[str, str, str]]:
    found = []
    at = 0
    while at < len(words):
        if words[at].is_word(",", "and"):
            at += 1
            continue
        if at + 3 > len(words) or not _is_comparison(words[at : at + 3]):
            written = text[words[at].begin : words[-1].end]
            raise ValueError(f'{written[:60]!r} has no equivalent; a matcher is label="value", with = != =~ or !~')
        name, sign, value = words[at : at + 3]
        found.append((name.text, sign.text, value.text))
        at += 3
    return found


def _is_comparison(words: list[Token]) -> bool:
    name, sign, value = words
    return name.kind is Kind.NAME and sign.is_word("=", "!=", "=~", "!~") and value.kind is Kind.STRING


def _stage(text: str, words: list[Token], taken: list[str]) -> list[str]:
    """Return the matchers that a stage of the pipeline is; a parser is none, as attributes are apart already."""
    if not words:
        raise ValueError("'|' is followed by nothing")
    first = words[0]
    if first.is_word(*_PARSERS) and len(words) == 1:
        return []
    if first.text.startswith("__error__"):
        return []
    if first.kind is Kind.NAME and len(words) > 1 and words[1].is_word("=", "!=", "=~", "!~"):
        return [f"{name}{sign}{value}" for name, sign, value in _comparisons(text, words)]
    written = text[first.begin : words[-1].end]
    raise ValueError(f'| {written[:60]} has no equivalent: spans have attributes, not lines; filter by label="value"')


def _unwrapped(words: list[Token]) -> str:
    if len(words) != 1 or _UNWRAP.fullmatch(words[0].text) is None:
        raise ValueError("unwrap of a conversion has no equivalent; attributes are numbers, so name the field alone")
    return words[0].text
