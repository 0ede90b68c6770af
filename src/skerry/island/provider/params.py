"""What the parameters of a job come to: defaults, clamps and other spellings (protocol section 5.5). Pure functions.

The server uses them when it writes a task spec, a provider when it carries one out.
"""

from __future__ import annotations

import math
import re
from collections.abc import Container, Mapping
from dataclasses import dataclass
from typing import Any

LLM_DEFAULT = "TinyLlama/TinyLlama-1.1B-Chat-v1.0"
LLM_MODELS = frozenset(
    {
        "microsoft/phi-2",
        "microsoft/phi-1_5",
        LLM_DEFAULT,
        "google/gemma-2b",
        "mistralai/Mistral-7B-Instruct-v0.2",
    }
)
IMAGE_DEFAULT = "CompVis/stable-diffusion-v1-4"
IMAGE_MODELS = frozenset(
    {
        IMAGE_DEFAULT,
        "stabilityai/stable-diffusion-2-1",
        "runwayml/stable-diffusion-v1-5",
        "stabilityai/stable-diffusion-xl-base-1.0",
        "stable-diffusion-v1-5/stable-diffusion-v1-5",
    }
)
SERVE_DEFAULT = LLM_DEFAULT
SERVE_MODELS = frozenset(
    {
        "mistralai/Mistral-7B-Instruct-v0.2",
        "meta-llama/Meta-Llama-3-8B-Instruct",
        "microsoft/Phi-3-mini-4k-instruct",
        "google/gemma-2b-it",
        SERVE_DEFAULT,
    }
)
DTYPES = ("float16", "bfloat16", "float32")
PROMPT_DEFAULT = "What is the capital of Saudi Arabia?"
NEGATIVE_DEFAULT = "blurry, low quality, distorted"
IMAGE_PROMPT_DEFAULT = "A futuristic city in the desert at sunset"
WORKER_IMAGE = "dc1/general-worker:latest"
SCRIPT_DEFAULT = """\
try:
    import torch
    print("GPU: " + (torch.cuda.get_device_name(0) if torch.cuda.is_available() else "none"))
except ImportError:
    print("GPU: none")
"""

_INTEGER = re.compile(r"\s*([+-]?\d+)")
_DECIMAL = re.compile(r"\s*([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)")
_DIGITS = 18
_MOST_SEED = 2**32 - 1
Params = Mapping[str, Any]


def lenient_integer(value: Any, default: int, low: int, high: int) -> int:
    """A whole number from whatever a caller wrote: the digits that it begins with; 0 or none of them is the default.

    Example:
        >>> lenient_integer("64.9", 256, 32, 4096), lenient_integer("x", 256, 32, 4096)
        (64, 256)
    """
    return min(max(_integer(value) or default, low), high)


def lenient_decimal(value: Any, default: float, low: float, high: float) -> float:
    """The same for a number with decimals."""
    found = 0.0
    if isinstance(value, int | float) and not isinstance(value, bool):
        found = float(min(max(value, -1e9), 1e9)) if value == value else 0.0
    elif isinstance(value, str) and (match := _DECIMAL.match(value)):
        found = float(match[1])
    if not math.isfinite(found):
        found = 0.0
    return min(max(found or default, low), high)


def text_of(value: Any, default: str) -> str:
    """Text as it is, the default for whatever is empty or no text."""
    return value if isinstance(value, str) and value else default


def chosen_model(asked: Any, allowed: Container[str] | None, default: str) -> str:
    """The model that is used: the one asked for if it is allowed, silently the default otherwise.

    Args:
        asked: as submitted.
        allowed: None for any.
        default: for a job that names none, or one that is not allowed.
    """
    name = asked.strip() if isinstance(asked, str) else ""
    return name if name and (allowed is None or name in allowed) else default


@dataclass(frozen=True, slots=True)
class TextParams:
    """What a language model is asked once."""

    model: str
    prompt: str
    max_tokens: int
    temperature: float


@dataclass(frozen=True, slots=True)
class ImageParams:
    """What picture is asked for; a seed of None is for chance to choose."""

    model: str
    prompt: str
    negative_prompt: str
    steps: int
    width: int
    height: int
    seed: int | None


@dataclass(frozen=True, slots=True)
class ServeParams:
    """Which model is to be served, and how."""

    model: str
    max_model_len: int
    dtype: str


@dataclass(frozen=True, slots=True)
class ContainerParams:
    """What is to be run in which image, and its environment."""

    image: str
    script: str
    env: dict[str, str]


def text_params(params: Params, model: str | None = None, allowed: Container[str] | None = LLM_MODELS) -> TextParams:
    """Of an `llm_inference` job.

    Args:
        params: as submitted.
        model: the job's, used where the parameters name none.
        allowed: models; None for any.

    Example:
        >>> text_params({"prompt": "Hi", "maxTokens": "64.9", "model": "who/knows"}).max_tokens
        64
    """
    return TextParams(
        model=chosen_model(_either(params, "model") or model, allowed, LLM_DEFAULT),
        prompt=text_of(params.get("prompt"), PROMPT_DEFAULT),
        max_tokens=lenient_integer(_either(params, "max_tokens", "maxTokens"), 256, 32, 4096),
        temperature=lenient_decimal(params.get("temperature"), 0.7, 0.1, 2.0),
    )


def chat_params(params: Params, model: str | None = None) -> TextParams:
    """Of a `vllm` job, which the OpenAI-style routes make: their bounds are wider, and any model may be asked (section
    3.8)."""
    tokens, warmth = params.get("max_tokens"), params.get("temperature")
    if isinstance(tokens, bool) or not isinstance(tokens, int) or not 1 <= tokens <= 8192:
        tokens = 512
    if isinstance(warmth, bool) or not isinstance(warmth, int | float) or not 0 <= warmth <= 2:
        warmth = 0.7
    model = chosen_model(_either(params, "model") or model, None, LLM_DEFAULT)
    return TextParams(model, text_of(params.get("prompt"), PROMPT_DEFAULT), tokens, float(warmth))


def image_params(
    params: Params, model: str | None = None, allowed: Container[str] | None = IMAGE_MODELS
) -> ImageParams:
    """Of an `image_generation` job; arguments as in `text_params`."""
    seed = _integer(params.get("seed"))
    return ImageParams(
        model=chosen_model(_either(params, "model") or model, allowed, IMAGE_DEFAULT),
        prompt=text_of(params.get("prompt"), IMAGE_PROMPT_DEFAULT),
        negative_prompt=text_of(_either(params, "negative_prompt", "negativePrompt"), NEGATIVE_DEFAULT),
        steps=lenient_integer(params.get("steps"), 30, 5, 100),
        width=lenient_integer(params.get("width"), 512, 256, 1024),
        height=lenient_integer(params.get("height"), 512, 256, 1024),
        seed=min(seed, _MOST_SEED) if seed > 0 else None,
    )


def serve_params(
    params: Params, model: str | None = None, allowed: Container[str] | None = SERVE_MODELS
) -> ServeParams:
    """Of a `vllm_serve` job; arguments as in `text_params`."""
    dtype = params.get("dtype")
    return ServeParams(
        model=chosen_model(_either(params, "model") or model, allowed, SERVE_DEFAULT),
        max_model_len=lenient_integer(_either(params, "max_model_len", "maxModelLen"), 4096, 512, 32768),
        dtype=dtype if dtype in DTYPES else DTYPES[0],
    )


def container_params(params: Params) -> ContainerParams:
    """Of a `custom_container` job, byte for byte as submitted."""
    return ContainerParams(
        image=text_of(_either(params, "image_override", "imageOverride"), WORKER_IMAGE),
        script=text_of(params.get("script"), SCRIPT_DEFAULT),
        env=environment(params.get("env")),
    )


def environment(value: Any) -> dict[str, str]:
    """Variables of a program: those of the caller's that can be some; numbers and booleans become text."""
    found: dict[str, str] = {}
    for name, content in value.items() if isinstance(value, Mapping) else ():
        if not isinstance(name, str) or not name or {"=", "\0"} & set(name):
            continue
        if isinstance(content, bool):
            content = "true" if content else "false"
        if isinstance(content, str | int | float) and "\0" not in str(content):
            found[name] = str(content)
    return found


def _either(params: Params, *names: str) -> Any:
    """The first of several spellings that says something."""
    return next((params[name] for name in names if params.get(name) is not None), None)


def _integer(value: Any) -> int:
    if isinstance(value, bool):
        return 0
    if isinstance(value, int):
        return value
    if isinstance(value, float):
        return int(value) if math.isfinite(value) else 0
    if isinstance(value, str) and (match := _INTEGER.match(value)):
        # Beyond so many digits only the order of magnitude matters, which the clamps decide.
        return int(match[1][:_DIGITS])
    return 0
