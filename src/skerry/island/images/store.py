"""The images of one island: found by name, listed, pulled, built, imported and removed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from skerry.island.engine.errors import Conflict, Invalid, NotFound
from skerry.island.engine.records import Image, Program
from skerry.island.images.build import debootstrap
from skerry.island.images.define import NOTHING, Overrides, derived_digest, shown_trees, stage_files
from skerry.island.images.download import check_url, download, shown
from skerry.island.images.host_image import HOST, HostImage
from skerry.island.images.index import Entry, ImageConfig, Index, Table
from skerry.island.images.manifest import Platform, parse_platform, this_platform
from skerry.island.images.program import HOST_CONFIG, program
from skerry.island.images.pull import Limits, Progress, fetch, resolve
from skerry.island.images.reference import Reference, parse_reference
from skerry.island.images.registry import Registry
from skerry.island.images.rootfs import LocalRootFs, with_default_path
from skerry.island.images.roots import Roots, tree_of
from skerry.island.images.saved import unpack_archive
from skerry.island.images.shared import Shared
from skerry.island.images.staging import flush, remove_tree, staged, sweep
from skerry.island.images.users import find_user
from skerry.island.sandbox.driver import SandboxError
from skerry.island.sandbox.spec import UserIds


class ImageStore:
    """Images below one directory; satisfies `skerry.island.sandbox.driver.ImageSource`.

    Layout: `images.json`, `rootfs/<id>/` (published, never changed), `incoming/` (being made, swept after a crash).
    The directory is closed to other users, since an image's files carry the owners of their archive.

    Args:
        directory: made when missing.
        machine: root of the machine that `host` shows; another directory in tests.
        in_use: tells whether sandboxes still stand on an image, asked before its removal.
        limits: ceilings of one image.
        private_ok: blocks that `fetch` and `fetch_archive` may reach although they are not public.
    """

    def __init__(
        self,
        directory: Path,
        *,
        machine: Path = Path("/"),
        in_use: Callable[[str], bool] = lambda image_id: False,
        limits: Limits | None = None,
        private_ok: Sequence[str] = (),
    ) -> None:
        self.directory = directory
        self.in_use = in_use
        self.limits = limits or Limits()
        self._private_ok = tuple(private_ok)
        self._fetches: Shared[Image] = Shared()
        self._roots = directory / "rootfs"
        self._incoming = directory / "incoming"
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._roots.mkdir(mode=0o700, exist_ok=True)
        self._index = Index(directory)
        self._host = HostImage(machine, self._roots, self._incoming, self._index)
        self._trees = Roots(self._roots, self._incoming, self._host, self._index)
        self._recover()

    def rootfs(self, image_id: str) -> LocalRootFs:
        """The root of an image, by id; `host` is made or renewed first when the machine has changed.

        Raises:
            SandboxError: reason `unknown_image`.
        """
        if image_id == HOST:
            return self._host.current()[1]
        entry = self._index.read().images.get(image_id)
        if entry is None:
            raise SandboxError("unknown_image", f"there is no image {image_id!r} here")
        return self._trees.of(entry)

    def list(self) -> list[Image]:
        """Every name of every image, `host` first, the others by name; equal content may have several."""
        table = self._index.read()
        others = [
            replace(_image(entry), name=name) for entry in table.images.values() for name in _familiar(table, entry)
        ]
        return [self._host.current()[0], *sorted(others, key=lambda image: (image.name, image.id))]

    def get(self, name: str) -> Image:
        """The image of a name or id.

        Raises:
            NotFound: nothing here is called so.
        """
        image_id = self.resolve(name)
        if image_id is None:
            raise NotFound(f"there is no image {name!r} here; `skerry image pull {name}` fetches one")
        return self._host.current()[0] if image_id == HOST else _image(self._index.entry(image_id))

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
                entry = table.images.pop(image_id)
                for tree in self._trees.only_of(entry, table.images.values()):
                    tree.rename(trash / tree.name)
            for reference in gone:
                del table.names[reference]
            _drop_dangling_aliases(table)

    async def fetch(self, reference: str, *, credentials: tuple[str, str] | None = None) -> Image:
        """The image of a name that somebody else chose: as it is here, else pulled; for one caller or for many at once.

        One that came with credentials is asked for at its registry again, since being here gives nobody a right to it.

        Args:
            reference: name, alias or id, or a Docker-style name.
            credentials: user name and password or token.

        Raises:
            EngineError: as `pull`; Forbidden also for registries at addresses that are neither public nor loopback.
        """
        found = self.resolve(reference)
        if found == HOST or (found is not None and not self._index.entry(found).private):
            return self.get(reference)
        name = parse_reference(reference)
        return await self._fetches.run(
            (name.canonical, credentials),
            lambda: self._pull(name, credentials=credentials, private_ok=self._private_ok),
        )

    async def fetch_archive(self, url: str) -> Image:
        """An image from an archive at an address that somebody else chose: OCI layout, `docker save`, or plain root.

        The address is asked each time; content that is here already is not kept twice.

        Raises:
            Invalid: no http or https address, or a damaged or hostile archive. Forbidden: an address that is not
            public (see `private_ok`), or that refuses. NotFound, TooLarge, Unavailable, NoCapacity.
        """
        check_url(url)
        return await self._fetches.run(("archive", url), lambda: self._fetch_archive(url))

    async def _fetch_archive(self, url: str) -> Image:
        with staged(self._incoming) as work:
            try:
                archive = work / "archive"
                await download(url, archive, private_ok=self._private_ok, max_bytes=self.limits.max_bytes)
                return await self._install(archive, None, shown(url), work)
            finally:
                await asyncio.to_thread(remove_tree, work)

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
        wanted = parse_platform(platform) if platform else this_platform()
        return await self._pull(
            parse_reference(reference), credentials=credentials, platform=wanted, tell=progress or (lambda _: None)
        )

    async def _pull(
        self,
        name: Reference,
        *,
        credentials: tuple[str, str] | None,
        private_ok: Sequence[str] | None = None,
        platform: Platform | None = None,
        tell: Callable[[Progress], None] = lambda _: None,
    ) -> Image:
        wanted = platform or this_platform()
        tell(Progress(stage="resolve"))
        async with Registry(name, credentials=credentials, private_ok=private_ok) as registry:
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
                            private=credentials is not None,
                        )
                        await asyncio.to_thread(self._publish, work / "root", entry)
                    finally:
                        await asyncio.to_thread(remove_tree, work)
        self._name(image_id, names, public=credentials is None)
        tell(Progress(stage="done"))
        return replace(_image(self._index.entry(image_id)), name=name.familiar)

    async def build(
        self,
        suite: str = "bookworm",
        packages: Sequence[str] = (),
        *,
        name: str | None = None,
        mirrors: Sequence[str] = (),
        overrides: Overrides = NOTHING,
    ) -> Image:
        """Build a Debian or Ubuntu image from packages with mmdebstrap.

        Args:
            suite: release to build, such as `bookworm`.
            packages: installed besides the minimal base.
            name: what to call it; `skerry/<suite>` by default.
            mirrors: package sources, as URLs or `deb` lines.
            overrides: what it shall run.

        Raises:
            Unsupported: mmdebstrap or a helper is missing; the message says what to install.
        """
        reference = _nameable(name or f"skerry/{suite}")
        with staged(self._incoming) as work:
            archive = work / "root.tar"
            await debootstrap(suite, packages, archive, mirrors=mirrors)
            return await self._install(archive, reference, f"mmdebstrap {suite}", work, overrides)

    async def import_tar(self, path: Path, name: str, *, overrides: Overrides = NOTHING) -> Image:
        """Make an image of an archive, plain or compressed: a whole root, an OCI layout, or what `docker save` wrote.

        Args:
            path: the archive.
            name: what to call it.
            overrides: what it shall run, in place of what the archive says.

        Raises:
            NotFound: no such file. Invalid: a bad name, or an archive that is damaged or hostile.
        """
        reference = _nameable(name)
        if not await asyncio.to_thread(path.is_file):
            raise NotFound(f"there is no file {path}")
        with staged(self._incoming) as work:
            return await self._install(path, reference, f"import {path.name}", work, overrides)

    async def define(
        self,
        name: str,
        source: str,
        *,
        overrides: Overrides = NOTHING,
        files: Sequence[tuple[Path, str]] = (),
        trees: Sequence[tuple[Path, str]] = (),
    ) -> Image:
        """Give another image's files another program, and a few files more; what it stands on is not copied.

        Args:
            name: what to call it.
            source: name or id of the image it stands on; `host` too, and then it changes with the machine.
            overrides: what it shall run, in place of what the other says.
            files: files of this machine, each with its absolute path inside.
            trees: directories of this machine, each with its absolute path inside; they are shown as they are then,
                read-only, and must stay where they are.

        Raises:
            NotFound: no such image, file or directory. Invalid: a bad name, path, variable or directory.
        """
        reference = _nameable(name)
        overrides.check()
        base = self.get(source)
        with staged(self._incoming) as work:
            try:
                entry = await asyncio.to_thread(self._derive, reference, base, source, overrides, files, trees, work)
            finally:
                await asyncio.to_thread(remove_tree, work)
        self._name(entry.id, [reference.canonical])
        return replace(_image(self._index.entry(entry.id)), name=reference.familiar)

    def _derive(
        self,
        reference: Reference,
        base: Image,
        source: str,
        overrides: Overrides,
        files: Sequence[tuple[Path, str]],
        trees: Sequence[tuple[Path, str]],
        work: Path,
    ) -> Entry:
        below = None if base.id == HOST else self._index.entry(base.id)
        config, env = overrides.apply(self.config(base.id), {} if below is None else below.env)
        on_host = below is None or below.root == HOST
        shown = () if below is None else below.trees
        if trees:
            shown += shown_trees(trees, self.rootfs(base.id).binds, self.directory)
        placed: dict[str, str] = {}
        if files:
            earlier = self._roots / base.id if below is not None and below.files else None
            placed = stage_files(self.rootfs(base.id), files, work, thin=on_host, earlier=earlier)
        added = sum((work / "root" / path[1:]).stat().st_size for path in placed)
        digest = derived_digest(base.id, config, env, placed, shown)
        tree = HOST if below is None else tree_of(below)
        entry = Entry(
            id=_id_of(digest),
            name=reference.familiar,
            source=f"define {source}",
            digest=digest,
            size_bytes=base.size_bytes + added,
            created_at=datetime.now(UTC),
            env=env,
            config=config,
            root=HOST if on_host else "" if files else tree,
            files=on_host and bool(files),
            trees=shown,
        )
        self._publish(work / "root" if files else None, entry)
        return entry

    async def _install(
        self, archive: Path, reference: Reference | None, source: str, work: Path, overrides: Overrides = NOTHING
    ) -> Image:
        """Publish what an archive holds; without a name it is called after its content."""
        try:
            overrides.check()
            content = await unpack_archive(archive, work, self.limits, this_platform())
            config, env = overrides.apply(content.config, content.env)
            digest = derived_digest(content.digest, config, env, {}) if overrides else content.digest
            entry = Entry(
                id=_id_of(digest),
                name=(reference or parse_reference(f"archive/{_id_of(digest)}")).familiar,
                source=source,
                digest=digest,
                size_bytes=content.size_bytes,
                created_at=datetime.now(UTC),
                env=env,
                config=config,
            )
            await asyncio.to_thread(self._publish, work / "root", entry)
        finally:
            await asyncio.to_thread(remove_tree, work)
        named = parse_reference(entry.name)
        self._name(entry.id, [named.canonical])
        # The same content may be here under an earlier name; whoever asked knows this one.
        return replace(_image(self._index.entry(entry.id)), name=named.familiar)

    def _publish(self, root: Path | None, entry: Entry) -> None:
        """Put a finished tree in its place, durably, and enter its image; None for one that shares a tree."""
        if root is not None:
            flush(root)
        with self._index.change() as table:
            if entry.id in table.images:
                return
            if root is not None:
                target = self._roots / entry.id
                if target.exists():
                    target.rename(root.parent / "stray")
                root.rename(target)
            elif not self._trees.present(entry):
                raise NotFound("the image it stands on has just been removed")
            table.images[entry.id] = entry

    def _name(self, image_id: str, names: Sequence[str], *, public: bool = True) -> None:
        """Let names stand for an image; whatever they stood for before keeps its other names."""
        with self._index.change() as table:
            if public and table.images[image_id].private:
                table.images[image_id] = msgspec.structs.replace(table.images[image_id], private=False)
            for name in names:
                table.names[name] = image_id

    def _recover(self) -> None:
        """Remove what a crash left: half-made trees, trees never entered in the index, old shapes of `host`."""
        sweep(self._incoming)
        with self._index.change() as table:
            for image_id in [known for known, entry in table.images.items() if not self._trees.present(entry)]:
                del table.images[image_id]
                table.names = {name: target for name, target in table.names.items() if target != image_id}
            for path in self._trees.unused(table.images.values()):
                remove_tree(path)


def _id_of(digest: str) -> str:
    return f"img-{digest.removeprefix('sha256:')[:20]}"


def _nameable(name: str) -> Reference:
    reference = parse_reference(name)
    if name == HOST or reference.digest:
        raise Invalid(f"an image cannot be named {name!r}")
    return reference


def _familiar(table: Table, entry: Entry) -> Sequence[str]:
    """The names that people gave an image, which digests are not; one that has none is called after its origin."""
    given = [parse_reference(name).familiar for name in table.names_of(entry.id) if "@" not in name]
    return given or [entry.name]


def _image(entry: Entry) -> Image:
    return Image(
        id=entry.id,
        name=entry.name,
        source=entry.source,
        size_bytes=entry.size_bytes,
        created_at=entry.created_at,
        env=with_default_path(entry.env),
    )


def _drop_dangling_aliases(table: Table) -> None:
    while dangling := [name for name in table.aliases if table.resolve(name) is None]:
        for name in dangling:
            del table.aliases[name]
