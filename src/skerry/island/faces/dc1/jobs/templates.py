"""Jobs that are filled in beforehand (section 3.6): data alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from skerry.island.faces.dc1.money.gpu_tiers import SAR_PER_USD, elsewhere, for_memory, short

_WORKERS = {"llm-inference": "dc1/llm-worker:latest", "image_generation": "dc1/sd-worker:latest"}
_GENERAL = "dc1/general-worker:latest"
_SAR_PER_HOUR = {"llm-inference": 9, "image_generation": 10, "training": 7, "rag-pipeline": 15}


@dataclass(frozen=True, slots=True)
class Template:
    """A job that only waits to be submitted.

    Args:
        id: its slug.
        name: for people.
        description: one or two sentences.
        job_type: of the job.
        min_vram_gb: memory that the provider must have.
        params: of the job, unless the caller has others.
        tags: for searches.
        difficulty: `easy`, `medium` or `advanced`.
        icon: an emoji.
    """

    id: str
    name: str
    description: str
    job_type: str
    min_vram_gb: int
    params: Mapping[str, Any] = field(default_factory=dict)
    tags: tuple[str, ...] = ()
    difficulty: str = "easy"
    icon: str = "🤖"

    @property
    def image(self) -> str:
        """What runs it."""
        return _WORKERS.get(self.job_type, _GENERAL)

    @property
    def model(self) -> str | None:
        """The model that it asks, if it asks one."""
        found = self.params.get("model")
        return found if isinstance(found, str) else None


def _llm(id: str, name: str, model: str, vram: int, about: str, *tags: str) -> Template:
    params = {"model": model, "prompt": "Hello, tell me about GPU compute.", "max_tokens": 512, "temperature": 0.7}
    return Template(id, name, about, "llm-inference", vram, params, ("llm", "inference", *tags))


def _picture(id: str, name: str, model: str, vram: int, size: int, about: str) -> Template:
    params = {"model": model, "prompt": "A futuristic mosque at sunset", "steps": 30, "width": size, "height": size}
    return Template(id, name, about, "image_generation", vram, params, ("image", "diffusion"), icon="🎨")


def _script(id: str, name: str, job_type: str, vram: int, about: str, script: str, *tags: str) -> Template:
    params = {"image_override": _GENERAL, "script": script}
    return Template(id, name, about, job_type, vram, params, tags, "medium", "🧪")


_WHICH_GPU = """\
import json, platform
found = {"python": platform.python_version()}
try:
    import torch
    found["cuda"] = torch.cuda.is_available()
    found["gpus"] = torch.cuda.device_count()
except ImportError:
    found["torch"] = "not in this image"
print("DC1_RESULT_JSON:" + json.dumps(found))
"""
_SERVE = (
    "OpenAI-compatible LLM serving API. Deploy Mistral, Llama, Qwen, and other models with high-throughput batched "
    "inference."
)

_ALL = (
    _llm(
        "allam-7b-instruct",
        "ALLaM 7B Instruct",
        "ALLaM-AI/ALLaM-7B-Instruct-preview",
        20,
        "Arabic chat with ALLaM.",
        "arabic",
    ),
    _llm(
        "arabic-embeddings", "Arabic Embeddings", "BAAI/bge-m3", 8, "Embeddings of Arabic and other texts.", "embedding"
    ),
    Template(
        "arabic-rag-complete",
        "Arabic RAG",
        "Embeddings, a reranker and a model that answers, together.",
        "rag-pipeline",
        40,
        {"embed_model": "BAAI/bge-m3", "rerank_model": "BAAI/bge-reranker-v2-m3"},
        ("arabic", "rag"),
        "advanced",
        "📚",
    ),
    _llm("arabic-reranker", "Arabic Reranker", "BAAI/bge-reranker-v2-m3", 8, "Puts passages in order.", "reranking"),
    _picture(
        "comfyui-api", "ComfyUI API", "stabilityai/stable-diffusion-xl-base-1.0", 8, 1024, "Pictures by workflow."
    ),
    _script(
        "custom-container", "Custom Container", "training", 4, "Any script in an approved image.", _WHICH_GPU, "custom"
    ),
    _llm("jais-13b-chat", "Jais 13B Chat", "inceptionai/jais-13b-chat", 28, "Arabic and English chat.", "arabic"),
    Template(
        "jupyter-gpu",
        "Jupyter GPU",
        "A notebook; set NOTEBOOK_TOKEN to a secret of your own.",
        "training",
        4,
        {"script_type": "jupyter"},
        ("notebook",),
        "medium",
        "📓",
    ),
    _llm("llama3-70b", "Llama 3 70B", "meta-llama/Meta-Llama-3-70B-Instruct", 80, "The large Llama 3."),
    _llm("llama3-8b", "Llama 3 8B", "meta-llama/Meta-Llama-3-8B-Instruct", 16, "The small Llama 3."),
    _script(
        "lora-finetune",
        "LoRA Fine-tune",
        "custom_container",
        16,
        "Adapts a model to your texts.",
        _WHICH_GPU,
        "training",
    ),
    _llm("mistral-7b", "Mistral 7B", "mistralai/Mistral-7B-Instruct-v0.2", 16, "A quick model for chat."),
    _llm("nemotron-nano", "Nemotron Nano", "nvidia/Nemotron-Mini-4B-Instruct", 8, "A small model of NVIDIA's."),
    _llm(
        "nemotron-super", "Nemotron Super", "nvidia/Llama-3_3-Nemotron-Super-49B-v1", 80, "A large model of NVIDIA's."
    ),
    _llm("ollama", "Ollama", "microsoft/Phi-3-mini-4k-instruct", 4, "Small models on small GPUs."),
    _script(
        "python-scientific-compute",
        "Scientific Python",
        "custom_container",
        8,
        "NumPy and friends on a GPU.",
        _WHICH_GPU,
        "python",
    ),
    _script(
        "pytorch-multi-gpu", "PyTorch Multi-GPU", "custom_container", 24, "Training over GPUs.", _WHICH_GPU, "pytorch"
    ),
    _script("pytorch-single-gpu", "PyTorch", "custom_container", 12, "Training on one GPU.", _WHICH_GPU, "pytorch"),
    _script("pytorch-training", "PyTorch Training", "training", 8, "Your training script.", _WHICH_GPU, "pytorch"),
    _script(
        "qlora-finetune", "QLoRA Fine-tune", "custom_container", 12, "As LoRA, in less memory.", _WHICH_GPU, "training"
    ),
    _llm("qwen25-7b", "Qwen 2.5 7B", "Qwen/Qwen2.5-7B-Instruct", 16, "Chat in many languages."),
    _picture("sdxl", "Stable Diffusion XL", "stabilityai/stable-diffusion-xl-base-1.0", 8, 1024, "Large pictures."),
    _picture("stable-diffusion", "Stable Diffusion", "CompVis/stable-diffusion-v1-4", 4, 512, "Pictures from words."),
    _llm("tensorrt-llm", "TensorRT-LLM", "mistralai/Mistral-7B-Instruct-v0.2", 16, "The same, with NVIDIA's engine."),
    _llm("vllm-serve", "vLLM Serve", "mistralai/Mistral-7B-Instruct-v0.2", 16, _SERVE, "api", "openai-compatible"),
    _llm("whisper-large-v3", "Whisper Large v3", "openai/whisper-large-v3", 8, "Writes down what is said.", "speech"),
)
TEMPLATES: dict[str, Template] = {template.id: template for template in _ALL}
"""By slug."""

BUNDLES: dict[str, dict[str, Any]] = {
    "arabic-rag": {
        "id": "arabic-rag",
        "name": "Arabic RAG",
        "job_type": "rag-pipeline",
        "template_id": "arabic-rag-complete",
        "min_vram_gb": 24,
        "components": [
            {"role": "embed", "model": "BAAI/bge-m3", "port": 8001},
            {"role": "rerank", "model": "BAAI/bge-reranker-v2-m3", "port": 8002},
            {"role": "generate", "template": "allam-7b-instruct", "port": 8003},
        ],
    }
}
"""Templates that go together, by slug."""


def view(template: Template, position: int) -> dict[str, Any]:
    """A template as it is sent."""
    tier = for_memory(template.min_vram_gb)
    usd = tier.usd_per_hour
    serves = template.id == "vllm-serve"
    example = {"job_type": "vllm_serve" if serves else template.job_type, "duration_minutes": 60 if serves else 5}
    output: dict[str, Any] = {"type": "text", "status": "completed"}
    if serves:
        output = {
            "type": "endpoint",
            "model": template.model,
            "status": "running",
            "openai_base_url": "http://127.0.0.1:8000/v1",
        }
    given = {"model": template.model, "max_model_len": 8192, "dtype": "float16"} if serves else dict(template.params)
    return {
        "id": template.id,
        "name": template.name,
        "description": template.description,
        "image": template.image,
        "job_type": template.job_type,
        "env_vars": _variables(template),
        "params": dict(template.params),
        "model_cache": {
            "mount_path": "/opt/dcp/model-cache",
            "default_policy": "hot" if template.model else "warm",
            "behavior": "Hot cache keeps tokenizer + weight shards pinned for low-latency serving restarts.",
        },
        "example_io": {"input": {**example, "params": given}, "output": output},
        "min_vram_gb": template.min_vram_gb,
        "estimated_price_sar_per_hour": _SAR_PER_HOUR.get(template.job_type, 7),
        "tags": list(template.tags),
        "sort_order": 1 if serves else position,
        "icon": template.icon,
        "difficulty": template.difficulty,
        "pricing": {
            "price_per_hour_usd": usd,
            "price_per_hour_sar": short(usd * SAR_PER_USD, 4),
            "gpu_tier": tier.tier,
            "gpu_display_name": tier.display_name,
            "competitor_prices": elsewhere(tier),
            "savings_pct": short((1 - usd / tier.elsewhere[0]) * 100, 1),
        },
    }


def _variables(template: Template) -> list[dict[str, Any]]:
    if template.id == "jupyter-gpu":
        return [{"key": "NOTEBOOK_TOKEN", "label": "Notebook token", "default": "", "required": True}]
    if template.job_type != "llm-inference":
        return []
    return [
        {"key": "MODEL_ID", "label": "Model ID (HuggingFace)", "default": template.model, "required": True},
        {"key": "MAX_TOKENS", "label": "Max Tokens", "default": "512", "required": False},
        {"key": "TEMPERATURE", "label": "Temperature", "default": "0.7", "required": False},
    ]
