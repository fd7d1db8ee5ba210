"""Names of providers: many spellings to the one of the OpenTelemetry registry, or inferred from the model."""

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

__all__ = ["provider_names", "provider_of_model"]


def provider_names(rules: Mapping[str, Any]) -> Callable[[str], str]:
    """Return a function from any spelling to the registry's; empty for names of frameworks.

    A name of an API (`openai.chat`) is cut at its first dot, unless the registry's own name has one.
    """
    keep: frozenset[str] = frozenset(rules["keep"])
    renamed: Mapping[str, str] = rules["renamed"]
    beginnings: Mapping[str, str] = rules["beginnings"]
    frameworks: frozenset[str] = frozenset(rules["frameworks"])

    @lru_cache(maxsize=4096)
    def canonical(written: str) -> str:
        name = written.strip().lower()
        if name in keep:
            return name
        if name in renamed:
            return renamed[name]
        if name in frameworks:
            return ""
        for beginning, provider in beginnings.items():
            if name.startswith(beginning):
                return provider
        for provider in keep:
            if name.startswith(provider + "."):
                return provider
        name = name.partition(".")[0]
        return renamed.get(name, name)

    return canonical


def provider_of_model(rules: Mapping[str, Any]) -> Callable[[str], str]:
    """Return a function from a model to the provider that alone has such names; empty where several do."""
    beginnings: Mapping[str, str] = rules["of_model"]

    @lru_cache(maxsize=4096)
    def provider(model: str) -> str:
        name = model.lower()
        return next((provider for beginning, provider in beginnings.items() if name.startswith(beginning)), "")

    return provider
