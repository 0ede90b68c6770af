"""Draws pictures with one model; the diffusion environment's Python runs it, and nothing of the island is importable.

    python -I worker_script.py '{"parent": 123, "folder": "…"}'

Lines of JSON come on stdin: `{"draw": {"id", "prompt", …}}` and `{"cancel": id}`. Lines of JSON go out on stdout:
first `{"loaded": {"device", "pipeline"}}`, then for each picture `{"phase"}` lines and one `{"picture": {…}}`, or
`{"refused": {"id", "why", "message"}}`. It ends when stdin does, and with the process that started it.
"""

from __future__ import annotations

import base64
import contextlib
import ctypes
import functools
import inspect
import io
import json
import os
import queue
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

INDEX = "model_index.json"
PICKLES = (".bin", ".ckpt", ".pt", ".pth", ".pkl", ".pickle")
_HUB_SECONDS = 10.0
_OUT_OF_MEMORY = ("can't allocate memory", "not enough memory", "out of memory", "cannot allocate memory")

Tell = Callable[[dict[str, Any]], None]


class Refused(Exception):
    """It cannot be done; `why` is one of the words that the island knows."""

    def __init__(self, why: str, message: str) -> None:
        super().__init__(message)
        self.why = why


class Cancelled(Exception):
    """Nobody wants the picture any more."""


def main() -> None:
    """Load the model, then draw what is asked for."""
    task = json.loads(sys.argv[1])
    die_with(task["parent"])
    source, tell = take_channel()
    orders: queue.Queue[dict[str, Any]] = queue.Queue()
    cancelled: set[int] = set()
    threading.Thread(target=listen, args=(source, orders, cancelled), daemon=True).start()
    with contextlib.suppress(OSError):
        os.nice(5)
    try:
        with explained("cannot_load"):
            pipeline, device = load(task)
    except Refused as error:
        tell({"refused": {"id": None, "why": error.why, "message": str(error)}})
        sys.exit(1)
    tell({"loaded": {"device": device, "pipeline": type(pipeline).__name__}})
    while True:
        order = orders.get()
        number = order["id"]
        try:
            with explained("failed"):
                picture = draw(pipeline, order, functools.partial(cancelled.__contains__, number), tell)
            tell({"picture": {"id": number, "device": device, **picture}})
        except Cancelled:
            tell({"refused": {"id": number, "why": "cancelled", "message": "it was cancelled"}})
        except Refused as error:
            tell({"refused": {"id": number, "why": error.why, "message": str(error)}})
        cancelled.discard(number)


def die_with(parent: int) -> None:
    """Be killed when the island's process ends, however it ends."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        sys.exit("the island has gone")


def take_channel() -> tuple[io.BufferedReader, Tell]:
    """Keep stdin and stdout for the protocol: what libraries print goes to stderr, and they can ask for nothing."""
    source = os.fdopen(os.dup(0), "rb")
    sink = os.fdopen(os.dup(1), "wb")
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.dup2(2, 1)
    os.close(null)

    def tell(message: dict[str, Any]) -> None:
        sink.write(json.dumps(message).encode() + b"\n")
        sink.flush()

    return source, tell


def listen(source: io.BufferedReader, orders: queue.Queue[dict[str, Any]], cancelled: set[int]) -> None:
    """Take lines, so that a cancellation is heard while a picture is drawn, and the end of the island at any time."""
    for line in source:
        message = json.loads(line)
        if "draw" in message:
            orders.put(message["draw"])
        elif "cancel" in message:
            cancelled.add(message["cancel"])
    os._exit(0)


@contextlib.contextmanager
def explained(why: str) -> Iterator[None]:
    """Turn whatever goes wrong into a refusal that says what it was."""
    try:
        yield
    except (Refused, Cancelled):
        raise
    except MemoryError:
        raise Refused("out_of_memory", "it does not fit into the memory that it may use") from None
    except Exception as error:
        text = str(error).strip()
        if any(sign in text.lower() for sign in _OUT_OF_MEMORY):
            raise Refused("out_of_memory", text.splitlines()[0]) from error
        if isinstance(error, ValueError) and why == "failed":
            raise Refused("invalid", text) from error
        raise Refused(why, f"{type(error).__name__}: {text}"[:2000]) from error


def load(task: dict[str, Any]) -> tuple[Any, str]:
    """The pipeline of a model's folder, and what it computes on."""
    folder = Path(task["folder"]) if "folder" in task else fetch(task["hub"], task["hub_room_bytes"])
    index = check_folder(folder)
    # Imported after what fails fast, since it takes seconds.
    import torch  # type: ignore[import-not-found]
    from diffusers import DiffusionPipeline  # type: ignore[import-not-found]

    # Whatever loads weights, nothing is ever unpickled.
    torch.load = refuse_pickles
    device = "cuda" if torch.cuda.is_available() else "cpu"
    # The large transformers overflow in float16; processors are slow at anything but float32.
    half = torch.bfloat16 if "transformer" in index else torch.float16
    pipeline = DiffusionPipeline.from_pretrained(
        str(folder),
        local_files_only=True,
        use_safetensors=True,
        variant=variant_of(str(path.relative_to(folder)) for path in folder.rglob("*.safetensors")),
        dtype=half if device == "cuda" else torch.float32,
    )
    if "prompt" not in inspect.signature(pipeline.__call__).parameters:
        raise Refused("cannot_load", f"{type(pipeline).__name__} does not draw from a text")
    pipeline.set_progress_bar_config(disable=True)
    return pipeline.to(device), device


def refuse_pickles(*_: Any, **__: Any) -> NoReturn:
    """In place of `torch.load`."""
    raise Refused("cannot_load", "its weights are pickles, which can run code; only .safetensors files are loaded")


def check_folder(folder: Path) -> dict[str, Any]:
    """The index of a model whose parts, where they have weights, have them as safetensors.

    Raises:
        Refused: it has not; the message says what to do.
    """
    try:
        index = json.loads((folder / INDEX).read_bytes())
    except (OSError, ValueError):
        raise Refused("cannot_load", f"its {INDEX} cannot be read") from None
    if not isinstance(index, dict):
        raise Refused("cannot_load", f"its {INDEX} is no object")
    for part in sorted(place for place in folder.iterdir() if place.is_dir() and place.name in index):
        names = [path.name for path in part.iterdir()]
        if any(name.endswith(".safetensors") for name in names):
            continue
        if any(name.endswith(PICKLES) for name in names):
            raise Refused(
                "cannot_load",
                f"its {part.name} has weights as pickles alone, which can run code; only .safetensors files are loaded",
            )
    return index


def variant_of(names: Iterator[str]) -> str | None:
    """`fp16` for a model that has such weights and no others, else None."""
    half = [".fp16." in Path(name).name for name in names if "/" in name]
    return "fp16" if half and all(half) else None


def fetch(name: str, room: int) -> Path:
    """A model from the hub, put into its cache.

    Raises:
        Refused: `no_hub` when it cannot be reached, `not_found`, or `no_room` on the disk.
    """
    from huggingface_hub import HfApi, constants, errors

    try:
        about = HfApi().model_info(name, timeout=_HUB_SECONDS, files_metadata=True)
    except errors.GatedRepoError:
        raise Refused("not_found", f"the hub gives {name} only to those it knows: set HF_TOKEN") from None
    except errors.RepositoryNotFoundError:
        raise Refused("not_found", f"the hub has no model {name}") from None
    except Exception as error:
        raise Refused("no_hub", f"the hub cannot be reached ({type(error).__name__}: {error})"[:500]) from None
    sizes = {file.rfilename: file.size or 0 for file in about.siblings or ()}
    weights = [path for path in sizes if path.endswith(".safetensors") and "/" in path]
    if INDEX not in sizes or not weights:
        raise Refused("not_found", f"{name} on the hub is no diffusers model with .safetensors weights")
    cache = Path(constants.HF_HUB_CACHE)
    cache.mkdir(parents=True, exist_ok=True)
    needed = sum(sizes[path] for path in weights)
    if shutil.disk_usage(cache).free < needed + room:
        raise Refused("no_room", f"{name} is up to {needed >> 20} MiB, for which {cache} has too little room")
    from diffusers import DiffusionPipeline

    try:
        # Half precision is half to fetch, and loads as anything.
        half = "fp16" if any(".fp16." in path for path in weights) else None
        return Path(DiffusionPipeline.download(name, use_safetensors=True, variant=half))
    except Exception as error:
        raise Refused("no_hub", f"{name} could not be fetched ({type(error).__name__}: {error})"[:500]) from None


def draw(pipeline: Any, order: dict[str, Any], unwanted: Callable[[], bool], tell: Tell) -> dict[str, Any]:
    """One picture as a PNG."""
    import torch

    known = inspect.signature(pipeline.__call__).parameters
    width, height = order["width"], order["height"]
    # Models draw in blocks; what is too much is cut off.
    block = 2 * max(8, int(getattr(pipeline, "vae_scale_factor", 8)))

    def after_step(_: Any, __: int, ___: Any, ____: dict[str, Any]) -> dict[str, Any]:
        if unwanted():
            raise Cancelled
        return {}

    options = {
        "prompt": order["prompt"],
        "negative_prompt": order["negative_prompt"] or None,
        "num_inference_steps": order["steps"],
        "width": -(-width // block) * block,
        "height": -(-height // block) * block,
        # Noise from the processor is the same on every device.
        "generator": torch.Generator("cpu").manual_seed(order["seed"]),
        "callback_on_step_end": after_step,
    }
    if unwanted():
        raise Cancelled
    tell({"phase": "generating"})
    began = time.monotonic()
    answer = pipeline(**{name: value for name, value in options.items() if name in known})
    seconds = time.monotonic() - began
    tell({"phase": "formatting"})
    image = answer.images[0].convert("RGB")
    if image.width >= width and image.height >= height:
        left, top = (image.width - width) // 2, (image.height - height) // 2
        image = image.crop((left, top, left + width, top + height))
    target = io.BytesIO()
    image.save(target, "PNG")
    flags = getattr(answer, "nsfw_content_detected", None)
    return {
        "png": base64.b64encode(target.getvalue()).decode(),
        "width": image.width,
        "height": image.height,
        "seconds": seconds,
        "withheld": bool(flags and flags[0]),
    }


if __name__ == "__main__":
    main()
