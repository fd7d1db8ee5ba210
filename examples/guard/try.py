"""Tries the examples with the real libraries, against a provider of its own that costs nothing: all on this machine.

Run, in an environment of its own (LiteLLM's proxy alone brings 600 MB):

    python -m venv /tmp/guard && /tmp/guard/bin/pip install . openai langchain-openai 'litellm[proxy]'
    /tmp/guard/bin/python examples/guard/try.py

It starts the provider and Tocsin, then lets each example make a call, blocks its conversation, and sees the next call
refused before it reaches the provider. A library that is not installed is left out, and that is said.
"""

import importlib.util
import json
import os
import secrets
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

HERE = Path(__file__).resolve().parent
KEY = f"sk-{secrets.token_hex(32)}"
SECONDS = 60.0
"""So long a proxy may take to start, and a block to be known."""


def main() -> int:
    """Try what is installed; return the exit code."""
    with tempfile.TemporaryDirectory(prefix="tocsin-guard-") as name, provider() as model, tocsin(Path(name)) as bell:
        os.environ |= {"OPENAI_BASE_URL": model, "OPENAI_API_KEY": KEY, "TOCSIN": bell["grpc"]}
        sys.path.insert(0, str(HERE))
        tried = [
            attempt("openai", lambda: try_openai(bell)),
            attempt("langchain_openai", lambda: try_langchain(bell)),
            attempt("litellm", lambda: try_litellm(bell, model, Path(name))),
        ]
    return 0 if any(tried) else 1


def attempt(library: str, example: Callable[[], None]) -> bool:
    """Try an example where its library is; return whether it was."""
    if importlib.util.find_spec(library) is None:
        print(f"{library}: not installed, not tried")
        return False
    example()
    print(f"{library}: the call was answered; blocked, it was refused")
    return True


def try_openai(bell: dict[str, str]) -> None:
    """The loop over OpenAI's client."""
    import openai
    from openai_loop import converse

    from tocsin.guard import Guard

    with Guard(bell["grpc"]) as guard:
        answers = converse(openai.OpenAI(), guard, "conv-openai", "What is a tocsin?", turns=2)
        expect(len(answers) == 2 and all("parcel" in answer for answer in answers), answers)
        block(bell, "conv-openai")
        until(lambda: guard.is_blocked(conversation="conv-openai"))
        expect(
            converse(openai.OpenAI(), guard, "conv-openai", "And now?", turns=2) == ["(stopped: a drill)"], "it went on"
        )


def try_langchain(bell: dict[str, str]) -> None:
    """The callback of LangChain, with a chat model."""
    from langchain_callback import TocsinCallback
    from langchain_openai import ChatOpenAI

    from tocsin.guard import BlockedError, Guard

    with Guard(bell["grpc"]) as guard:
        model = ChatOpenAI(model="gpt-4o-mini")
        config = {"callbacks": [TocsinCallback(guard)], "metadata": {"conversation": "conv-langchain"}}
        expect("parcel" in model.invoke("What is a tocsin?", config=config).content, "no answer")
        block(bell, "conv-langchain")
        until(lambda: guard.is_blocked(conversation="conv-langchain"))
        try:
            model.invoke("And now?", config=config)
        except BlockedError:
            return
        sys.exit("failed: the call was made")


def try_litellm(bell: dict[str, str], model: str, directory: Path) -> None:
    """The hook of LiteLLM's proxy, in a proxy."""
    port = free_port()
    settings = {
        "model_list": [
            {
                "model_name": "gpt-4o-mini",
                "litellm_params": {"model": "openai/gpt-4o-mini", "api_base": model, "api_key": KEY},
            }
        ],
        "litellm_settings": {"callbacks": "litellm_hook.proxy_hook", "telemetry": False},
    }
    (directory / "proxy.yaml").write_text(json.dumps(settings))  # JSON is YAML
    (directory / "litellm_hook.py").write_text((HERE / "litellm_hook.py").read_text())
    command = [str(Path(sys.executable).with_name("litellm")), "--config", "proxy.yaml", "--host", "127.0.0.1"]
    environ = {**os.environ, "LITELLM_MASTER_KEY": KEY, "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
    with started([*command, "--port", str(port)], directory, environ):
        until(lambda: post(port, "conv-litellm") == 200)
        block(bell, "conv-litellm")
        until(lambda: post(port, "conv-litellm") == 403)
        expect(post(port, "conv-other") == 200, "others are refused, too")


def post(port: int, conversation: str) -> int:
    """Call the model through the proxy; return the status, 0 while nothing listens."""
    body = {
        "model": "gpt-4o-mini",
        "messages": [{"role": "user", "content": "What is a tocsin?"}],
        "metadata": {"conversation": conversation},
    }
    return send(f"http://127.0.0.1:{port}/v1/chat/completions", body)


def block(bell: dict[str, str], conversation: str) -> None:
    """Block a conversation by hand, as a rule's `actions` do by themselves."""
    body = {"label": "conversation", "value": conversation, "ttl": "1h", "reason": "a drill"}
    expect(send(f"http://{bell['api']}/api/v1/blocks", body) == 201, "it was not blocked")


def send(url: str, body: dict[str, object]) -> int:
    """POST a document; return the status, 0 while nothing listens."""
    request = urllib.request.Request(
        url, json.dumps(body).encode(), {"Content-Type": "application/json", "Authorization": f"Bearer {KEY}"}
    )
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as refused:
        return refused.code
    except OSError:
        return 0


@contextmanager
def provider() -> Iterator[str]:
    """The example application's provider; its address."""
    command = [sys.executable, str(HERE.parent / "app" / "provider.py"), "--listen", "127.0.0.1:0"]
    with started(command, HERE, dict(os.environ)) as process:
        yield first_line(process).removeprefix("provider: ")


@contextmanager
def tocsin(directory: Path) -> Iterator[dict[str, str]]:
    """Tocsin with a configuration that says nothing but where it listens; its addresses by kind."""
    config = directory / "config.yaml"
    config.write_text(
        "receivers: {otlp: {grpc: {endpoint: '127.0.0.1:0'}, http: null}}\napi: {endpoint: '127.0.0.1:0'}\n"
    )
    command = [sys.executable, "-m", "tocsin", "serve", "--config", str(config)]
    with started(command, directory, dict(os.environ)) as process:
        ready = first_line(process).partition(": ")[2].partition(";")[0]
        yield dict(each.split(" ", 1) for each in ready.split(", "))


@contextmanager
def started(command: list[str], directory: Path, environ: dict[str, str]) -> "Iterator[subprocess.Popen[str]]":
    """Run a program beside this one, and end it."""
    with subprocess.Popen(command, cwd=directory, env=environ, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603  # ours
        try:
            yield process
        finally:
            process.terminate()


def first_line(process: "subprocess.Popen[str]") -> str:
    """Wait for what a program says first."""
    return process.stdout.readline().strip() if process.stdout else ""


def free_port() -> int:
    """Return a port of 127.0.0.1 that was free a moment ago."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def until(holds: Callable[[], bool]) -> None:
    """Wait until it holds."""
    deadline = time.monotonic() + SECONDS
    while not holds():
        expect(time.monotonic() < deadline, f"it did not come about in {SECONDS:.0f} s")
        time.sleep(0.1)


def expect(holds: bool, otherwise: object) -> None:  # noqa: FBT001  # reads as a sentence
    """End this program unless it holds."""
    if not holds:
        sys.exit(f"failed: {otherwise}")


if __name__ == "__main__":
    sys.exit(main())
