"""What a user writes under `history:`."""

from collections.abc import Iterable
from typing import Annotated, Final

from pydantic import AfterValidator, Field, model_validator

from tocsin.model.batch import Needs
from tocsin.model.settings import Settings
from tocsin.rules.config import SHORT_NAMES
from tocsin.rules.problems import one_of
from tocsin.semconv.bodies import is_body
from tocsin.semconv.recording import Recording

__all__ = ["NUMBERS", "HistoryConfig"]

LABELS: Final = tuple(name for name in SHORT_NAMES if name != "trace")
NUMBERS: Final = ("judge_score", "relevance_score", "top_score", "retrieved_count")
"""Short names that stand for numbers."""
_MOST_NAMES: Final = 256
_MOST_CHARACTERS: Final = 256


def _attribute(text: str) -> str:
    name = text.strip()
    bare = name.removesuffix("*")
    if not bare or not bare.isprintable() or any(char.isspace() for char in bare) or len(name) > _MOST_CHARACTERS:
        raise ValueError("should be an attribute's key, like app.tier, or the beginning of some with a star: app.*")
    if "*" in bare:
        raise ValueError(f"{name!r} has a star that is not its end; write the beginning of the keys, like app.*")
    if name in (*LABELS, *NUMBERS, "trace"):
        raise ValueError(f"{name!r} is a short name, not an attribute's key: short_names says which are recorded")
    return name


def _short_name(text: str) -> str:
    if text not in (*LABELS, *NUMBERS):
        raise ValueError(one_of(text, (*LABELS, *NUMBERS)))
    return text


class HistoryConfig(Settings):
    """What is recorded of each span beside what rules read.

    ```yaml
    history:
      attributes: [app.*, gen_ai.request.temperature]
    ```
    """

    attributes: Annotated[tuple[Annotated[str, AfterValidator(_attribute)], ...], Field(max_length=_MOST_NAMES)] = ()
    """Keys, and beginnings of keys with a star. Values are cut to 1 KiB. Bodies of messages are not among them."""
    short_names: tuple[Annotated[str, AfterValidator(_short_name)], ...] = (*LABELS, *NUMBERS)
    """Those that are recorded though no rule reads them."""
    bodies: bool = False
    """Record bodies of messages (`gen_ai.prompt`, …) too, where `attributes` has their name in full."""
    max_attributes: int = Field(default=200, ge=1, le=2000)
    """Attributes that come in by their beginnings; later ones are left out, and counted."""

    @model_validator(mode="after")
    def _bodies_are_asked_for(self) -> "HistoryConfig":
        bodies = [name for name in self.names() if is_body(name)]
        if bodies and not self.bodies:
            raise ValueError(
                f"{bodies[0]!r} holds what people or models wrote; add bodies: true to record it, or leave it out"
            )
        return self

    def names(self) -> Iterable[str]:
        """Return the keys that are written in full."""
        return (name for name in self.attributes if not name.endswith("*"))

    def recording(self) -> Recording:
        """Return what the semantic conventions make columns of."""
        return Recording(
            needs=Needs(frozenset(self.short_names) - {*NUMBERS}, frozenset(self.short_names) & {*NUMBERS}),
            names=frozenset(self.names()),
            prefixes=tuple(name.removesuffix("*") for name in self.attributes if name.endswith("*")),
            most=self.max_attributes,
        )
