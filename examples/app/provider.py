"""A provider of models that costs nothing: it answers OpenAI's chat completions, and counts tokens as a real one does.

Run: `python provider.py --listen 127.0.0.1:9100`. It needs nothing but Python. Each character counts as a token, so
that a long context is soon as expensive as people fear.
"""

import argparse
import json
import time
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

ANSWER = "Thank you for asking. Your parcel is on its way, and should be with you by tomorrow."


class Provider(BaseHTTPRequestHandler):
    """Answers `POST /v1/chat/completions`."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        """Answer a chat completion, or say in OpenAI's words why not."""
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path != "/v1/chat/completions":
            self._say(404, {"error": {"message": "only /v1/chat/completions is here", "type": "invalid_request_error"}})
            return
        asked = sum(len(str(message.get("content"))) for message in body["messages"])
        usage = {"prompt_tokens": asked, "completion_tokens": len(ANSWER), "total_tokens": asked + len(ANSWER)}
        choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": ANSWER}}
        self._say(
            200,
            {
                "id": f"chatcmpl-{uuid.uuid4().hex}",
                "object": "chat.completion",
                "created": int(time.time()),
                "model": body["model"],
                "choices": [choice],
                "usage": usage,
            },
        )

    def _say(self, status: int, document: dict[str, object]) -> None:
        data = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the library's name
        """Say nothing of each request."""


def main() -> None:
    """Serve as the command line says."""
    parser = argparse.ArgumentParser(description="A provider of models that costs nothing.")
    parser.add_argument("--listen", default="127.0.0.1:9100", help="HOST:PORT; port 0 takes a free one")
    host, _, port = parser.parse_args().listen.rpartition(":")
    server = ThreadingHTTPServer((host, int(port)), Provider)
    print(f"provider: http://{host}:{server.server_port}/v1", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
