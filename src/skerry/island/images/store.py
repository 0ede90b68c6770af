"""The images of one island: found by name, listed, pulled, built, imported and removed."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from skerry.island.engine.errors import Conflict, Invalid, NotFound
from skerry.island.engine.records import Image, Program
from skerry.island.images import host
from skerry.island.images.build import debootstrap
from skerry.island.images.index import Entry, ImageConfig, Index, Table
from skerry.island.images.manifest import parse_platform, this_platform
from skerry.island.images.program import HOST_CONFIG, program
from skerry.island.images.pull import Limits, Progress, fetch, resolve, unpack_file
from skerry.island.images.reference import Reference, parse_reference
from skerry.island.images.registry import Registry
from skerry.island.images.rootfs import LocalRootFs, with_default_path
from skerry.island.images.staging import flush, remove_tree, staged, sweep
from skerry.island.images.users import find_user
from skerry.island.sandbox.driver import SandboxError
from skerry.island.sandbox.spec import UserIds

HOST = "host"
_HOST_GENERATIONS = 4
# A change of any of these means that packages or certificates came or went.
_HOST_SIGNS = ("etc", "etc/alternatives", "etc/ld.so.cache", "etc/ssl/certs", "usr")


class ImageStore:
    """Images below one directory; satisfies `skerry.island.sandbox.driver.ImageSource`.

    Layout: `images.json`, `rootfs/<id>/` (published, never changed), `incoming/` (being made, swept after a crash).
    The directory is closed to other users, since an image's files carry the owners of their archive.

    Args:
        directory: made when missing.
        machine: root of the machine that `host` shows; another directory in tests.
        in_use: tells whether sandboxes still stand on an image, asked before its removal.
        limits: ceilings of one image.
    """

    def __init__(
        self,
        directory: Path,
        *,
        machine: Path = Path("/"),
        in_use: Callable[[str], bool] = lambda image_id: False,
        limits: Limits | None = None,
    ) -> None:
        self.directory = directory
        self.in_use = in_use
        self.limits = limits or Limits()
        self._machine = machine
        self._roots = directory / "rootfs"
        self._incoming = directory / "incoming"
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._roots.mkdir(mode=0o700, exist_ok=True)
        self._index = Index(directory)
        self._host_lock = threading.Lock()
        self._host: tuple[tuple[int, ...], Image, LocalRootFs] | None = None
        self._recover()

    def rootfs(self, image_id: str) -> LocalRootFs:
        """The root of an image, by id; `host` is made or renewed first when the machine has changed.

        Raises:
            SandboxError: reason `unknown_image`.
        """
        if image_id == HOST:
            return self._current_host()[1]
        entry = self._index.read().images.get(image_id)
        if entry is None:
            raise SandboxError("unknown_image", f"there is no image {image_id!r} here")
        return LocalRootFs(directory=self._roots / image_id, env=with_default_path(entry.env))

    def list(self) -> list[Image]:
        """Every image, `host` first, the others by name."""
        others = sorted(self._index.read().images.values(), key=lambda entry: (entry.name, entry.id))
        return [self._current_host()[0], *map(_image, others)]

    def get(self, name: str) -> Image:
        """The image of a name or id.

        Raises:
            NotFound: nothing here is called so.
        """
        image_id = self.resolve(name)
        if image_id is None:
            raise NotFound(f"there is no image {name!r} here; `skerry image pull {name}` fetches one")
        return self._current_host()[0] if image_id == HOST else _image(self._index.entry(image_id))

    def config(self, image_id: str) -> ImageConfig:
        """How an image wants to be run.

        Raises:
            NotFound: no such image.
        """
        return HOST_CONFIG if image_id == HOST else self._index.entry(image_id).config

    def program(self, image_id: str) -> Program:
        """What an image runs when nothing else is said.

        Raises:
            NotFound: no such image. Invalid: the image names no program, or a user that it does not have.
        """
        name = HOST if image_id == HOST else self._index.entry(image_id).name
        return program(name, self.config(image_id), self.rootfs(image_id))

    def user(self, image_id: str, text: str) -> UserIds:
        """The numeric ids of a user of an image, written as in its configuration; see `users.find_user`.

        Raises:
            SandboxError: reason `unknown_image`. Invalid: the image has no such user or group.
        """
        found = find_user(self.rootfs(image_id).directory, text)
        return UserIds(uid=found.uid, gid=found.gid, groups=found.groups)

    def resolve(self, name: str) -> str | None:
        """The id for an id, an alias or a Docker-style name (`ubuntu` is `docker.io/library/ubuntu:latest`)."""
        return self._index.read().resolve(name)

    def names(self, image_id: str) -> Sequence[str]:
        """Every canonical reference of an image."""
        return self._index.read().names_of(image_id)

    def aliases(self) -> dict[str, str]:
        """The alias table: short names and what they stand for."""
        return dict(self._index.read().aliases)

    def alias(self, name: str, target: str) -> None:
        """Let `name` stand for `target` (a name, alias or id), now and when `target` moves.

        Raises:
            NotFound: the target does not exist. Invalid: the name is reserved or would stand for itself.
        """
        if name == HOST:
            raise Invalid("`host` always means this machine; choose another name")
        with self._index.change() as table:
            if table.resolve(target) is None:
                raise NotFound(f"there is no image {target!r} here")
            earlier = table.aliases.get(name)
            table.aliases[name] = target
            if table.resolve(name) is None:
                if earlier is None:
                    del table.aliases[name]
                else:
                    table.aliases[name] = earlier
                raise Invalid(f"{name!r} would stand for itself")

    def remove(self, name: str) -> None:
        """Forget a name; the image goes with its last name, or at once when named by its id.

        Raises:
            Invalid: `host` cannot be removed. NotFound: no such image. Conflict: sandboxes stand on it.
        """
        if name == HOST:
            raise Invalid("the host image is this machine itself and cannot be removed")
        with staged(self._incoming) as trash, self._index.change() as table:
            if name in table.aliases:
                del table.aliases[name]
                return
            image_id = table.resolve(name)
            if image_id is None:
                raise NotFound(f"there is no image {name!r} here")
            every = table.names_of(image_id)
            gone = every if name == image_id else [parse_reference(name).canonical]
            # Digests are not names that people gave: they do not keep an image.
            remaining = [reference for reference in every if reference not in gone and "@" not in reference]
            if remaining:
                entry = table.images[image_id]
                if parse_reference(entry.name).canonical in gone:
                    renamed = parse_reference(remaining[0]).familiar
                    table.images[image_id] = msgspec.structs.replace(entry, name=renamed)
            else:
                if self.in_use(image_id):
                    raise Conflict(f"image {name!r} is the root of existing sandboxes; remove those first")
                gone = every
                del table.images[image_id]
                (self._roots / image_id).rename(trash / "root")
            for reference in gone:
                del table.names[reference]
            _drop_dangling_aliases(table)

    async def pull(
        self,
        reference: str,
        *,
        progress: Callable[[Progress], None] | None = None,
        credentials: tuple[str, str] | None = None,
        platform: str | None = None,
    ) -> Image:
        """Fetch an image from its registry, or only renew its name when its content is already here.

        Args:
            reference: Docker-style name.
            progress: told how far it is; must not block.
            credentials: user name and password or token.
            platform: such as `linux/arm64`; this machine's by default.

        Raises:
            EngineError: by what the registry answered and what the archive holds.
        """
        name = parse_reference(reference)
        wanted = parse_platform(platform) if platform else this_platform()
        tell = progress or (lambda _: None)
        tell(Progress(stage="resolve"))
        async with Registry(name, credentials=credentials) as registry:
            found = await resolve(registry, name.selector, wanted)
            image_id = _id_of(found.digest)
            names = [
                name.canonical,
                *(name.with_digest(digest).canonical for digest in (found.digest, found.index_digest)),
            ]
            if image_id not in self._index.read().images:
                with staged(self._incoming) as work:
                    try:
                        configuration, size = await fetch(registry, found, work, self.limits, tell)
                        entry = Entry(
                            id=image_id,
                            name=name.familiar,
                            source=name.canonical,
                            digest=found.digest,
                            size_bytes=size,
                            created_at=datetime.now(UTC),
                            env=configuration.env,
                            config=configuration.image_config,
                        )
                        await asyncio.to_thread(self._publish, work / "root", entry)
                    finally:
                        await asyncio.to_thread(remove_tree, work)
        self._name(image_id, names)
        tell(Progress(stage="done"))
        return replace(_image(self._index.entry(image_id)), name=name.familiar)

    async def build(
        self,
        suite: str = "bookworm",
        packages: Sequence[str] = (),
        *,
        name: str | None = None,
        mirrors: Sequence[str] = (),
    ) -> Image:
        """Build a Debian or Ubuntu image from packages with mmdebstrap.

        Args:
            suite: release to build, such as `bookworm`.
            packages: installed besides the minimal base.
            name: what to call it; `skerry/<suite>` by default.
            mirrors: package sources, as URLs or `deb` lines.

        Raises:
            Unsupported: mmdebstrap or a helper is missing; the message says what to install.
        """
        reference = _nameable(name or f"skerry/{suite}")
        with staged(self._incoming) as work:
            archive = work / "root.tar"
            await debootstrap(suite, packages, archive, mirrors=mirrors)
            return await self._install(archive, reference, f"mmdebstrap {suite}", work)

    async def import_tar(self, path: Path, name: str) -> Image:
        """Make an image of an archive of a whole root, plain or compressed, as `docker export` writes.

        Raises:
            NotFound: no such file. Invalid: a bad name, or an archive that is damaged or hostile.
        """
        reference = _nameable(name)
        if not await asyncio.to_thread(path.is_file):
            raise NotFound(f"there is no file {path}")
        with staged(self._incoming) as work:
            return await self._install(path, reference, f"import {path.name}", work)

    async def _install(self, archive: Path, reference: Reference, source: str, work: Path) -> Image:
        try:
            digest, size = await unpack_file(archive, work / "root", self.limits)
            entry = Entry(
                id=_id_of(digest),
                name=reference.familiar,
                source=source,
                digest=digest,
                size_bytes=size,
                created_at=datetime.now(UTC),
            )
            await asyncio.to_thread(self._publish, work / "root", entry)
        finally:
            await asyncio.to_thread(remove_tree, work)
        self._name(entry.id, [reference.canonical])
        # The same content may be here under an earlier name; whoever asked knows this one.
        return replace(_image(self._index.entry(entry.id)), name=reference.familiar)

    def _publish(self, root: Path, entry: Entry) -> None:
        """Put a finished root in its place, durably, and enter it."""
        flush(root)
        with self._index.change() as table:
            target = self._roots / entry.id
            if entry.id in table.images:
                return
            if target.exists():
                target.rename(root.parent / "stray")
            root.rename(target)
            table.images[entry.id] = entry

    def _name(self, image_id: str, names: Sequence[str]) -> None:
        """Let names stand for an image; whatever they stood for before keeps its other names."""
        with self._index.change() as table:
            for name in names:
                table.names[name] = image_id

    def _current_host(self) -> tuple[Image, LocalRootFs]:
        signs = tuple(_changed_at(self._machine / sign) for sign in _HOST_SIGNS)
        with self._host_lock:
            if self._host is None or self._host[0] != signs:
                self._host = (signs, *self._make_host())
            return self._host[1:]

    def _make_host(self) -> tuple[Image, LocalRootFs]:
        plan = host.survey(self._machine)
        target = self._roots / f"{HOST}-{plan.stamp}"
        if not host.intact(plan, target):
            with staged(self._incoming) as work:
                fresh = work / "root"
                fresh.mkdir()
                host.build(plan, fresh)
                with self._index.change():
                    if not host.intact(plan, target):
                        if target.exists():
                            target.rename(work / "damaged")
                        fresh.rename(target)
        root = host.rootfs(plan, target)
        image = Image(
            id=HOST,
            name=HOST,
            source="machine",
            size_bytes=plan.size_bytes,
            created_at=datetime.fromtimestamp(target.stat().st_mtime, UTC),
            env=root.env,
        )
        return image, root

    def _recover(self) -> None:
        """Remove what a crash left: half-made trees, trees never entered in the index, old shapes of `host`."""
        sweep(self._incoming)
        with self._index.change() as table:
            for image_id in [known for known in table.images if not (self._roots / known).is_dir()]:
                del table.images[image_id]
                table.names = {name: target for name, target in table.names.items() if target != image_id}
            hosts = [path for path in self._roots.iterdir() if path.name.startswith(f"{HOST}-")]
            # Agents that outlived an earlier server may still stand on a former shape of the host.
            hosts.sort(key=lambda path: path.stat().st_mtime, reverse=True)
            kept = {path.name for path in hosts[:_HOST_GENERATIONS]} | set(table.images)
            for path in self._roots.iterdir():
                if path.name not in kept:
                    remove_tree(path)


def _id_of(digest: str) -> str:
    return f"img-{digest.removeprefix('sha256:')[:20]}"


def _nameable(name: str) -> Reference:
    reference = parse_reference(name)
    if name == HOST or reference.digest:
        raise Invalid(f"an image cannot be named {name!r}")
    return reference


def _image(entry: Entry) -> Image:
    return Image(
        id=entry.id,
        name=entry.name,
        source=entry.source,
        size_bytes=entry.size_bytes,
        created_at=entry.created_at,
        env=with_default_path(entry.env),
    )


def _changed_at(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0


def _drop_dangling_aliases(table: Table) -> None:
    while dangling := [name for name in table.aliases if table.resolve(name) is None]:
        for name in dangling:
            del table.aliases[name]
