# ruff: noqa: ANN401  # as the library has its types
"""A LangChain callback that ends a chain or an agent before its next model call once it is blocked.

`chain.invoke(input, config={"callbacks": [TocsinCallback(guard)], "metadata": {"conversation": "conv-42"}})`
"""

from typing import Any

from langchain_core.callbacks import BaseCallbackHandler

from tocsin.guard import Guard

LABELS = ("conversation", "tenant", "agent")


class TocsinCallback(BaseCallbackHandler):
    """Asks the guard before each model call; raises its `BlockedError`."""

    raise_error = True
    """Else LangChain would log the error and make the call."""

    def __init__(self, guard: Guard) -> None:
        super().__init__()
        self.guard = guard

    def on_chat_model_start(self, serialized: Any, messages: Any, **more: Any) -> None:
        """A chat model is about to be called."""
        self._check(more.get("metadata"))

    def on_llm_start(self, serialized: Any, prompts: Any, **more: Any) -> None:
        """A model is about to be called."""
        self._check(more.get("metadata"))

    def _check(self, metadata: dict[str, Any] | None) -> None:
        found = metadata or {}
        self.guard.check(**{label: str(found[label]) for label in LABELS if found.get(label)})
