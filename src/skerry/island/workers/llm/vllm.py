"""vLLM as an engine, where it is installed and there is a GPU: models with safetensors, as their makers publish them.

It is a program of its own (`vllm serve`), never imported. One process has one GPU for itself, most of whose memory it
takes at once.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

from skerry.island.engine.errors import Invalid
from skerry.island.workers.lender import visible
from skerry.island.workers.llm.models import Model
from skerry.island.workers.llm.values import Launch, Need, Order
from skerry.units import GIB

NAME = "vllm"
PROGRAM = "vllm"

_GUARD = Path(__file__).with_name("guard.py")
_PASSED = ("PATH", "HOME", "LD_LIBRARY_PATH", "CUDA_HOME", "TMPDIR", "TZ", "XDG_CACHE_HOME", "VLLM_CACHE_ROOT")
_PROCESS = 4 * GIB
_LONGEST_CONFIG = 8 << 20
# For models that do not say how a chat is written.
_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


@dataclass(frozen=True, slots=True)
class Vllm:
    """The engine; see `Engine`."""

    program: str
    version: str
    name: str = NAME
    format: Literal["gguf", "weights"] = "weights"
    chooses_port: bool = False

    def context_of(self, model: Model, wanted: int) -> int:
        """As wanted, but no more than the model's configuration allows."""
        trained = _read(model.path / "config.json").get("max_position_embeddings")
        return min(wanted, trained) if isinstance(trained, int) and trained > 0 else wanted

    def need_of(self, model: Model, context: int, parallel: int, dtype: str) -> Need:
        """A GPU, and what its processes take beside it."""
        return Need(memory_bytes=_PROCESS, gpus=1)

    def most_text(self, model: Model, context: int) -> int | None:
        """Not known: vocabularies come in many forms, and vLLM counts quickly."""
        return None

    def launch(self, order: Order) -> Launch:
        """The program, below a guard that ends with us."""
        path = str(order.model.path.absolute())
        options = {
            "--served-model-name": order.alias,
            "--host": order.host,
            "--port": str(order.port),
            "--max-model-len": str(order.context),
            "--dtype": order.dtype,
            "--max-num-seqs": str(max(1, order.parallel) * 16),
        }
        command = [sys.executable, "-I", "-S", "-B", str(_GUARD), self.program, "serve", path]
        command += [word for option in options.items() for word in option]
        if order.shared:
            command.append("--no-enable-prefix-caching")
        if not _has_template(order.model.path):
            command += ["--chat-template", _TEMPLATE]
        env = {name: os.environ[name] for name in _PASSED if name in os.environ}
        env |= {
            **visible(order.gpus),
            "LC_ALL": "C.UTF-8",
            "HF_HUB_OFFLINE": "1",
            "VLLM_NO_USAGE_STATS": "1",
        }
        if order.api_key is not None:
            # Not an argument, which every user of the machine can read.
            env["VLLM_API_KEY"] = order.api_key
        return Launch(argv=tuple(command), env=env, cwd=Path("/"), device="cuda")


def find(gpus: Sequence[int]) -> Vllm | None:
    """The engine, if its program is here and a GPU for it; it is not started for this."""
    program = shutil.which(PROGRAM)
    if program is None or not gpus:
        return None
    try:
        return Vllm(program, metadata.version("vllm"))
    except metadata.PackageNotFoundError:
        return Vllm(program, "of an environment of its own")


def _has_template(folder: Path) -> bool:
    if (folder / "chat_template.jinja").exists() or (folder / "chat_template.json").exists():
        return True
    file = folder / "tokenizer_config.json"
    return file.exists() and "chat_template" in _read(file)


def _read(file: Path) -> dict[str, Any]:
    try:
        with file.open("rb") as opened:
            found = json.loads(opened.read(_LONGEST_CONFIG))
    except (OSError, ValueError) as error:
        raise Invalid(f"{file.name} of {file.parent.name} cannot be read: {error}") from None
    if not isinstance(found, dict):
        raise Invalid(f"{file.name} of {file.parent.name} is no object")
    return found
