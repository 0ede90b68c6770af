"""Parameters, container specs and task specs, by known answers and by properties."""

from __future__ import annotations

import ast
import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from skerry.island.provider import params, task_specs
from skerry.island.provider.container_specs import ContainerSpecError, default_spec, normal_spec
from skerry.island.provider.records import TEXT_TYPES
from skerry.networks.dc1.signing import sign_task_spec, verify_task_spec

SECRET = "hmac-secret-for-tests"
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
bags = st.dictionaries(
    st.sampled_from(
        [
            *("model", "prompt", "max_tokens", "maxTokens", "temperature", "steps", "width", "height", "seed", "dtype"),
            *("negative_prompt", "negativePrompt", "max_model_len", "maxModelLen", "script", "image_override", "env"),
        ]
    ),
    json_values,
)
patient = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
utf8 = st.text(st.characters(exclude_categories=["Cs"]))


@pytest.mark.parametrize(
    ("given_value", "found"),
    [
        ("64.9", 64),
        (64.9, 64),
        (64, 64),
        (" 64abc", 64),
        ("-5", 32),
        (0, 256),
        ("0", 256),
        ("many", 256),
        (None, 256),
        (True, 256),
        ([64], 256),
        (10**30, 4096),
        ("9" * 100_000, 4096),
        (1, 32),
        (float("inf"), 256),
    ],
)
def test_integers_are_read_leniently(given_value: Any, found: int) -> None:
    assert params.text_params({"max_tokens": given_value}).max_tokens == found


def test_defaults_are_the_networks() -> None:
    text = params.text_params({})
    assert text == params.TextParams(
        "TinyLlama/TinyLlama-1.1B-Chat-v1.0", "What is the capital of Saudi Arabia?", 256, 0.7
    )
    image = params.image_params({})
    assert (image.model, image.steps, image.width, image.height) == ("CompVis/stable-diffusion-v1-4", 30, 512, 512)
    assert image.negative_prompt == "blurry, low quality, distorted"
    assert image.seed is None
    serve = params.serve_params({})
    assert (serve.model, serve.max_model_len, serve.dtype) == (text.model, 4096, "float16")
    assert params.container_params({}).image == "dc1/general-worker:latest"


def test_other_spellings_and_unknown_models() -> None:
    text = params.text_params({"maxTokens": 100, "model": "who/knows", "temperature": "9"}, model="microsoft/phi-2")
    assert (text.max_tokens, text.model, text.temperature) == (100, params.LLM_DEFAULT, 2.0)
    assert params.text_params({}, model="microsoft/phi-2").model == "microsoft/phi-2"
    assert params.text_params({"model": "who/knows"}, allowed=None).model == "who/knows"
    assert params.image_params({"negativePrompt": "cats", "seed": "7"}).seed == 7
    assert params.serve_params({"maxModelLen": 1}).max_model_len == 512
    assert params.serve_params({"dtype": ["float32"]}).dtype == "float16"
    assert params.container_params({"imageOverride": "vllm/vllm-openai:latest"}).image == "vllm/vllm-openai:latest"
    assert params.container_params({"env": {"A": 1, "": "x", "B=": "y", "C": True, "D": None}}).env == {
        "A": "1",
        "C": "true",
    }


@patient
@given(bags, st.none() | st.text())
def test_whatever_is_submitted_comes_to_something_usable(bag: dict[str, Any], model: str | None) -> None:
    text, image, serve = (read(bag, model) for read in (params.text_params, params.image_params, params.serve_params))
    assert isinstance(text, params.TextParams)
    assert isinstance(image, params.ImageParams)
    assert isinstance(serve, params.ServeParams)
    assert text.model in params.LLM_MODELS
    assert 32 <= text.max_tokens <= 4096
    assert 0.1 <= text.temperature <= 2.0
    assert 5 <= image.steps <= 100
    assert 256 <= image.width <= 1024
    assert 256 <= image.height <= 1024
    assert image.seed is None or 0 < image.seed < 2**32
    assert 512 <= serve.max_model_len <= 32768
    assert serve.dtype in params.DTYPES
    container = params.container_params(bag)
    assert container.script
    assert all("\0" not in value and name for name, value in container.env.items())


@pytest.mark.parametrize(
    ("spec", "signature"),
    [
        (
            task_specs.task_spec("vllm_serve", {"model": "mistralai/Mistral-7B-Instruct-v0.2"}),
            "eca8c7410931173697d25a6d21f7cbbb42d368e60d8eb94873269840372608b3",
        ),
        (
            task_specs.task_spec("custom_container", {"script": "print('مرحبا')"}),
            "102ed45283ff892d95ec3f16b4002e2e26a8d353cd4062b072369493b2d48274",
        ),
        (
            task_specs.task_spec("benchmark", {}, given=task_specs.BENCHMARK),
            "f639bbec19e3886a9024017f79d36cf9352b614be61c08282c37c08357b8604d",
        ),
    ],
)
def test_task_specs_have_the_known_signatures(spec: str, signature: str) -> None:
    assert sign_task_spec(SECRET, spec) == signature
    assert verify_task_spec(SECRET, spec, signature)


def test_the_other_types_carry_their_parameters() -> None:
    assert task_specs.task_spec("training", {"epochs": 3, "x": {"y": [1]}}) == (
        '{"job_type":"training","params":{"epochs":3,"x":{"y":[1]}}}'
    )
    assert task_specs.task_spec("rag-pipeline", {"q": 1}, given={"own": "سؤال"}) == '{"own":"سؤال"}'


@patient
@given(utf8, utf8, st.sampled_from(sorted(TEXT_TYPES)))
def test_a_prompt_is_data_and_never_code(prompt: str, model: str, job_type: str) -> None:
    text = task_specs.task_spec(job_type, {"prompt": prompt, "model": model}, llm_models=None)
    assert _params_of(text)["prompt"] == (prompt or params.PROMPT_DEFAULT)
    text.encode()


@patient
@given(utf8, utf8, st.integers())
def test_neither_is_that_of_a_picture(prompt: str, negative: str, seed: int) -> None:
    text = task_specs.task_spec("image_generation", {"prompt": prompt, "negative_prompt": negative, "seed": seed})
    found = _params_of(text)
    assert found["negative_prompt"] == (negative or params.NEGATIVE_DEFAULT)
    assert found["seed"] is None or found["seed"] > 0


@patient
@given(utf8)
def test_scripts_stay_as_they_are_to_the_byte(script: str) -> None:
    text = task_specs.task_spec("custom_container", {"script": script})
    assert json.loads(text)["script"] == (script or params.SCRIPT_DEFAULT)
    assert task_specs.parsed(text) == json.loads(text)


def test_programs_and_broken_objects_are_no_objects() -> None:
    for text in ("", "print(1)", "{", "[1]", '{"a":' * 100_000, "{}x"):
        assert task_specs.parsed(text) is None


def test_container_specs_have_their_defaults() -> None:
    assert json.dumps(default_spec("llm_inference")) == (
        '{"image_type": "llm", "vram_required_mb": 0, "gpu_count": 1, "compute_type": "inference", '
        '"pricing_class": "standard"}'
    )
    assert default_spec("image_generation")["compute_type"] == "rendering"
    assert default_spec("custom_container", "economy")["pricing_class"] == "economy"
    found = normal_spec(
        {"env": {"A": 1}, "image_type": "llm", "gpu_count": 2, "image": "x", "enable_checkpoint": True, "z": 1},
        lambda image: image == "x",
    )
    assert list(found) == [
        *("image_type", "vram_required_mb", "gpu_count", "compute_type", "pricing_class"),
        *("image", "env", "enable_checkpoint"),
    ]


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({}, "container_spec.image_type is required"),
        ({"image_type": 3}, "container_spec.image_type is required"),
        ({"image_type": "llm", "gpu_count": 65}, "gpu_count must be a whole number between 1 and 64"),
        ({"image_type": "llm", "gpu_count": True}, "gpu_count"),
        ({"image_type": "llm", "vram_required_mb": -1}, "vram_required_mb must be a whole number between 0 and"),
        ({"image_type": "llm", "compute_type": "mining"}, "compute_type must be one of"),
        ({"image_type": "llm", "image": "evil"}, "is not approved. Use GET /api/containers/registry"),
        ({"image_type": "llm", "env": []}, "env must be an object"),
        ({"image_type": "llm", "prewarm_requested": 1}, "prewarm_requested must be a boolean"),
    ],
)
def test_container_specs_that_cannot_be(spec: dict[str, Any], words: str) -> None:
    with pytest.raises(ContainerSpecError, match=words):
        normal_spec(spec, lambda _: False)


def _params_of(program: str) -> dict[str, Any]:
    """The parameters of a generated program, which has no other call of `json.loads`."""
    calls = [
        node
        for node in ast.walk(ast.parse(program))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "json.loads"
    ]
    assert len(calls) == 1
    found: dict[str, Any] = json.loads(ast.literal_eval(calls[0].args[0]))
    return found
