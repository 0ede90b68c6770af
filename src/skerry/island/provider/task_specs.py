"""What a job's task spec says: the text that the platform signs and a provider carries out (protocol section 5.5).

Pure functions. Jobs of language and image models have a Python program that does the work wherever `transformers` or
`diffusers` are installed; every other job has compact JSON. Parameters reach a program as JSON inside one string
literal, so that nothing in them can become code.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from skerry.island.provider.params import (
    IMAGE_MODELS,
    LLM_MODELS,
    SERVE_MODELS,
    Params,
    container_params,
    image_params,
    serve_params,
    text_params,
)
from skerry.island.provider.records import IMAGE_TYPE, SERVING_TYPE, TEXT_TYPES

CONTAINER_TYPE = "custom_container"
BENCHMARK = {"benchmark": "matmul", "matrix_size": 4096, "iterations": 5}
"""What the operator's test jobs have a provider do."""

MARKER = "DC1_RESULT_JSON:"
Allowed = frozenset[str] | None


def task_spec(
    job_type: str,
    params: Params,
    *,
    model: str | None = None,
    given: Mapping[str, Any] | None = None,
    llm_models: Allowed = LLM_MODELS,
    image_models: Allowed = IMAGE_MODELS,
    serve_models: Allowed = SERVE_MODELS,
) -> str:
    """The task spec of a job, as it is stored and signed.

    Args:
        job_type: one of section 5.5.
        params: as submitted.
        model: the job's, used where the parameters name none.
        given: the task spec object that came with the submission, used where the network defines none of its own.
        llm_models, image_models, serve_models: models that may be used; None for any.

    Example:
        >>> task_spec("vllm_serve", {"dtype": "bfloat16", "max_model_len": 99})
        '{"serve_mode":true,"model":"TinyLlama/TinyLlama-1.1B-Chat-v1.0","max_model_len":512,"dtype":"bfloat16"}'
    """
    if job_type in TEXT_TYPES:
        return _program(_TEXT_PROGRAM, asdict(text_params(params, model, llm_models)))
    if job_type == IMAGE_TYPE:
        return _program(_IMAGE_PROGRAM, asdict(image_params(params, model, image_models)))
    if job_type == SERVING_TYPE:
        return compact({"serve_mode": True, **asdict(serve_params(params, model, serve_models))})
    if job_type == CONTAINER_TYPE:
        wanted = container_params({**(given or {}), **{name: value for name, value in params.items() if value}})
        return compact({"image_override": wanted.image, "script": wanted.script})
    return compact(given if given else {"job_type": job_type, "params": dict(params)})


def compact(value: Any) -> str:
    """JSON without spaces, nothing escaped that need not be, members in their order."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def parsed(text: str) -> dict[str, Any] | None:
    """The object that a task spec is; None for a program, and for anything else."""
    if not text.lstrip().startswith("{"):
        return None
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _program(text: str, params: Mapping[str, Any]) -> str:
    # ASCII JSON as a Python literal: quotes and backslashes are the literal's, line separators are escaped by JSON.
    return text.replace("__PARAMS__", repr(json.dumps(params, separators=(",", ":"))))


_TEXT_PROGRAM = '''\
#!/usr/bin/env python3
"""Asks a language model once, and prints the answer as the job's result."""
import json
import sys
import time

began = time.monotonic()
params = json.loads(__PARAMS__)


def phase(name):
    print("[dcp-phase] " + name, flush=True)


try:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer
except ImportError as error:
    sys.exit("this job needs the Python packages torch and transformers: %s" % error)

device = "cuda" if torch.cuda.is_available() else "cpu"
phase("downloading_model")
tokenizer = AutoTokenizer.from_pretrained(params["model"])
phase("loading_model")
kind = torch.float16 if device == "cuda" else torch.float32
model = AutoModelForCausalLM.from_pretrained(params["model"], torch_dtype=kind).to(device).eval()

text = params["prompt"]
chat = bool(getattr(tokenizer, "chat_template", None))
if chat:
    messages = [{"role": "user", "content": text}]
    text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
asked = tokenizer(text, return_tensors="pt", add_special_tokens=not chat).to(device)

phase("generating")
generating = time.monotonic()
with torch.no_grad():
    made = model.generate(
        **asked,
        max_new_tokens=params["max_tokens"],
        do_sample=True,
        temperature=params["temperature"],
        pad_token_id=tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id,
    )
seconds = time.monotonic() - generating
fresh = made[0][asked["input_ids"].shape[1]:]

phase("formatting")
result = {
    "type": "text",
    "prompt": params["prompt"],
    "response": tokenizer.decode(fresh, skip_special_tokens=True).strip(),
    "model": params["model"],
    "tokens_generated": len(fresh),
    "tokens_per_second": round(len(fresh) / seconds, 1) if seconds > 0 else 0.0,
    "gen_time_s": round(seconds, 1),
    "total_time_s": round(time.monotonic() - began, 1),
    "device": device,
}
print("DC1_RESULT_JSON:" + json.dumps(result), flush=True)
'''

_IMAGE_PROGRAM = '''\
#!/usr/bin/env python3
"""Has an image model draw one picture, and prints it as the job's result."""
import base64
import io
import json
import random
import sys
import time

began = time.monotonic()
params = json.loads(__PARAMS__)


def phase(name):
    print("[dcp-phase] " + name, flush=True)


try:
    import torch
    from diffusers import AutoPipelineForText2Image
except ImportError as error:
    sys.exit("this job needs the Python packages torch and diffusers: %s" % error)

device = "cuda" if torch.cuda.is_available() else "cpu"
phase("downloading_model")
kind = torch.float16 if device == "cuda" else torch.float32
pipeline = AutoPipelineForText2Image.from_pretrained(params["model"], torch_dtype=kind)
phase("loading_model")
pipeline = pipeline.to(device)

seed = params["seed"] or random.randint(1, 2**32 - 1)
# Diffusion models draw in blocks of eight pixels.
width, height = params["width"] // 8 * 8, params["height"] // 8 * 8

phase("generating")
generating = time.monotonic()
picture = pipeline(
    prompt=params["prompt"],
    negative_prompt=params["negative_prompt"],
    num_inference_steps=params["steps"],
    width=width,
    height=height,
    generator=torch.Generator(device).manual_seed(seed),
).images[0]
seconds = time.monotonic() - generating

phase("formatting")
content = io.BytesIO()
picture.save(content, format="PNG")
result = {
    "type": "image",
    "format": "png",
    "encoding": "base64",
    "width": picture.width,
    "height": picture.height,
    "steps": params["steps"],
    "seed": seed,
    "prompt": params["prompt"],
    "model": params["model"],
    "gen_time_s": round(seconds, 1),
    "total_time_s": round(time.monotonic() - began, 1),
    "device": device,
    "data": base64.b64encode(content.getvalue()).decode(),
}
print("DC1_RESULT_JSON:" + json.dumps(result), flush=True)
'''
