"""`skerry diffusion`: the diffusers that an island draws pictures with."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from skerry import errors
from skerry.cli import exits, output
from skerry.cli.main import LazyGroup
from skerry.cli.options import data_dir_option

if TYPE_CHECKING:
    from skerry.island.engine.errors import EngineError
    from skerry.island.workers.image import Picture


@click.group(cls=LazyGroup)
def diffusion() -> None:
    """Install diffusers for the island, see its models, and draw pictures."""


@diffusion.command()
@click.option("--python", metavar="PATH", help="The Python to make the environment with.")
@click.option("--torch", metavar="REQUIREMENT", help="The torch to install, such as torch==2.13.0.")
@click.option(
    "--into",
    type=click.Path(file_okay=False, path_type=Path),
    help="Where to make it; name it in SKERRY_DIFFUSION_PYTHON then.",
)
@data_dir_option
def install(*, python: str | None, torch: str | None, into: Path | None, directory: Path) -> int:
    """Install torch and diffusers (1 to 6 GB) in an environment of their own."""
    from skerry.island.engine.errors import EngineError
    from skerry.island.workers.image import install as making
    from skerry.island.workers.image.choices import ENVIRONMENT, STATE

    place = (into or directory / STATE / ENVIRONMENT).absolute()
    try:
        found, device = making.install(place, python=python, torch=torch or making.TORCH, say=output.note)
    except EngineError as error:
        raise _translated(error) from None
    versions = dict(found.versions)
    output.note(f"diffusers {versions['diffusers']} is in {place}; torch {versions['torch']} computes on {device}.")
    return exits.OK


@diffusion.command()
@data_dir_option
@output.output_option
def status(*, directory: Path, form: str) -> int:
    """Show whether pictures can be drawn here, and list the models."""
    from skerry.island.engine.errors import Unsupported
    from skerry.island.workers.image import environment
    from skerry.island.workers.image.choices import STATE, DiffusionChoices
    from skerry.island.workers.image.workers import DiffusionWorkers

    choices = DiffusionChoices.from_env()
    models = DiffusionWorkers(directory, choices=choices).models()
    reason, found = None, None
    try:
        found = environment.find(directory / STATE, choices)
    except Unsupported as error:
        reason = error.message
    if form == "json":
        output.print_json(
            "diffusion",
            {
                "ready": found is not None,
                "reason": reason,
                "python": None if found is None else found.python,
                "versions": {} if found is None else dict(found.versions),
                "default": choices.default_model,
                "models": [asdict(model) for model in models],
            },
        )
        return exits.OK
    if found is not None:
        output.note(f"{found.python}: " + ", ".join(f"{name} {version}" for name, version in found.versions))
    else:
        output.note(f"{reason}")
    output.print_table(
        ["model", "demo", "folder"],
        [(model.name, "yes" if model.demo else "no", str(model.folder)) for model in models],
        empty="There are no models; `skerry diffusion demo NAME` makes one whose pictures are noise.",
    )
    return exits.OK


@diffusion.command()
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
@data_dir_option
def demo(*, names: tuple[str, ...], directory: Path) -> int:
    """Make small models with random weights under these names: their pictures are noise."""
    from skerry.island.engine.errors import EngineError
    from skerry.island.workers.image import environment
    from skerry.island.workers.image import install as making
    from skerry.island.workers.image.choices import STATE, DiffusionChoices

    try:
        found = environment.find(directory / STATE, DiffusionChoices.from_env())
        folders = making.make_demos(found, directory / STATE, names)
    except EngineError as error:
        raise _translated(error) from None
    for folder in folders:
        output.note(f"{folder} is a demo: random weights, whose pictures are noise.")
    return exits.OK


@diffusion.command()
@click.argument("prompt")
@click.option("--model", required=True, metavar="NAME", help="The model that draws.")
@click.option(
    "--to", "target", required=True, type=click.Path(dir_okay=False, path_type=Path), help="The PNG file to write."
)
@click.option("--negative", default="", metavar="TEXT", help="What the picture shall not show.")
@click.option("--steps", default=30, show_default=True, help="Steps of denoising.")
@click.option("--width", default=512, show_default=True, help="In pixels.")
@click.option("--height", default=512, show_default=True, help="In pixels.")
@click.option("--seed", default=0, help="The same seed draws the same picture; 0 for a random one.")
@data_dir_option
@output.output_option
def draw(
    *,
    prompt: str,
    model: str,
    target: Path,
    negative: str,
    steps: int,
    width: int,
    height: int,
    seed: int,
    directory: Path,
    form: str,
) -> int:
    """Draw one picture, with a process that ends afterwards."""
    from skerry.island.engine.errors import EngineError

    try:
        picture = asyncio.run(_draw(directory, model, prompt, negative, steps, width, height, seed))
    except EngineError as error:
        raise _translated(error) from None
    try:
        target.write_bytes(picture.png)
    except OSError as error:
        raise errors.ConfigurationError(f"{target} cannot be written: {error.strerror}") from None
    about = {name: value for name, value in asdict(picture).items() if name != "png"}
    if form == "json":
        output.print_json("picture", {"file": target, **about})
    else:
        note = "; the model is a demo, so this is noise" if picture.demo else ""
        output.note(f"{target}: seed {picture.seed}, {picture.seconds:.1f} s on {picture.device}{note}")
    return exits.OK


async def _draw(
    directory: Path, model: str, prompt: str, negative: str, steps: int, width: int, height: int, seed: int
) -> Picture:
    from skerry.island.workers.image import DiffusionWorkers

    async with DiffusionWorkers(directory) as workers:
        return await workers.generate(
            model,
            prompt,
            negative_prompt=negative,
            steps=steps,
            width=width,
            height=height,
            seed=seed,
            on_phase=lambda phase: output.note(phase.replace("_", " ")),
        )


def _translated(error: EngineError) -> errors.SkerryError:
    """In the words, and with the exit status, of the command line."""
    kinds: dict[str, type[errors.SkerryError]] = {
        "invalid": errors.InvalidRequestError,
        "no_capacity": errors.NoCapacityError,
        "not_found": errors.NotFoundError,
        "unavailable": errors.ServerError,
    }
    return kinds.get(error.code, errors.UnsupportedError)(error.message)
