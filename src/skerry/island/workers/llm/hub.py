"""Fetching models from the Hugging Face hub, where there is a network.

    python -m skerry.island.workers.llm.hub DIRECTORY NAME

is how a server does it, which shall not load the hub's library itself: it says on standard output what became of it.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from skerry.island.engine.errors import EngineError, Forbidden, NoCapacity, NotFound, Unavailable, Unsupported
from skerry.island.workers.llm import names
from skerry.island.workers.llm.choice import Fetch
from skerry.island.workers.llm.models import Model, ModelStore
from skerry.units import MIB, format_size

PACKAGE = "huggingface_hub"
INCOMING = ".incoming"
"""Where a model lies while it comes; what is there of it is not fetched again."""

_ASK_SECONDS = 30.0
_SPARE = 256 * MIB
_SUGGESTIONS = 5
# For so long the hub is not asked again for what it has not given, nor where it cannot be reached.
_REFUSED_SECONDS = 60.0
_MOST_REFUSED = 256


def pull(
    store: ModelStore,
    name: str,
    *,
    repository: str | None = None,
    replace: bool = False,
    endpoint: str | None = None,
    say: Callable[[str], None] = lambda text: None,
) -> Model:
    """Fetch a model's GGUF file, or files, from the hub into the island's own directory.

    Args:
        store: where to.
        name: it will be found under; may say a quantisation, such as `phi-2:Q8_0`.
        repository: on the hub; the name itself by default. Many models have GGUF files only in somebody else's.
        replace: in place of one that is there.
        endpoint: the hub's address; as `HF_ENDPOINT` says by default.
        say: told what goes on.

    Raises:
        Invalid: it is no name, or what came is no whole GGUF. Unsupported: the hub's library is not installed.
        Unavailable: the hub cannot be reached. NotFound: it has no such repository, or no GGUF in it. Forbidden: it
        wants a token, or its terms to be accepted. NoCapacity: too little disk. Conflict: the name is taken.
    """
    base, form = names.split(names.check(name))
    source = names.split(names.check(repository or base))[0]
    try:
        import huggingface_hub
    except ImportError:
        raise Unsupported(f"{PACKAGE} is not installed; pip install 'skerry[llm]'") from None
    api = huggingface_hub.HfApi(endpoint=endpoint)
    say(f"asking {api.endpoint} for {source}")
    files = _answer(lambda: _listed(api, source))
    chosen = _choose(files, form)
    if chosen is None:
        raise NotFound(_without_gguf(api, source, form, files))
    quantisation, wanted = chosen
    size = sum(files[file] for file in wanted)
    store.make()
    free = shutil.disk_usage(store.home).free
    if size + _SPARE > free:
        raise NoCapacity(f"{source} takes {format_size(size)} of disk, and {format_size(free)} are free")
    folder = store.home / INCOMING / source.replace("/", "--")
    folder.mkdir(parents=True, exist_ok=True)
    came = []
    for file in wanted:
        say(f"fetching {file}, {format_size(files[file])}")
        came.append(Path(_answer(partial(api.hf_hub_download, source, file, local_dir=folder))))
    added = store.add(f"{base}:{quantisation}" if quantisation else base, came[0], how="move", replace=replace)
    shutil.rmtree(folder, ignore_errors=True)
    return added


def fetcher(store: ModelStore) -> Fetch:
    """What fetches models for a server, each in a process of its own; who wants the same one waits for the same."""
    going: dict[str, asyncio.Task[None]] = {}
    refused: dict[str, tuple[float, str]] = {}

    async def fetch(name: str) -> None:
        moment, why = refused.get(name, (0.0, ""))
        if why and time.monotonic() - moment < _REFUSED_SECONDS:
            raise NotFound(why)
        task = going.get(name)
        if task is None:
            task = going[name] = asyncio.ensure_future(_fetch(store.home, name))
            task.add_done_callback(lambda _: going.pop(name, None))
        await asyncio.wait([task])
        if task.cancelled():
            raise Unavailable("fetching the model was ended")
        try:
            task.result()
        except NotFound as error:
            while len(refused) >= _MOST_REFUSED:
                refused.pop(next(iter(refused)))
            refused[name] = time.monotonic(), error.message
            raise

    return fetch


async def _fetch(home: Path, name: str) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        __name__,
        str(home),
        name,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        # Its input is left open: its end would be the end of us.
        assert process.stdout is not None
        said = await process.stdout.read()
        await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        if process.stdin is not None:
            process.stdin.close()
    try:
        answer = json.loads(said)
    except ValueError:
        answer = {"error": "the process that fetches it ended without a word"}
    if answer.get("error"):
        raise NotFound(answer["error"])


def _listed(api: Any, source: str) -> dict[str, int]:
    """Files of a repository and their sizes."""
    found = api.model_info(source, timeout=_ASK_SECONDS, files_metadata=True)
    return {one.rfilename: int(one.size or 0) for one in found.siblings or ()}


def _choose(files: dict[str, int], form: str) -> tuple[str, list[str]] | None:
    """The quantisation to fetch, and its files in order."""
    sets: dict[tuple[str, str, str, int], dict[int, str]] = {}
    for file in files:
        folder, _, last = file.rpartition("/")
        if last.endswith(".gguf") and not last.startswith(names.NOT_MODELS):
            base, found, part, parts = names.stem(last)
            sets.setdefault((folder, base, found, parts), {})[part] = file
    whole = [
        (found, [parts[number] for number in sorted(parts)])
        for (_, _, found, count), parts in sets.items()
        if sorted(parts) == list(range(1, count + 1)) and form.upper() in ("", found)
    ]
    return min(whole, key=lambda one: names.rank(one[0]), default=None)


def _without_gguf(api: Any, source: str, form: str, files: dict[str, int]) -> str:
    here = sorted({names.stem(file.rpartition("/")[2])[1] for file in files if file.endswith(".gguf")} - {""})
    if here:
        return f"{source} has no quantisation {form} on the hub; it has {', '.join(here)}"
    others = _answer(
        lambda: list(
            api.list_models(filter=["gguf", f"base_model:quantized:{source}"], sort="downloads", limit=_SUGGESTIONS)
        )
    )
    listed = ", ".join(one.id for one in others)
    return f"{source} has no GGUF file on the hub" + (
        f"; name one of these by --from, if you trust its owner: {listed}"
        if listed
        else "; name a repository that has one by --from"
    )


def _answer(ask: Callable[[], Any]) -> Any:
    """What the hub answers, its refusals in our words."""
    import httpx2
    from huggingface_hub import errors

    try:
        return ask()
    except errors.GatedRepoError:
        raise Forbidden(
            "the hub shows this model only to those who accepted its terms: do so on its page, and set HF_TOKEN"
        ) from None
    except errors.RepositoryNotFoundError:
        raise NotFound("the hub has no such repository, or not for you; where it is private, set HF_TOKEN") from None
    except (
        errors.OfflineModeIsEnabled,
        errors.LocalEntryNotFoundError,
        httpx2.TransportError,
        ConnectionError,
    ) as error:
        why = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise Unavailable(f"the hub cannot be reached from here ({why}); fetch the file elsewhere and add it") from None
    except errors.HfHubHTTPError as error:
        raise Unavailable(f"the hub answers: {str(error).splitlines()[0]}") from None


def main(words: list[str]) -> int:
    """Fetch one model for a server."""
    _end_with_input()
    try:
        pull(ModelStore(Path(words[0])), words[1])
    except EngineError as error:
        print(json.dumps({"error": error.message}))  # noqa: T201 - it is what we are here for
        return 1
    print(json.dumps({"error": None}))  # noqa: T201
    return 0


def _end_with_input() -> None:
    """End when whoever started us does."""
    import threading

    def watch() -> None:
        while os.read(0, 4096):
            pass
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
