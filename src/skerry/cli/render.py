"""`skerry render`: the Blender that an island renders with."""

from __future__ import annotations

import asyncio
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from skerry.cli import exits, output
from skerry.cli.main import LazyGroup
from skerry.cli.making import making
from skerry.cli.options import data_dir_option
from skerry.errors import UnsupportedError

if TYPE_CHECKING:
    from skerry.island.workers.render.score import Score


@click.group(cls=LazyGroup)
def render() -> None:
    """Install Blender for the island, and measure how fast it renders."""


@render.command()
@click.option("--python", metavar="PATH", help="The Python to make the environment with.")
@click.option(
    "--into",
    type=click.Path(file_okay=False, path_type=Path),
    help="Where to make it; name it in SKERRY_RENDER_ENVIRONMENT then.",
)
@data_dir_option
def install(*, python: str | None, into: Path | None, directory: Path) -> int:
    """Install Blender as a Python module (bpy, about 1 GB) in an environment of its own."""
    from skerry.island.workers.render import blender
    from skerry.island.workers.render.install import install as make

    place = (into or directory / blender.STATE / blender.ENVIRONMENT).absolute()
    with making():
        found = make(place, python=python, say=output.note)
    output.note(f"Blender {found.version} is in {place}.")
    return exits.OK


@render.command("ls")
@data_dir_option
@output.output_option
def list_blenders(*, directory: Path, form: str) -> int:
    """List every Blender that is here; the island renders with the first."""
    from skerry.island.workers.render import blender

    found = blender.candidates(directory / blender.STATE)
    if form == "json":
        rows = [{"version": one.version, "kind": one.kind, "program": str(one.program)} for one in found]
        output.print_json("blenders", {"blenders": rows})
        return exits.OK
    output.print_table(
        ["version", "kind", "program"],
        [(one.version, one.kind, str(one.program)) for one in found],
        empty=blender.available(directory / blender.STATE) or "",
    )
    return exits.OK


@render.command()
@click.option("--measure", is_flag=True, help="Measure it now, which takes half a minute or so.")
@data_dir_option
@output.output_option
def score(*, measure: bool, directory: Path, form: str) -> int:
    """Show the render score of this machine: samples per minute of a fixed scene."""
    from skerry.island.engine.errors import EngineError
    from skerry.island.sandbox.driver import SandboxError

    try:
        found = asyncio.run(_score(directory, measure))
    except (EngineError, SandboxError) as error:
        raise UnsupportedError(str(error)) from None
    if form == "json":
        output.print_json("score", {"score": None if found is None else asdict(found)})
    elif found is None:
        output.note("The score of this machine was not measured; `skerry render score --measure` does.")
    else:
        output.print_table(
            ["score", "blender", "devices", "measured"],
            [(f"{found.score:g}", found.blender, ", ".join(found.devices), found.measured_at)],
            empty="",
        )
    return exits.OK


async def _score(directory: Path, measure: bool) -> Score | None:
    """The score as kept, or a fresh one; measured beside the island's own workers, which may be at work."""
    from skerry.island.engine import gpus
    from skerry.island.images.store import ImageStore
    from skerry.island.sandbox.spec import GpuDevice
    from skerry.island.settings import Settings
    from skerry.island.workers.render import RenderWorkers, blender
    from skerry.island.workers.render import score as scores

    state_dir = directory / blender.STATE
    devices = [GpuDevice(gpu.index, gpu.uuid) for gpu in gpus.detect()]
    with tempfile.TemporaryDirectory(prefix="skerry-render-", ignore_cleanup_errors=True) as scratch:
        place = Path(scratch)
        workers = await RenderWorkers.open(
            place / blender.STATE,
            images=ImageStore(place / "images"),
            settings=Settings.from_env(data_dir=place),
            found=blender.find(state_dir),
            gpus=devices,
        )
        try:
            if not measure:
                return workers.kept_score(state_dir)
            found = await workers.measure()
        finally:
            await workers.close()
    await asyncio.to_thread(scores.keep, state_dir, found)
    return found
