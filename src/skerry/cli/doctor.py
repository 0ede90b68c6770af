"""`skerry doctor`: what works on this machine, found out by trying."""

from __future__ import annotations

import asyncio
import errno
import os
import platform
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from skerry.cli import exits, island_link, output
from skerry.cli.options import data_dir_option
from skerry.errors import ConfigurationError
from skerry.island import libraries

if TYPE_CHECKING:
    from skerry.island.sandbox.spec import Barriers

State = Literal["ok", "missing", "failed"]


@dataclass(frozen=True)
class Check:
    """One thing that was looked at.

    Args:
        name: what.
        state: `ok`; `missing`, when the island works without it; `failed`, when it does not.
        detail: what was found, or what to do.
    """

    name: str
    state: State
    detail: str = ""


@click.command()
@data_dir_option
@output.output_option
def doctor(*, directory: Path, form: str) -> int:
    """Check what this machine can isolate, limit and build; status 1 when no sandbox can run."""
    checks = [*_machine(directory), *_libraries()]
    if not any(check.state == "failed" for check in checks):
        checks += _sandbox()
    checks += _helpers(directory)
    healthy = not any(check.state == "failed" for check in checks)
    if form == "json":
        output.print_json("doctor", {"healthy": healthy, "checks": [asdict(check) for check in checks]})
    else:
        output.print_table(["check", "state", "detail"], [tuple(asdict(check).values()) for check in checks], empty="")
        output.note("Sandboxes work here." if healthy else "Sandboxes do not work here yet; see what failed.")
    return exits.OK if healthy else exits.FAILURE


def _writable(directory: Path) -> bool:
    """Whether something can be made there: what the mode says is not true of /proc, nor of root."""
    try:
        with tempfile.TemporaryDirectory(dir=directory, prefix=".skerry-"):
            return True
    except OSError as error:
        # A full disk has room for a word about its room.
        return error.errno in (errno.ENOSPC, errno.EDQUOT)


def _machine(directory: Path) -> Iterator[Check]:
    yield Check("system", "ok", f"{platform.system()} {platform.release()}, {platform.machine()}, uid {os.geteuid()}")
    yield Check("python", "ok", platform.python_version())
    existing = directory
    while not existing.exists():
        existing = existing.parent
    if _writable(existing):
        free = shutil.disk_usage(existing).free
        yield Check("data directory", "ok", f"{directory}, {free >> 30} GiB free")
    else:
        yield Check("data directory", "failed", f"{directory} cannot be written; set SKERRY_DATA_DIR to one that can")
    try:
        link = island_link.find(directory)
    except ConfigurationError as error:
        yield Check("island", "failed", str(error))
    else:
        yield Check("island", "ok", f"runs at {link.url}" if link else "does not run; `skerry up` starts it")


def _libraries() -> Iterator[Check]:
    if missing := libraries.absent():
        yield Check("libraries", "failed", f"{', '.join(missing)} not installed: pip install 'skerry[island]'")
    else:
        yield Check("libraries", "ok", "the island extra is installed")


def _sandbox() -> list[Check]:
    """Run a command in a sandbox of its own, far from the island's data, and see which barriers stood."""
    from skerry.errors import SkerryError
    from skerry.island.engine.errors import EngineError
    from skerry.island.sandbox.driver import SandboxError

    try:
        with tempfile.TemporaryDirectory(prefix="skerry-doctor-", ignore_cleanup_errors=True) as scratch:
            barriers = asyncio.run(_trial(Path(scratch)))
    except (SandboxError, EngineError, SkerryError, OSError) as error:
        return [Check("sandbox", "failed", str(error))]
    return [
        Check("sandbox", "ok", f"a command ran in one, by the {barriers.driver} driver"),
        *(Check(name, "ok") for name in barriers.active),
        *(Check(name, "missing", reason) for name, reason in barriers.missing),
    ]


async def _trial(scratch: Path) -> Barriers:
    from skerry.errors import ServerError
    from skerry.island.images.store import ImageStore
    from skerry.island.sandbox.egress.proxy import EgressProxy
    from skerry.island.sandbox.select import choose_driver
    from skerry.island.sandbox.spec import ExecSpec, NetworkPolicy, SandboxSpec
    from skerry.island.settings import Settings

    egress = EgressProxy()
    driver = choose_driver(Settings.from_env(data_dir=scratch), scratch, ImageStore(scratch / "images"), egress)
    await driver.start()
    try:
        spec = SandboxSpec(id="doctor", image="host", network=NetworkPolicy(mode="open"))
        await driver.create(spec)
        sandbox = await driver.open(spec.id)
        process = await sandbox.exec(ExecSpec(id="doctor", argv=("true",), env={"PATH": "/usr/bin:/bin"}, timeout=20))
        ended = await process.wait()
        if ended.exit_code != 0:
            raise ServerError(f"a command that cannot fail ended with status {ended.exit_code} ({ended.cause})")
        barriers = sandbox.barriers
        await driver.remove(spec.id)
        return barriers
    finally:
        await driver.stop(kill=True)
        await egress.aclose()


def _helpers(directory: Path) -> Iterator[Check]:
    builder = shutil.which("mmdebstrap")
    yield (
        Check("image builder", "ok", builder)
        if builder
        else Check("image builder", "missing", "mmdebstrap is not installed; pull and import work without it")
    )
    yield from _relays()
    yield from _templates(directory)
    yield from _render(directory)
    yield from _models(directory)
    yield from _diffusion(directory)


def _templates(directory: Path) -> Iterator[Check]:
    """Programs behind the templates that OctaSpace's face offers."""
    from skerry.island.faces.octaspace.sessions.templates import TEMPLATES
    from skerry.island.workers.apps import installed

    place = installed.place(directory)
    for template in TEMPLATES:
        program = template.program(place)
        if program is None:
            yield Check(f"template {template.name}", "missing", template.install)
        else:
            yield Check(f"template {template.name}", "ok", f"runs {program}")


def _relays() -> Iterator[Check]:
    if find_spec("cryptography") is None:
        yield Check("vpn", "missing", "cryptography is not installed: pip install 'skerry[island]'")
        return
    from skerry.island.workers.vpn.means import choose_uplink, subkinds

    for kind, reason in subkinds().items():
        if reason is not None:
            yield Check(f"vpn {kind}", "missing", reason)
        else:
            way = "a veth pair" if choose_uplink() == "veth" else "slirp4netns"
            yield Check(f"vpn {kind}", "ok", f"relays leave by {way}")


def _render(directory: Path) -> Iterator[Check]:
    if find_spec("sqlalchemy") is None:
        return
    from skerry.island.engine.errors import EngineError
    from skerry.island.workers.render import blender

    try:
        found = blender.find(directory / blender.STATE)
    except EngineError as error:
        yield Check("render", "missing", error.message)
    else:
        yield Check("render", "ok", f"Blender {found.version}, {found.program}")


def _models(directory: Path) -> Iterator[Check]:
    """Engines of language models, and the models that are here."""
    if find_spec("sqlalchemy") is None:
        return
    from skerry.island.engine import gpus
    from skerry.island.workers.llm import engines, llama
    from skerry.island.workers.llm.models import ModelStore

    found = engines.find([gpu.index for gpu in gpus.detect()])
    if not found:
        yield Check("language models", "missing", llama.MISSING)
        return
    listed = ModelStore.of(directory).ls(None)
    names = list(dict.fromkeys(one.name for one in listed))
    kept = f"{', '.join(names[:5])}{f' and {len(names) - 5} more' if len(names) > 5 else ''}" or (
        "no model is here: `skerry model pull`, `add`, or `demo` to try"
    )
    yield Check("language models", "ok", f"{', '.join(f'{one.name} {one.version}' for one in found)}; {kept}")


def _diffusion(directory: Path) -> Iterator[Check]:
    from skerry.island.engine.errors import EngineError
    from skerry.island.workers.image import environment
    from skerry.island.workers.image.choices import STATE, DiffusionChoices

    try:
        found = environment.find(directory / STATE, DiffusionChoices.from_env())
    except (EngineError, ConfigurationError) as error:
        yield Check("pictures", "missing", str(error))
    else:
        versions = dict(found.versions)
        yield Check("pictures", "ok", f"diffusers {versions['diffusers']}, torch {versions['torch']}, {found.python}")
