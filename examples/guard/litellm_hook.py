# ruff: noqa: ANN401  # as the library has its types
"""A hook of the LiteLLM proxy: calls for what is blocked are refused with 403 before they reach a provider.

In the proxy's config.yaml: `litellm_settings: {callbacks: litellm_hook.proxy_hook}`, with this file beside it. Which
conversation a call belongs to is said in its metadata: `{"metadata": {"conversation": "conv-42", "tenant": "acme"}}`.
"""

import os
from typing import Any

from fastapi import HTTPException
from litellm.integrations.custom_logger import CustomLogger

from tocsin.guard import BlockedError, Guard

LABELS = ("conversation", "tenant", "agent")


class TocsinHook(CustomLogger):
    """Asks the guard before each call of the proxy."""

    def __init__(self, guard: Guard) -> None:
        super().__init__()
        self.guard = guard

    async def async_pre_call_hook(
        self, user_api_key_dict: Any, cache: Any, data: dict[str, Any], call_type: str
    ) -> dict[str, Any]:
        """Let the call go on as it is, or refuse it."""
        metadata = data.get("metadata") or {}
        labels = {label: str(metadata[label]) for label in LABELS if metadata.get(label)}
        try:
            self.guard.check(**labels)
        except BlockedError as refused:
            raise HTTPException(403, {"error": str(refused), "rule": refused.rule}) from refused
        return data


proxy_hook = TocsinHook(Guard(os.environ.get("TOCSIN", "127.0.0.1:4317"), token=os.environ.get("TOCSIN_TOKEN")))
