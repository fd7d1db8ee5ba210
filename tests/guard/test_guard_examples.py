"""The examples run as they stand: against a provider of our own, and in the calls that LiteLLM and LangChain document.

LiteLLM, LangChain and OpenAI's client are stand-ins here, which have the few names that the examples take; two of them
are themselves in `test_guard_real_libraries.py`.
"""

import asyncio
import importlib.util
import json
import sys
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from fastapi import HTTPException
from test_guard_service import serving

from tocsin.guard import BlockedError, Guard

EXAMPLES = Path(__file__).parents[2] / "examples" / "guard"


def example(name: str) -> Any:  # noqa: ANN401  # a module with names of its own
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class _Provider(BaseHTTPRequestHandler):
    """Answers like OpenAI's chat completions."""

    def do_POST(self) -> None:  # the library's name
        self.rfile.read(int(self.headers["content-length"]))
        data = json.dumps({"choices": [{"message": {"role": "assistant", "content": "an answer"}}]}).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the library's name
        """Say nothing."""


class _Client:
    """Has `chat.completions.create`, over HTTP."""

    def __init__(self, url: str) -> None:
        self._url = url
        self.calls = 0
        self.chat = SimpleNamespace(completions=SimpleNamespace(create=self._create))

    def _create(self, **body: object) -> Any:  # noqa: ANN401  # a document
        self.calls += 1
        request = urllib.request.Request(self._url, json.dumps(body).encode())  # noqa: S310  # our own server
        with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310  # our own server
            return json.loads(answer.read(), object_hook=lambda found: SimpleNamespace(**found))


@contextmanager
def provider() -> Iterator[_Client]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Provider)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield _Client(f"http://127.0.0.1:{server.server_port}/v1/chat/completions")
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


async def known(guard: Guard, **labels: str) -> None:
    async with asyncio.timeout(10):
        while not guard.is_blocked(**labels):  # noqa: ASYNC110  # a guard is asked, it does not call
            await asyncio.sleep(0.001)


async def test_the_loop_over_a_models_answers_stops_before_the_next_call() -> None:
    converse = example("openai_loop").converse
    async with serving() as served, Guard(served.address) as guard:
        with provider() as client:
            free = await asyncio.to_thread(converse, client, guard, "conv-1", "hi", 3)
            assert (free, client.calls) == (["an answer"] * 3, 3)
            served.put("conv-2")
            await known(guard, conversation="conv-2")
            stopped = await asyncio.to_thread(converse, client, guard, "conv-2", "hi", 3)
            assert (stopped, client.calls) == (["(stopped: a drill)"], 3)


async def test_the_hook_of_the_litellm_proxy_refuses_with_403(monkeypatch: pytest.MonkeyPatch) -> None:
    logger = ModuleType("litellm.integrations.custom_logger")
    logger.CustomLogger = type("CustomLogger", (), {})  # type: ignore[attr-defined]  # a stand-in
    for name in ("litellm", "litellm.integrations"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    monkeypatch.setitem(sys.modules, logger.__name__, logger)
    module = example("litellm_hook")
    async with serving() as served, Guard(served.address) as guard:
        served.put("acme", label="tenant")
        await known(guard, tenant="acme")
        hook = module.TocsinHook(guard)
        call = {"user_api_key_dict": None, "cache": None, "call_type": "completion"}
        free: dict[str, Any] = {"model": "gpt-4o", "metadata": {"conversation": "conv-1", "tenant": "other"}}
        assert await hook.async_pre_call_hook(data=free, **call) is free
        assert await hook.async_pre_call_hook(data={"model": "gpt-4o"}, **call) == {"model": "gpt-4o"}
        with pytest.raises(HTTPException) as refused:
            await hook.async_pre_call_hook(data={"metadata": {"tenant": "acme"}}, **call)
        assert refused.value.status_code == 403


async def test_the_callback_of_langchain_raises_before_the_model_is_called(monkeypatch: pytest.MonkeyPatch) -> None:
    callbacks = ModuleType("langchain_core.callbacks")
    callbacks.BaseCallbackHandler = type("BaseCallbackHandler", (), {})  # type: ignore[attr-defined]  # a stand-in
    monkeypatch.setitem(sys.modules, "langchain_core", ModuleType("langchain_core"))
    monkeypatch.setitem(sys.modules, callbacks.__name__, callbacks)
    module = example("langchain_callback")
    async with serving() as served, Guard(served.address) as guard:
        served.put("conv-1")
        await known(guard, conversation="conv-1")
        callback = module.TocsinCallback(guard)
        assert callback.raise_error
        callback.on_chat_model_start({}, [[]], metadata={"conversation": "conv-2"}, tags=[])
        callback.on_llm_start({}, ["hi"], metadata=None)
        for start in (callback.on_chat_model_start, callback.on_llm_start):
            with pytest.raises(BlockedError):
                start({}, [], run_id=None, metadata={"conversation": "conv-1"})
