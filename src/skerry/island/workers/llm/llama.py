"""llama.cpp as an engine: whether it is here, what a model needs of it, how it is started."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from skerry.island.engine.errors import Invalid
from skerry.island.workers.lender import visible
from skerry.island.workers.llm import gguf
from skerry.island.workers.llm.models import Model
from skerry.island.workers.llm.values import Launch, Need, Order
from skerry.units import MIB

NAME = "llama.cpp"
PACKAGE = "xllamacpp"
MISSING = "llama.cpp is not installed; pip install 'skerry[llm]'"

_CHILD = Path(__file__).with_name("llama_child.py")
_PASSED = ("PATH", "LD_LIBRARY_PATH", "CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "TMPDIR", "TZ")
_CACHE_BYTES = {"auto": 2, "float16": 2, "bfloat16": 2, "float32": 4}
# The process and the library, and what a pass over a batch of prompt tokens takes.
_PROCESS, _BATCH = 64 * MIB, 512
_CONNECTIONS = 64
_SMALL = 64 * MIB
_LEAST_TOKEN = 16


@dataclass(frozen=True, slots=True)
class LlamaCpp:
    """The engine; see `Engine`."""

    version: str
    name: str = NAME
    format: Literal["gguf", "weights"] = "gguf"
    chooses_port: bool = True
    gpus: int = 0
    """That one process takes: one where the library was built for them, and the machine has one."""

    def context_of(self, model: Model, wanted: int) -> int:
        """As wanted, but no more than the model was trained on."""
        trained = header(model).context_length
        return min(wanted, trained) if trained else wanted

    def need_of(self, model: Model, context: int, parallel: int, dtype: str) -> Need:
        """Weights, cache, and what a pass over a batch takes."""
        found = header(model)
        cached = context * parallel * found.cache_width * _CACHE_BYTES[dtype]
        weights = max(found.weights_bytes, model.size_bytes)
        return Need(memory_bytes=weights + cached + _PROCESS + _BATCH * 4 * found.vocabulary, gpus=self.gpus)

    def most_text(self, model: Model, context: int) -> int | None:
        """As many of the longest token as the context holds."""
        found = header(model)
        return context * max(found.longest_token, _LEAST_TOKEN) if found.vocabulary else None

    def launch(self, order: Order) -> Launch:
        """Our own program around the library."""
        # The engine tells its callers the path of its model, so it is given no more of it than the file's name.
        path = order.model.path.absolute()
        told = {
            "path": path.name,
            "alias": order.alias,
            "host": order.host,
            "port": order.port,
            "api_key": order.api_key,
            "context": order.context,
            "parallel": order.parallel,
            "dtype": "float16" if order.dtype == "auto" else order.dtype,
            "keep_prompts": not order.shared,
            # What is computed in microseconds is not worth waiting for other threads.
            "threads": order.threads or (1 if order.model.size_bytes < _SMALL else 0),
            "connections": _CONNECTIONS,
            "warmup": order.model.size_bytes >= _SMALL,
        }
        env = {name: os.environ[name] for name in _PASSED if name in os.environ}
        if self.gpus:
            env |= visible(order.gpus)
        return Launch(
            argv=(sys.executable, "-I", "-B", str(_CHILD)),
            env={**env, "LC_ALL": "C.UTF-8"},
            cwd=path.parent,
            told=told,
            announces=True,
        )


def find(gpus: Sequence[int] = ()) -> LlamaCpp | None:
    """The engine, if it is installed; it is not loaded for this.

    Args:
        gpus: `index`es of this machine's.
    """
    package = find_spec(PACKAGE)
    if package is None:
        return None
    folders = [Path(folder) for folder in package.submodule_search_locations or ()]
    # Wheels keep the libraries that they bring beside the package.
    places = [place for folder in folders for place in (folder, folder.with_name(f"{folder.name}.libs"))]
    takes = int(bool(gpus) and any(True for place in places for _ in place.glob("**/*cuda*")))
    try:
        return LlamaCpp(metadata.version(PACKAGE), gpus=takes)
    except metadata.PackageNotFoundError:
        return LlamaCpp("unknown", gpus=takes)


def header(model: Model) -> gguf.Header:
    """The head of a model's file, read once for each state of its files.

    Raises:
        Invalid: it is no whole GGUF, or has gone.
    """
    for file in model.files[1:]:
        _header(file, *_state(file))
    return _header(model.path, *_state(model.path))


def _state(file: Path) -> tuple[int, int]:
    try:
        found = file.stat()
    except OSError as error:
        raise Invalid(f"{file.name} cannot be read: {error.strerror or error}") from None
    return found.st_size, found.st_mtime_ns


@lru_cache(maxsize=64)
def _header(file: Path, size: int, changed: int) -> gguf.Header:
    return gguf.read(file)
