"""Go templates in annotations as the Liquid templates of rules: `{{ $labels.model }}` is `{{ group.model }}`."""

import re

from tocsin.rules.promql.names import label_of

__all__ = ["liquid_of"]

_ACTION = re.compile(r"\{\{-?\s*(.*?)\s*-?\}\}", re.DOTALL)
_LABEL = re.compile(r"\$labels\.([A-Za-z_][A-Za-z0-9_]*)|\$labels\[\"([^\"]+)\"\]|\(?index \$labels \"([^\"]+)\"\)?")
_VALUE = re.compile(r"\$value|\$values\.[A-Za-z_][A-Za-z0-9_]*(?:\.Value)?|\.Value|humanize \$value")
_FIXED = re.compile(r"""printf ["`]%\.(\d)f(%%|\w*)["`]\s+\$value|\$value \| printf ["`]%\.(\d)f(%%|\w*)["`]""")
_HUMANIZED = {
    "humanize": "value | number",
    "humanize1024": "value | number",
    "humanizePercentage": "value | percent",
    "humanizeDuration": "value | duration",
}


def liquid_of(text: str, labels: tuple[tuple[str, ...], ...]) -> str:
    """Return an annotation as a template of a rule.

    Args:
        text: a Go template.
        labels: what the rule's groups are told apart by.

    Raises:
        ValueError: something in it has no equivalent; the text says what.
    """
    known = {name for entry in labels for name in entry}
    found = _ACTION.sub(lambda match: _action(match[1], known), text.strip())
    if "{%" in found:
        raise ValueError("'{%' would begin a tag of the rule's own templates; leave it out")
    return found


def _action(inside: str, known: set[str]) -> str:
    if (label := _LABEL.fullmatch(inside)) is not None:
        written = next(name for name in label.groups() if name)
        name = label_of(written, quoted="." in written)
        if name not in known:
            raise ValueError(f"groups have no label {written}; they have {', '.join(sorted(known)) or 'none'}")
        return f"{{{{ group.{name} }}}}" if re.fullmatch(r"[A-Za-z_]\w*", name) else f'{{{{ group["{name}"] }}}}'
    if _VALUE.fullmatch(inside):
        return "{{ value }}"
    if (fixed := _FIXED.fullmatch(inside)) is not None:
        digits, unit = next(pair for pair in (fixed.groups()[:2], fixed.groups()[2:]) if pair[0])
        return f"{{{{ value | round: {digits} }}}}{unit.replace('%%', '%')}"
    value, _, function = inside.partition("|")
    if _VALUE.fullmatch(value.strip()) and function.strip() in _HUMANIZED:
        return f"{{{{ {_HUMANIZED[function.strip()]} }}}}"
    raise ValueError(
        f"{{{{ {inside[:60]} }}}} has no equivalent; templates know group.LABEL, value, threshold and window"
    )
