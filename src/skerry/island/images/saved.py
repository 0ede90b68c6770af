"""Images in archives: OCI layouts, what `docker save` writes, and plain roots as `docker export` writes them.

An archive is unpacked as a plain root first; when that turns out to hold layers, these are applied to a second root.
Everything in it is checked against the digests by which it is referred to.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import stat
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec

from skerry.island.engine.errors import Invalid, TooLarge, Unsupported
from skerry.island.images import manifest as oci
from skerry.island.images.index import ImageConfig
from skerry.island.images.pull import Limits, in_thread
from skerry.island.images.rootfs import complete
from skerry.island.images.tree import Tree
from skerry.island.images.unpack import Unpacker
from skerry.units import MIB

_LARGEST_DOCUMENT = 8 * MIB
_MOST_LAYERS = 512
_MOST_LINKS = 8
_DEEPEST_INDEX = 4
_PIECE = MIB
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_CONFIG_NAME = re.compile(r"(?:blobs/sha256/)?([0-9a-f]{64})(?:\.json)?")
# What tells the root of a system from a directory of layers.
_SYSTEM = {"usr", "bin", "etc"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """What an archive held.

    Args:
        digest: of the manifest, of the configuration, or of the decompressed archive of a plain root.
        size_bytes: of its files.
        env, config: as its configuration says; empty for a plain root.
    """

    digest: str
    size_bytes: int
    env: dict[str, str]
    config: ImageConfig


class _Saved(msgspec.Struct, frozen=True, rename="pascal"):
    config: str = ""
    layers: tuple[str, ...] = ()


async def unpack_archive(file: Path, work: Path, limits: Limits, platform: oci.Platform) -> Content:
    """Make the root that an archive holds in `work/root`.

    Args:
        file: the archive, plain or compressed.
        work: private directory.
        limits: ceilings, also of what is unpacked on the way.
        platform: which image of several to take.

    Raises:
        EngineError: damaged, hostile, too large, made for another platform, or no root file system.
    """
    stop = threading.Event()
    return await in_thread(lambda archive: _unpack(archive, work, limits, platform, stop), file, stop)


def _unpack(file: Path, work: Path, limits: Limits, platform: oci.Platform, stop: threading.Event) -> Content:
    root = work / "root"
    with _unpacker(root, limits, stop) as unpacker:
        digest = unpacker.apply(file)
    names = {path.name for path in root.iterdir()}
    if not names:
        raise Invalid("this archive is empty")
    if names & _SYSTEM or not names & {"manifest.json", "oci-layout"}:
        complete(root)
        return Content(digest=digest, size_bytes=unpacker.bytes, env={}, config=ImageConfig())
    saved = root.rename(work / "saved")
    with closing(_Files(saved)) as files:
        if {"oci-layout", "index.json"} <= names:
            digest, config_text, layers = _from_layout(files, platform)
        else:
            digest, config_text, layers = _from_docker(files)
        configuration = oci.decode(config_text, oci.Configuration)
        if len(configuration.rootfs.diff_ids) != len(layers):
            raise Invalid("the image's configuration and the archive disagree on its layers")
        if len(layers) > _MOST_LAYERS:
            raise TooLarge(f"the image has more than {_MOST_LAYERS} layers")
        with _unpacker(root, limits, stop) as unpacker:
            for name, expected in zip(layers, configuration.rootfs.diff_ids, strict=True):
                with files.open(name) as descriptor:
                    if unpacker.apply(Path(f"/proc/self/fd/{descriptor}")) != expected:
                        raise Invalid(f"layer {name} unpacks to something else than the image says")
    complete(root)
    return Content(digest=digest, size_bytes=unpacker.bytes, env=configuration.env, config=configuration.image_config)


@contextmanager
def _unpacker(root: Path, limits: Limits, stop: threading.Event) -> Iterator[Unpacker]:
    root.mkdir()
    root.chmod(0o755)
    unpacker = Unpacker(root, max_bytes=limits.max_bytes, max_entries=limits.max_entries, stopped=stop.is_set)
    with closing(unpacker):
        yield unpacker


def _from_layout(files: _Files, platform: oci.Platform) -> tuple[str, bytes, list[str]]:
    """Digest of the manifest, configuration and layer files of an OCI layout."""
    content = files.read("index.json")
    for _ in range(_DEEPEST_INDEX):
        found = oci.decode(content, oci.Manifest)
        if found.manifests is None:
            raise Invalid("the archive's index names no image")
        chosen = found.manifests[0] if len(found.manifests) == 1 else oci.choose(found.manifests, platform)
        content = files.blob(chosen)
        found = oci.decode(content, oci.Manifest)
        if found.manifests is None:
            break
    if found.config is None or found.layers is None:
        raise Unsupported("what the archive holds is no image")
    for layer in found.layers:
        oci.check_layer(layer)
        files.check(layer)
    return chosen.digest, files.blob(found.config), [_blob_name(layer.digest) for layer in found.layers]


def _from_docker(files: _Files) -> tuple[str, bytes, list[str]]:
    """Digest of the configuration, configuration and layer files of what `docker save` wrote."""
    try:
        images = msgspec.json.decode(files.read("manifest.json"), type=list[_Saved])
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise Invalid(f"the archive's manifest.json is malformed: {error}") from None
    if len(images) != 1:
        raise Invalid(f"the archive holds {len(images)} images; save exactly one")
    name = images[0].config
    content = files.read(name)
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    stated = _CONFIG_NAME.fullmatch(name)
    if stated is not None:
        oci.check_digest(content, f"sha256:{stated[1]}", "the image's configuration")
    return digest, content, list(images[0].layers)


def _blob_name(digest: str) -> str:
    if not _DIGEST.fullmatch(digest):
        raise Invalid(f"the image uses an unknown kind of digest: {digest[:80]!r}")
    return "blobs/" + digest.replace(":", "/")


class _Files:
    """Files of an unpacked archive, whose links may lead anywhere but are followed inside only."""

    def __init__(self, root: Path) -> None:
        self._tree = Tree(root)

    def close(self) -> None:
        self._tree.close()

    @contextmanager
    def open(self, name: str) -> Iterator[int]:
        """A regular file, opened for reading. Raises Invalid when it is missing or none."""
        descriptor = self._open(tuple(name.split("/")), name)
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise Invalid(f"{name!r} in the archive is no file")
            yield descriptor
        finally:
            os.close(descriptor)

    def read(self, name: str) -> bytes:
        """A small file's content."""
        with self.open(name) as descriptor:
            if os.fstat(descriptor).st_size > _LARGEST_DOCUMENT:
                raise TooLarge(f"{name!r} in the archive is absurdly large")
            return os.pread(descriptor, _LARGEST_DOCUMENT, 0)

    def blob(self, descriptor: oci.Descriptor) -> bytes:
        """A small blob's content, checked."""
        content = self.read(_blob_name(descriptor.digest))
        oci.check_digest(content, descriptor.digest, f"blob {descriptor.digest}")
        return content

    def check(self, descriptor: oci.Descriptor) -> None:
        """Compare a large blob with its digest and size. Raises Invalid."""
        hasher, count = hashlib.sha256(), 0
        with self.open(_blob_name(descriptor.digest)) as opened:
            while piece := os.pread(opened, _PIECE, count):
                hasher.update(piece)
                count += len(piece)
        if count != descriptor.size or f"sha256:{hasher.hexdigest()}" != descriptor.digest:
            raise Invalid(f"layer {descriptor.digest} does not match its digest")

    def _open(self, parts: tuple[str, ...], name: str) -> int:
        for _ in range(_MOST_LINKS):
            try:
                directory, above = self._tree.directory(parts[:-1], create=False)
                return os.open(parts[-1], os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=directory)
            except OSError as error:
                if error.errno != errno.ELOOP:
                    raise Invalid(f"{name!r} is not in the archive") from None
            target = os.readlink(parts[-1], dir_fd=directory)
            inside = tuple(target.split("/"))
            parts = inside if target.startswith("/") else (*above, *inside)
        raise Invalid(f"{name!r} in the archive is a link to nowhere")
