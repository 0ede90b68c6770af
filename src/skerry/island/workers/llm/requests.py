"""What callers may ask of a model, checked before an engine sees it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from skerry.island.engine.errors import Invalid, TooLarge
from skerry.island.workers.llm.choice import Choice
from skerry.units import MIB

LONGEST_TEXT = 4 * MIB
"""Bytes of all text in one request, as UTF-8."""

_MOST_STOPS = 16
_MOST_TOKENS = 1 << 20

CHAT_FIELDS = frozenset(
    {
        "frequency_penalty",
        "logit_bias",
        "logprobs",
        "max_completion_tokens",
        "max_tokens",
        "messages",
        "min_p",
        "parallel_tool_calls",
        "presence_penalty",
        "reasoning_effort",
        "repeat_penalty",
        "response_format",
        "seed",
        "stop",
        "stream",
        "stream_options",
        "temperature",
        "tool_choice",
        "tools",
        "top_k",
        "top_logprobs",
        "top_p",
    }
)
"""Fields of a request that reach the engine. Others stay here: an engine has some of its own, which reach beyond the
request."""


def chat_body(body: Mapping[str, Any], model: str) -> dict[str, Any]:
    """A chat request as the engine gets it.

    Args:
        body: as OpenAI's API has it; what no engine needs is left out.
        model: the name by which the engine knows the model.

    Raises:
        Invalid: it cannot be answered as it stands. TooLarge: too much text.
    """
    messages = check_messages(body.get("messages"))
    for name in ("max_tokens", "max_completion_tokens"):
        if body.get(name) is not None:
            check_tokens(body[name], name)
    if body.get("temperature") is not None:
        check_temperature(body["temperature"])
    check_stop(body.get("stop"))
    kept = {name: value for name, value in body.items() if name in CHAT_FIELDS and value is not None}
    return {**kept, "messages": messages, "model": model}


def check_messages(messages: Any) -> list[dict[str, Any]]:
    """The messages of a chat. Raises Invalid or TooLarge."""
    if not isinstance(messages, Sequence) or isinstance(messages, str) or not messages:
        raise Invalid("messages must be a non-empty array")
    size = 0
    for message in messages:
        if not isinstance(message, Mapping) or not isinstance(message.get("role"), str):
            raise Invalid("each message is an object with a role and a content")
        for text in _texts(message.get("content")):
            size += len(check_text(text, "a message"))
    if size > LONGEST_TEXT:
        raise TooLarge(f"the messages are longer than {LONGEST_TEXT} bytes together")
    return [dict(message) for message in messages]


def check_fits(body: Mapping[str, Any], choice: Choice, context: int) -> None:
    """Refuse what is certainly too long: to count the tokens of megabytes keeps an engine busy for hours.

    Args:
        body: with a prompt or messages, checked already.
        choice: the model.
        context: tokens that it runs with.

    Raises:
        Invalid: the prompt is longer than any that fits.
    """
    most = choice.engine.most_text(choice.model, context)
    found = [body["prompt"]] if "prompt" in body else [t for m in body["messages"] for t in _texts(m.get("content"))]
    size = sum(len(text.encode()) for text in found)
    if most is not None and size > most:
        raise Invalid(
            f"the prompt has {size} bytes, and with its answer it may have {context} tokens here, which are no more "
            f"than {most} bytes; shorten it, or serve the model with a larger max_model_len if it was trained on more"
        )


def check_text(text: Any, what: str) -> bytes:
    """A text as UTF-8. Raises Invalid or TooLarge."""
    if not isinstance(text, str):
        raise Invalid(f"{what} must be a text")
    try:
        found = text.encode()
    except UnicodeEncodeError:
        raise Invalid(f"{what} holds half a character (a lone surrogate), which is no text") from None
    if len(found) > LONGEST_TEXT:
        raise TooLarge(f"{what} is longer than {LONGEST_TEXT} bytes")
    return found


def check_tokens(count: Any, name: str = "max_tokens") -> int:
    """How many tokens an answer may have. Raises Invalid."""
    if not isinstance(count, int) or isinstance(count, bool) or not 1 <= count <= _MOST_TOKENS:
        raise Invalid(f"{name} must be a whole number of at least 1")
    return count


def check_temperature(value: Any) -> float:
    """How much chance decides. Raises Invalid."""
    if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value) or not 0 <= value <= 2:
        raise Invalid("temperature must be a number from 0 to 2")
    return float(value)


def check_stop(stop: Any) -> list[str]:
    """Texts at which an answer ends. Raises Invalid."""
    found = [] if stop is None else [stop] if isinstance(stop, str) else stop
    if not isinstance(found, Sequence) or len(found) > _MOST_STOPS or not all(isinstance(it, str) for it in found):
        raise Invalid(f"stop must be a text, or up to {_MOST_STOPS} of them")
    return [text for text in found if check_text(text, "stop")]


def _texts(content: Any) -> list[str]:
    """The texts of a message's content."""
    if content is None:
        return []
    if isinstance(content, str):
        return [content]
    if not isinstance(content, Sequence):
        raise Invalid("the content of a message must be a text, or an array of parts")
    found = []
    for part in content:
        # An engine would fetch pictures from wherever their address leads.
        if not isinstance(part, Mapping) or part.get("type") != "text" or not isinstance(part.get("text"), str):
            raise Invalid("models here read text only: each part of a content must be of type text")
        found.append(part["text"])
    return found
