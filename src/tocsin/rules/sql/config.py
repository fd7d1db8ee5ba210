"""The `sql:` key of the configuration: what the names in queries stand for here."""

from collections.abc import Mapping
from typing import Annotated

from pydantic import AfterValidator, Field

from tocsin.model.settings import Settings
from tocsin.rules.config import FilterValues, Label
from tocsin.rules.filters import Filter, parse_match

__all__ = ["SqlConfig"]

_PREFIXES = ("attribute:", "evaluation:")


def _measure(text: str) -> str:
    name = text.strip()
    for prefix in _PREFIXES:
        if name.startswith(prefix):
            name = prefix + name.removeprefix(prefix).strip()
    bare = name.partition(":")[2] if name.startswith(_PREFIXES) else name
    if not bare or not bare.isprintable() or any(char.isspace() for char in bare):
        raise ValueError(
            "should be a metric's name, like latency, an attribute's key, like app.my.number, or evaluation:NAME"
        )
    return name


def _filters(written: Mapping[str, tuple[str, ...]]) -> Mapping[str, tuple[str, ...]]:
    for texts in written.values():
        for text in texts:
            parse_match(text)
    return written


Measure = Annotated[str, AfterValidator(_measure)]
ModelFilters = Annotated[dict[Label, FilterValues], AfterValidator(_filters)]


class SqlConfig(Settings):
    """What `metric_name`, `model_id` and dimensions of queries mean.

    ```yaml
    sql:
      metrics: {answer_quality: app.quality.score, faithfulness: "evaluation:ragas.faithfulness"}
      models: {0b5e8e9c-support: {service: support-bot, environment: production}}
      dimensions: {customer: tenant}
    ```
    """

    metrics: dict[str, Measure] = Field(default_factory=dict)
    """A `metric_name` -> a metric's name, an attribute's key (`attribute:KEY` where it has no dot), or
    `evaluation:NAME`."""
    models: dict[str, ModelFilters] = Field(default_factory=dict)
    """A `model_id` -> which samples are that model's, written as a rule's `filters:`."""
    dimensions: dict[str, Label] = Field(default_factory=dict)
    """A dimension or column -> a short name or an attribute's key."""

    def filters_of(self, model_id: str) -> tuple[Filter, ...]:
        """Return the filters of a model; none where the configuration has none for it."""
        written = self.models.get(model_id, {})
        return tuple(Filter(label, tuple(parse_match(text) for text in texts)) for label, texts in written.items())
