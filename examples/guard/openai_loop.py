# ruff: noqa: ANN401  # as the library has its types
"""A loop over a model's answers that a kill switch can end: before each call the guard is asked.

Run: `TOCSIN=127.0.0.1:4317 OPENAI_API_KEY=… python examples/guard/openai_loop.py "What is a tocsin?"`, after
`pip install openai tocsin`.
"""

import os
import sys
import uuid
from typing import Any

from tocsin.guard import BlockedError, Guard


def converse(client: Any, guard: Guard, conversation: str, question: str, turns: int = 5) -> list[str]:
    """Ask up to `turns` times, and return the answers so far where the guard says stop.

    Args:
        client: `openai.OpenAI()`, or whatever has its `chat.completions.create`.
        guard: asked before each call.
        conversation: what spans call `gen_ai.conversation.id`.
        question: the first message.
        turns: model calls at most.
    """
    messages: list[dict[str, str]] = [{"role": "user", "content": question}]
    answers: list[str] = []
    for _ in range(turns):
        try:
            guard.check(conversation=conversation)
        except BlockedError as refused:
            answers.append(f"(stopped: {refused.reason})")
            break
        reply = client.chat.completions.create(model="gpt-4o-mini", messages=messages)
        text = reply.choices[0].message.content or ""
        answers.append(text)
        messages += [{"role": "assistant", "content": text}, {"role": "user", "content": "Go on."}]
    return answers


def main() -> None:
    """Converse as the command line says."""
    from openai import OpenAI

    with Guard(os.environ.get("TOCSIN", "127.0.0.1:4317"), token=os.environ.get("TOCSIN_TOKEN")) as guard:
        for answer in converse(OpenAI(), guard, uuid.uuid4().hex, " ".join(sys.argv[1:])):
            sys.stdout.write(answer + "\n")


if __name__ == "__main__":
    main()
