"""A tiny model with random weights, so that everything can be tried where no real one is.

What it writes is gibberish: letters that follow from its weights and the prompt, and from nothing that was ever
learnt. It is a model like any other for the engine, half a megabyte small, and the same in every byte each time.
"""

from __future__ import annotations

import os
import random
import struct
from functools import cache
from pathlib import Path
from typing import Any

from skerry.island.workers.llm.gguf import ARRAY, BOOL, F32, I32, MAGIC, STRING, U32

NAME = "Skerry demo (random weights)"
DESCRIPTION = "A demo with random weights: its text is gibberish and means nothing."
CONTEXT = 2048
"""Tokens; one is a byte."""

_WIDTH, _LAYERS, _HEADS, _HIDDEN = 64, 2, 4, 128
_ALIGNMENT = 32
_SEED = 20
_BYTES = 256
_SPECIAL = ("<unk>", "<s>", "</s>")
_NORMAL, _UNKNOWN, _CONTROL, _BYTE = 1, 2, 3, 6
_TEMPLATE = """\
{% if tools %}system: Call a tool so: <tool_call>{"name": name, "arguments": arguments}</tool_call>. There are:
{% for tool in tools %}{{ tool | tojson }}
{% endfor %}{% endif %}\
{% for message in messages %}{{ message.role }}: {{ message.content or '' }}\
{% for call in message.tool_calls or [] %}<tool_call>
{"name": "{{ call.function.name }}", "arguments": {{ call.function.arguments | tojson }}}
</tool_call>{% endfor %}
{% endfor %}{% if add_generation_prompt %}assistant:{% endif %}"""
# What it can say; all else is as unlikely as can be.
_SAID = b" " * 6 + b"aeioubdfghklmnprstvwz.,"


def write(path: Path) -> None:
    """Write the model; it appears when it is whole.

    Args:
        path: where; replaced when it is there.
    """
    fresh = path.with_name(f".{path.name}.{os.getpid()}.new")
    try:
        fresh.write_bytes(content())
        fresh.replace(path)
    finally:
        fresh.unlink(missing_ok=True)


@cache
def content() -> bytes:
    """The bytes of the file."""
    tokens = [*_SPECIAL, *(f"<0x{number:02X}>" for number in range(_BYTES))]
    values: dict[str, Any] = {
        "general.architecture": "llama",
        "general.name": NAME,
        "general.description": DESCRIPTION,
        "llama.context_length": CONTEXT,
        "llama.embedding_length": _WIDTH,
        "llama.block_count": _LAYERS,
        "llama.feed_forward_length": _HIDDEN,
        "llama.attention.head_count": _HEADS,
        "llama.attention.head_count_kv": _HEADS,
        "llama.attention.layer_norm_rms_epsilon": 1e-5,
        "llama.rope.dimension_count": _WIDTH // _HEADS,
        "llama.vocab_size": len(tokens),
        "tokenizer.ggml.model": "llama",
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.scores": [0.0] * len(tokens),
        "tokenizer.ggml.token_type": [_UNKNOWN, _CONTROL, _CONTROL, *[_BYTE] * _BYTES],
        "tokenizer.ggml.unknown_token_id": 0,
        "tokenizer.ggml.bos_token_id": 1,
        "tokenizer.ggml.eos_token_id": 2,
        "tokenizer.ggml.add_space_prefix": False,
        "tokenizer.chat_template": _TEMPLATE,
    }
    tensors = _tensors(len(tokens))
    head = [MAGIC, struct.pack("<IQQ", 3, len(tensors), len(values))]
    head += [_text(key) + _value(value) for key, value in values.items()]
    body = b""
    for name, shape, weights in tensors:
        head.append(_text(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, 0, len(body)))
        body += _padded(struct.pack(f"<{len(weights)}f", *weights))
    return _padded(b"".join(head)) + body


def _tensors(vocabulary: int) -> list[tuple[str, tuple[int, ...], list[float]]]:
    dice = random.Random(_SEED)  # noqa: S311 - it shall be the same each time

    def some(name: str, *shape: int, spread: float = 0.08) -> tuple[str, tuple[int, ...], list[float]]:
        count = shape[0] * (shape[1] if len(shape) > 1 else 1)
        # Multiples of 1/1024, which every platform's float arithmetic writes alike.
        return name, shape, [round(dice.gauss(0, spread) * 1024) / 1024 for _ in range(count)]

    def ones(name: str) -> tuple[str, tuple[int, ...], list[float]]:
        return name, (_WIDTH,), [1.0] * _WIDTH

    found = [some("token_embd.weight", _WIDTH, vocabulary, spread=1.0), ones("output_norm.weight")]
    name, shape, weights = some("output.weight", _WIDTH, vocabulary, spread=0.5)
    said = {len(_SPECIAL) + byte for byte in _SAID}
    for token in range(vocabulary):
        if token not in said:
            weights[token * _WIDTH : (token + 1) * _WIDTH] = [0.0] * _WIDTH
    found.append((name, shape, weights))
    for layer in range(_LAYERS):
        block = f"blk.{layer}"
        found += [ones(f"{block}.attn_norm.weight"), ones(f"{block}.ffn_norm.weight")]
        found += [some(f"{block}.attn_{part}.weight", _WIDTH, _WIDTH) for part in ("q", "k", "v", "output")]
        found += [
            some(f"{block}.ffn_gate.weight", _WIDTH, _HIDDEN),
            some(f"{block}.ffn_up.weight", _WIDTH, _HIDDEN),
            some(f"{block}.ffn_down.weight", _HIDDEN, _WIDTH),
        ]
    return found


def _value(value: Any) -> bytes:
    if isinstance(value, bool):
        return struct.pack("<I?", BOOL, value)
    if isinstance(value, int):
        return struct.pack("<II", U32, value)
    if isinstance(value, float):
        return struct.pack("<If", F32, value)
    if isinstance(value, str):
        return struct.pack("<I", STRING) + _text(value)
    if isinstance(value[0], str):
        return struct.pack("<IIQ", ARRAY, STRING, len(value)) + b"".join(map(_text, value))
    kind, form = (F32, "f") if isinstance(value[0], float) else (I32, "i")
    return struct.pack(f"<IIQ{len(value)}{form}", ARRAY, kind, len(value), *value)


def _text(text: str) -> bytes:
    return struct.pack("<Q", len(text)) + text.encode("ascii")


def _padded(room: bytes) -> bytes:
    return room + b"\0" * (-len(room) % _ALIGNMENT)
