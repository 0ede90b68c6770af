"""Whole answers from pieces, as engines with models that call tools send them."""

from __future__ import annotations

import pytest

from skerry.island.engine.errors import Invalid, Unavailable
from skerry.island.workers.llm.assembly import Assembly
from skerry.island.workers.llm.client import refusal


def test_calls_of_tools_are_put_together() -> None:
    assembly = Assembly()
    start = {"index": 0, "id": "c1", "type": "function", "function": {"name": "weather", "arguments": ""}}
    for delta in (
        {"role": "assistant", "content": None, "reasoning_content": "hm"},
        {"reasoning_content": "m"},
        {"tool_calls": [start]},
        {"tool_calls": [{"index": 0, "function": {"arguments": '{"city": '}}]},
        {"tool_calls": [{"index": 1, "id": "c2", "function": {"name": "time", "arguments": "{}"}}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": '"Abha"}'}}]},
    ):
        assembly.add({"id": "x", "created": 5, "model": "m", "choices": [{"index": 0, "delta": delta}]})
    assembly.add({"choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]})
    assembly.add({"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 4}})
    answer = assembly.chat()
    assert (answer["id"], answer["created"], answer["model"], answer["object"]) == ("x", 5, "m", "chat.completion")
    assert answer["usage"] == {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}
    assert answer["choices"][0]["finish_reason"] == "tool_calls"
    message = answer["choices"][0]["message"]
    assert (message["content"], message["reasoning_content"]) == (None, "hmm")
    assert [(call["id"], call["type"], call["function"]["name"]) for call in message["tool_calls"]] == [
        ("c1", "function", "weather"),
        ("c2", "function", "time"),
    ]
    assert [call["function"]["arguments"] for call in message["tool_calls"]] == ['{"city": "Abha"}', "{}"]


@pytest.mark.parametrize("event", [{"choices": [7]}, {"choices": [{"delta": {"tool_calls": [{}]}}]}, {"choices": 7}])
def test_an_event_of_another_api_is_refused(event: dict[str, object]) -> None:
    with pytest.raises(Unavailable, match="none of OpenAI's API"):
        Assembly().add(event)


def test_an_answer_says_how_many_tokens() -> None:
    assembly = Assembly()
    assembly.add({"choices": [{"text": "a"}, {"text": "b", "logprobs": {"content": [1]}}]})
    assert assembly.text == "ab"
    with pytest.raises(Unavailable, match="how many tokens"):
        assembly.chat()


@pytest.mark.parametrize(
    ("status", "content", "kind", "words"),
    [
        (400, b'{"error": {"message": "bad", "type": "x"}}', Invalid, "refuses the request: bad"),
        (404, b'{"object": "error", "message": "no model", "code": 404}', Invalid, "no model"),
        (500, b'{"error": {"code": 400, "message": "bad"}}', Invalid, "bad"),
        (401, b'{"error": {"code": 401, "message": "key"}}', Unavailable, "cannot answer: key"),
        (503, b'{"error": {"code": 503, "message": "loading"}}', Unavailable, "loading"),
        (500, b"<html>", Unavailable, "status 500"),
        (500, b"7", Unavailable, "status 500"),
    ],
)
def test_an_engines_refusal_is_put_into_our_words(
    status: int, content: bytes, kind: type[Exception], words: str
) -> None:
    assert isinstance(refusal(status, content), kind)
    assert words in str(refusal(status, content))
