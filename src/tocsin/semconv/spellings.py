"""Attributes in Prometheus' spelling, which writes `_` for `.`: which keys one name may stand for."""

from itertools import product

__all__ = ["MAX_UNDERSCORES", "spellings_of"]

MAX_UNDERSCORES = 6
"""A name with this many may stand for 64 keys; one with more stands for itself alone."""


def spellings_of(name: str) -> tuple[str, ...]:
    """Return the keys that a name may stand for: itself, then those with dots, the most dots first.

    A name with a dot in it is a key as it is written.
    """
    count = name.count("_")
    if "." in name or not 0 < count <= MAX_UNDERSCORES:
        return (name,)
    parts = name.split("_")
    found = []
    for signs in product("._", repeat=count):
        spelled = parts[0] + "".join(sign + part for sign, part in zip(signs, parts[1:], strict=True))
        # No attribute begins or ends with a dot, or has two in a row.
        if not spelled.startswith(".") and not spelled.endswith(".") and ".." not in spelled and spelled != name:
            found.append(spelled)
    return (name, *sorted(found, key=lambda spelled: spelled.count("_")))
