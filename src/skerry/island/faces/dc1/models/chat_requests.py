"""What is asked of a model in the manner of OpenAI, read leniently where the network is lenient (section 3.8).

It has a usual `max_tokens` and `temperature` for those that are out of bounds. What else is passed on is checked here,
because an engine takes many a nonsense for something else, and what it refuses is refused after a job was made.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from skerry.island.faces.dc1.errors import Fault
from skerry.island.workers.llm.requests import check_stop

_MOST_MESSAGES = 100
_MOST_CHARACTERS = 20_000
_USUAL_TOKENS, _MOST_TOKENS = 512, 8_192
_USUAL_TEMPERATURE, _MOST_TEMPERATURE = 0.7, 2.0
_ROLES = ("system", "user", "assistant", "tool", "developer", "function")
_PASSED = ("tools", "tool_choice", "top_p", "stop", "seed", "response_format", "presence_penalty", "frequency_penalty")


def _whole(value: Any, least: int, most: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most


def _number(value: Any, least: float, most: float) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and least <= value <= most


_RULES: dict[str, tuple[Callable[[Any], bool], str]] = {
    "n": (lambda it: _whole(it, 1, 1), "1: a request has one answer here"),
    "top_p": (lambda it: _number(it, 0, 1), "a number from 0 to 1"),
    "presence_penalty": (lambda it: _number(it, -2, 2), "a number from -2 to 2"),
    "frequency_penalty": (lambda it: _number(it, -2, 2), "a number from -2 to 2"),
    "seed": (lambda it: _whole(it, -(1 << 63), (1 << 63) - 1), "a whole number of at most 64 bits"),
    "tools": (lambda it: isinstance(it, list) and all(isinstance(tool, dict) for tool in it), "an array of objects"),
    "tool_choice": (lambda it: isinstance(it, str | dict), "a text or an object"),
    "response_format": (lambda it: isinstance(it, dict) and isinstance(it.get("type"), str), "an object with a type"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A request, checked.

    Args:
        model: who shall answer.
        messages: what was said.
        max_tokens: of the answer.
        temperature: 0 to 2.
        stream: whether the answer comes piece by piece.
        provider_id: who shall work, where the caller chose.
        more: what is passed on as it is.
        completion: whether the answer has the text in `choices[0].text` too.
    """

    model: str
    messages: list[dict[str, Any]]
    max_tokens: int
    temperature: float
    stream: bool
    provider_id: int | None
    more: dict[str, Any] = field(default_factory=dict)
    completion: bool = False

    @property
    def prompt(self) -> str:
        """The last thing that the user said."""
        said = [message["content"] for message in self.messages if message["role"] == "user"]
        return next((text for text in reversed(said) if isinstance(text, str)), "")

    @property
    def body(self) -> dict[str, Any]:
        """The same as a request of OpenAI's; a stream's tokens are counted at its end."""
        counted = {"stream_options": {"include_usage": True}} if self.stream else {}
        return {
            "model": self.model,
            "messages": self.messages,
            "max_tokens": self.max_tokens,
            "temperature": self.temperature,
            "stream": self.stream,
            **counted,
            **self.more,
        }


def read(body: Any, *, completion: bool = False, stream: bool | None = None) -> Wanted:
    """Read a request.

    Args:
        body: of the request.
        completion: whether a `prompt` does in place of messages.
        stream: whatever the body says of it.

    Raises:
        Fault: 400 without a model, without anything said, or for a value that means nothing.
        Invalid, TooLarge: the same of `stop`.
    """
    given = body if isinstance(body, dict) else {}
    model = given.get("model")
    if not isinstance(model, str) or not model.strip():
        raise Fault(400, "model is required")
    said = given.get("messages")
    prompt = given.get("prompt")
    if completion and not said and isinstance(prompt, str) and prompt:
        said = [{"role": "user", "content": prompt}]
    if not isinstance(said, list) or not said:
        raise Fault(400, "messages must be a non-empty array")
    for name, (holds, what) in _RULES.items():
        if given.get(name) is not None and not holds(given[name]):
            raise Fault(400, f"{name} must be {what}")
    check_stop(given.get("stop"))
    provider = given.get("provider_id")
    return Wanted(
        model=model.strip(),
        messages=[_message(message) for message in said[:_MOST_MESSAGES]],
        max_tokens=_tokens(given.get("max_tokens", given.get("max_completion_tokens"))),
        temperature=_temperature(given.get("temperature")),
        stream=bool(given.get("stream")) if stream is None else stream,
        provider_id=provider if isinstance(provider, int) and not isinstance(provider, bool) else None,
        more={name: given[name] for name in _PASSED if given.get(name) is not None},
        completion=completion,
    )


def _message(message: Any) -> dict[str, Any]:
    if not isinstance(message, dict):
        raise Fault(400, "every message must be an object with role and content")
    role = message.get("role")
    if role not in _ROLES:
        raise Fault(400, f"message.role must be one of {', '.join(_ROLES)}")
    content = message.get("content")
    if isinstance(content, list):
        # The parts that are text, as OpenAI's own clients send them.
        content = "".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    if content is not None and not isinstance(content, str):
        raise Fault(400, "message.content must be text")
    found = {"role": role, "content": (content or "")[:_MOST_CHARACTERS]}
    for name in ("name", "tool_calls", "tool_call_id"):
        if message.get(name) is not None:
            found[name] = message[name]
    return found


def _tokens(value: Any) -> int:
    return int(value) if _whole(value, 1, _MOST_TOKENS) else _USUAL_TOKENS


def _temperature(value: Any) -> float:
    return float(value) if _number(value, 0, _MOST_TEMPERATURE) else _USUAL_TEMPERATURE
