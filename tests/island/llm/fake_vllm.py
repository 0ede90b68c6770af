"""A double for the program `vllm`: takes its arguments as that does, and answers OpenAI's API over HTTP.

It writes what it was told to `report.json` beside the model, and says one word per token.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

parser = argparse.ArgumentParser()
parser.add_argument("verb", choices=["serve"])
parser.add_argument("model")
parser.add_argument("--served-model-name", required=True)
parser.add_argument("--host", required=True)
parser.add_argument("--port", type=int, required=True)
parser.add_argument("--max-model-len", type=int, required=True)
parser.add_argument("--dtype", choices=["auto", "half", "float16", "bfloat16", "float", "float32"], required=True)
parser.add_argument("--max-num-seqs", type=int)
parser.add_argument("--no-enable-prefix-caching", action="store_true")
parser.add_argument("--chat-template")
options = parser.parse_args()
key = os.environ.get("VLLM_API_KEY")
report = Path(options.model) / "report.json"
if (Path(options.model) / "broken").exists():
    print("Traceback (most recent call last):\nValueError: no such architecture")
    sys.exit(1)
# As the real one does, it has processes of its own, in sessions of their own.
helper = subprocess.Popen(["sleep", "600"], start_new_session=True)
report.write_text(
    json.dumps({**vars(options), "gpus": os.environ["CUDA_VISIBLE_DEVICES"], "pids": [os.getpid(), helper.pid]})
)


class Handler(BaseHTTPRequestHandler):
    """One request."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        """Say nothing."""

    def answer(self, status: int, found: Any) -> None:
        """Send an object."""
        content = json.dumps(found).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def do_GET(self) -> None:
        """Health, and the model."""
        if self.path == "/health":
            self.answer(200, {})
        elif self.allowed():
            self.answer(200, {"object": "list", "data": [{"id": options.served_model_name, "object": "model"}]})

    def allowed(self) -> bool:
        """Whether the key is right; answers when it is not."""
        if key is not None and self.headers["authorization"] != f"Bearer {key}":
            self.answer(401, {"error": "Unauthorized"})
            return False
        return True

    def do_POST(self) -> None:
        """An answer of as many words as there may be tokens."""
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if not self.allowed():
            return
        if body["model"] != options.served_model_name:
            self.answer(404, {"object": "error", "message": f"The model {body['model']} does not exist.", "code": 404})
            return
        chat = self.path.endswith("chat/completions")
        prompt = " ".join(one["content"] for one in body["messages"]) if chat else body["prompt"]
        words = len(prompt.split())
        if words > options.max_model_len:
            self.answer(400, {"object": "error", "message": "maximum context length exceeded", "code": 400})
            return
        count = body["max_tokens"]
        usage = {"prompt_tokens": words, "completion_tokens": count, "total_tokens": words + count}
        shared = {"id": "1", "created": 1, "model": options.served_model_name}
        if not body.get("stream"):
            text = "word " * count
            part = {"message": {"role": "assistant", "content": text}} if chat else {"text": text}
            choice = {"index": 0, "finish_reason": "length", **part}
            self.answer(200, {**shared, "object": "chat.completion", "choices": [choice], "usage": usage})
            return
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("connection", "close")
        self.end_headers()
        for number in range(count):
            part = {"delta": {"content": "word "}} if chat else {"text": "word "}
            last = "length" if number == count - 1 else None
            self.event({**shared, "choices": [{"index": 0, "finish_reason": last, **part}]})
        if body.get("stream_options", {}).get("include_usage"):
            self.event({**shared, "choices": [], "usage": usage})
        self.wfile.write(b"data: [DONE]\n\n")
        self.close_connection = True

    def event(self, found: Any) -> None:
        """Send one event."""
        self.wfile.write(f"data: {json.dumps(found)}\n\n".encode())


ThreadingHTTPServer((options.host, options.port), Handler).serve_forever()
