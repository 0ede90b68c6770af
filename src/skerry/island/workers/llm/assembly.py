"""A whole answer from its pieces.

Engines are always asked for pieces, since llama.cpp notices that nobody waits for a whole answer any more only when
nobody else is answered either.
"""

from __future__ import annotations

from typing import Any

from skerry.island.engine.errors import Unavailable

PIECES = {"stream": True, "stream_options": {"include_usage": True}}
"""What a request says to be answered so."""


class Assembly:
    """Takes the events of a stream of OpenAI's API in their order, and gives the answer that they make up.

    Example:
        >>> assembly = Assembly()
        >>> assembly.add({"choices": [{"delta": {"content": "Good "}}]})
        >>> assembly.add({"choices": [{"delta": {"content": "day"}, "finish_reason": "stop"}]})
        >>> assembly.message["content"], assembly.finish_reason
        ('Good day', 'stop')
    """

    def __init__(self) -> None:
        self._first: dict[str, Any] = {}
        self._parts: dict[str, list[str]] = {}
        self._calls: dict[int, dict[str, Any]] = {}
        self._probabilities: list[Any] = []
        self._usage: dict[str, Any] = {}
        self.finish_reason: str | None = None

    def add(self, event: dict[str, Any]) -> None:
        """Take the next event. Raises Unavailable for one that is none of that API."""
        try:
            self._first = self._first or event
            self._usage = event.get("usage") or self._usage
            for choice in event.get("choices") or ():
                delta = choice.get("delta") or {"content": choice.get("text")}
                for name, value in delta.items():
                    if name == "tool_calls":
                        self._call(value or ())
                    elif isinstance(value, str) and name != "role":
                        self._parts.setdefault(name, []).append(value)
                if choice.get("logprobs"):
                    self._probabilities += choice["logprobs"].get("content") or []
                self.finish_reason = choice.get("finish_reason") or self.finish_reason
        except (AttributeError, TypeError, KeyError):
            raise Unavailable("the model's process sent an event that is none of OpenAI's API") from None

    @property
    def text(self) -> str:
        """What was said."""
        return "".join(self._parts.get("content", ()))

    @property
    def message(self) -> dict[str, Any]:
        """The message that was made."""
        found: dict[str, Any] = {"role": "assistant", "content": self.text or (None if self._calls else "")}
        found |= {name: "".join(parts) for name, parts in self._parts.items() if name != "content"}
        if self._calls:
            found["tool_calls"] = [self._calls[index] for index in sorted(self._calls)]
        return found

    @property
    def usage(self) -> dict[str, int]:
        """How many tokens. Raises Unavailable where the engine did not say."""
        try:
            prompt, completion = int(self._usage["prompt_tokens"]), int(self._usage["completion_tokens"])
        except (KeyError, TypeError, ValueError):
            raise Unavailable("the model's process did not say how many tokens there were") from None
        return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}

    def chat(self) -> dict[str, Any]:
        """The answer as it would have come whole."""
        choice: dict[str, Any] = {
            "index": 0,
            "message": self.message,
            "logprobs": {"content": self._probabilities} if self._probabilities else None,
            "finish_reason": self.finish_reason or "stop",
        }
        return {
            "id": str(self._first.get("id", "")),
            "object": "chat.completion",
            "created": self._first.get("created"),
            "model": self._first.get("model"),
            "choices": [choice],
            "usage": self.usage,
        }

    def _call(self, pieces: Any) -> None:
        for piece in pieces:
            known = self._calls.setdefault(
                piece["index"], {"id": "", "type": "function", "function": {"name": "", "arguments": ""}}
            )
            known["id"] = piece.get("id") or known["id"]
            said = piece.get("function") or {}
            known["function"]["name"] += said.get("name") or ""
            known["function"]["arguments"] += said.get("arguments") or ""
