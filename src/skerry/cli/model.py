"""`skerry model`: the language models of an island. They are files: no server needs to run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from skerry.cli import exits, output
from skerry.cli.main import LazyGroup
from skerry.cli.options import data_dir_option
from skerry.errors import (
    ConflictError,
    InvalidRequestError,
    NoCapacityError,
    NotFoundError,
    PermissionDeniedError,
    UnavailableError,
    UnsupportedError,
)
from skerry.units import format_size

if TYPE_CHECKING:
    from skerry.island.workers.llm.models import Model

_ERRORS: dict[str, Callable[[str], Exception]] = {
    "conflict": ConflictError,
    "forbidden": PermissionDeniedError,
    "invalid": InvalidRequestError,
    "no_capacity": NoCapacityError,
    "not_found": NotFoundError,
    "unavailable": UnavailableError,
    "unsupported": UnsupportedError,
}


@click.group(cls=LazyGroup)
def model() -> None:
    """List, add, fetch and remove language models.

    They are GGUF files in the data directory; a running island sees a change within a second. `skerry model demo`
    makes one to try everything with, whose text is gibberish.
    """


@model.command("ls")
@data_dir_option
@output.output_option
def list_models(*, directory: Path, form: str) -> int:
    """List every model that jobs can use."""
    from skerry.island.workers.llm.models import ModelStore

    found = ModelStore.of(directory).ls(None)
    rows = [(one, _about(one)) for one in found]
    if form == "json":
        output.print_json("models", {"models": [{**_plain(one), "about": about} for one, about in rows]})
        return exits.OK
    output.print_table(
        ["name", "quantisation", "size", "what it is", "in"],
        [(one.name, one.quantisation, format_size(one.size_bytes), about, str(one.place)) for one, about in rows],
        empty="no models; `skerry model demo NAME` makes one to try",
    )
    return exits.OK


@model.command()
@click.argument("name")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--copy", is_flag=True, help="Copy the file in place of linking to it.")
@click.option("--replace", is_flag=True, help="In place of one of this name.")
@data_dir_option
@output.output_option
def add(name: str, file: Path, *, copy: bool, replace: bool, directory: Path, form: str) -> int:
    """Put a GGUF file under a name, as a link to where it lies.

    \b
    skerry model add mistralai/Mistral-7B-Instruct-v0.2 ~/mistral-7b-instruct-v0.2.Q4_K_M.gguf
    """
    from skerry.island.workers.llm.models import ModelStore

    with _our_errors():
        added = ModelStore.of(directory).add(name, file, how="copy" if copy else "link", replace=replace)
    return _told(added, "added", form)


@model.command()
@click.argument("name")
@click.option("--from", "repository", metavar="REPOSITORY", help="On the hub; the name itself by default.")
@click.option("--replace", is_flag=True, help="In place of one of this name.")
@data_dir_option
@output.output_option
def pull(name: str, *, repository: str | None, replace: bool, directory: Path, form: str) -> int:
    """Fetch a model from the Hugging Face hub.

    \b
    skerry model pull Qwen/Qwen2.5-0.5B-Instruct --from Qwen/Qwen2.5-0.5B-Instruct-GGUF
    skerry model pull NAME:Q8_0      in this quantisation
    """
    from skerry.island.workers.llm import hub
    from skerry.island.workers.llm.models import ModelStore

    with _our_errors():
        added = hub.pull(ModelStore.of(directory), name, repository=repository, replace=replace, say=output.note)
    return _told(added, "fetched", form)


@model.command("rm")
@click.argument("name")
@data_dir_option
@output.output_option
def remove(name: str, *, directory: Path, form: str) -> int:
    """Remove a model, in every quantisation unless the name says one; of a link, the link alone."""
    from skerry.island.workers.llm.models import ModelStore

    with _our_errors():
        gone = ModelStore.of(directory).remove(name)
    if form == "json":
        output.print_json("models", {"removed": [_plain(one) for one in gone]})
    else:
        output.note(f"removed {', '.join(one.full_name for one in gone)}")
    return exits.OK


@model.command()
@click.argument("names", nargs=-1, required=True)
@click.option("--replace", is_flag=True, help="In place of those of these names.")
@data_dir_option
@output.output_option
def demo(names: tuple[str, ...], *, replace: bool, directory: Path, form: str) -> int:
    """Make demo models with random weights under any names: what they write is gibberish.

    Half a megabyte each, made here without a network, to try jobs, chats and serving with.

    \b
    skerry model demo TinyLlama/TinyLlama-1.1B-Chat-v1.0
    """
    from skerry.island.workers.llm.models import ModelStore

    store = ModelStore.of(directory)
    with _our_errors():
        added = [store.add_demo(name, replace=replace) for name in names]
    if form == "json":
        output.print_json("models", {"models": [{**_plain(one), "about": _about(one)} for one in added]})
    else:
        listed = ", ".join(one.full_name for one in added)
        output.note(f"made {listed}: random weights, so whatever is asked, the text is gibberish")
    return exits.OK


def _told(added: Model, how: str, form: str) -> int:
    if form == "json":
        output.print_json("model", {**_plain(added), "about": _about(added)})
    else:
        output.note(f"{how} {added.full_name}, {format_size(added.size_bytes)}")
    return exits.OK


def _about(found: Model) -> str:
    """What a model's file says of itself, in a few words."""
    from skerry.island.engine.errors import EngineError
    from skerry.island.workers.llm import demo, gguf

    if found.format == "weights":
        return "safetensors, for vLLM"
    try:
        head = gguf.read(found.path)
    except EngineError as error:
        return error.message
    if head.name == demo.NAME:
        return "demo with random weights: gibberish"
    return f"{head.architecture}, {head.context_length} tokens"


def _plain(found: Model) -> dict[str, Any]:
    return {
        "name": found.name,
        "quantisation": found.quantisation,
        "format": found.format,
        "size_bytes": found.size_bytes,
        "files": [str(file) for file in found.files],
        "directory": str(found.place),
    }


@contextmanager
def _our_errors() -> Iterator[None]:
    """The workers' refusals as what the command line knows."""
    from skerry.island.engine.errors import EngineError

    try:
        yield
    except EngineError as error:
        raise _ERRORS.get(error.code, UnavailableError)(error.message) from None
