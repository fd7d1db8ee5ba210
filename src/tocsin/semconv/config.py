"""The `attributes:` key of the configuration: a user's own attributes behind the short names."""

from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from tocsin.model.settings import Settings
from tocsin.semconv.table import Alias, How, Table, default_table

__all__ = ["AliasConfig", "AttributesConfig", "NameConfig"]

_STRUCTURED_CAP = 16 * 1024


class AliasConfig(Settings):
    """One attribute: `acme.tenant`, or `{key: metadata, json: customer.tenant}` for one in a JSON text."""

    key: str = Field(min_length=1, max_length=256)
    json_path: str | None = Field(default=None, alias="json", min_length=1)
    """A dotted path in the attribute's JSON text."""
    factor: float = Field(default=1.0, gt=0, allow_inf_nan=False)
    """What a number is multiplied by, to come to the column's unit: 1000 for seconds."""

    def alias(self) -> Alias:
        """Return the table's form of it."""
        if self.json_path is None:
            return Alias(self.key, factor=self.factor)
        path = tuple(self.json_path.split("."))
        return Alias(self.key, How.JSON, at=(path,), factor=self.factor, cap=_STRUCTURED_CAP)


def _alias_of(written: object) -> object:
    return {"key": written} if isinstance(written, str) else written


def _name_of(written: object) -> object:
    return {"replace": written} if isinstance(written, list) else written


_Alias = Annotated[AliasConfig, BeforeValidator(_alias_of)]


class NameConfig(Settings):
    """A list replaces the built-in attributes; `{add: [...]}` puts its own in front of them."""

    add: tuple[_Alias, ...] = ()
    replace: tuple[_Alias, ...] | None = None


_Name = Annotated[NameConfig | None, BeforeValidator(_name_of)]


class AttributesConfig(Settings):
    """Which attributes stand behind a short name or a metric; what is not written stays as it is built in.

    ```yaml
    attributes:
      tenant: [acme.tenant, app.tenant.id]
      conversation: {add: [acme.chat.id]}
      user: [{key: metadata, json: customer.id}]
    ```
    """

    model: _Name = None
    provider: _Name = None
    response_id: _Name = None
    operation: _Name = None
    conversation: _Name = None
    user: _Name = None
    tenant: _Name = None
    environment: _Name = None
    service: _Name = None
    agent: _Name = None
    tool: _Name = None
    data_source: _Name = None
    prompt_version: _Name = None
    error_type: _Name = None
    finish_reason: _Name = None
    evaluation: _Name = None
    input_tokens: _Name = None
    output_tokens: _Name = None
    cache_read_tokens: _Name = None
    cache_write_tokens: _Name = None
    reasoning_tokens: _Name = None
    cost: _Name = None
    """US dollars, the total of one call."""
    time_to_first_token: _Name = None
    """Milliseconds."""
    judge_score: _Name = None
    relevance_score: _Name = None
    top_score: _Name = None
    retrieved_count: _Name = None

    def table(self) -> Table:
        """Return the built-in table with these changes."""
        table = default_table()
        for name in type(self).model_fields:
            written: Any = getattr(self, name)
            if written is None:
                continue
            if written.replace is not None:
                table = table.with_aliases(name, [one.alias() for one in written.replace], keep=False)
            table = table.with_aliases(name, [one.alias() for one in written.add], keep=True)
        return table
