"""Pulling an image: resolve the name, fetch the layers side by side, apply them in order, check every digest."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar

from skerry.island.engine.errors import Invalid, NoCapacity, TooLarge, Unsupported
from skerry.island.images import manifest as oci
from skerry.island.images.registry import Registry
from skerry.island.images.rootfs import complete
from skerry.island.images.unpack import MAX_BYTES, MAX_ENTRIES, Unpacker
from skerry.units import format_size

R = TypeVar("R")
_AT_ONCE = 3
_MOST_LAYERS = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a pull is.

    Args:
        stage: `resolve`, `download` (which overlaps with unpacking), `unpack`, `done`.
        done_bytes: compressed bytes received.
        total_bytes: compressed bytes of the image, 0 while unknown.
        layers_done: layers applied.
        layers: layers in all.
    """

    stage: Literal["resolve", "download", "unpack", "done"]
    done_bytes: int = 0
    total_bytes: int = 0
    layers_done: int = 0
    layers: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolved:
    """An image found in a registry, nothing of it fetched yet.

    Args:
        digest: of the manifest for the wanted platform.
        index_digest: of the index that led to it, the same as `digest` where there was none.
    """

    digest: str
    index_digest: str
    manifest: oci.Manifest


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Ceilings of one image: unpacked bytes (also the download's) and number of entries."""

    max_bytes: int = MAX_BYTES
    max_entries: int = MAX_ENTRIES


async def resolve(registry: Registry, selector: str, platform: oci.Platform) -> Resolved:
    """Find the manifest of a tag or digest for a platform.

    Raises:
        EngineError: it does not exist, may not be read, or was not made for the platform.
    """
    content, media_type, digest = await registry.manifest(selector)
    found = oci.decode(content, oci.Manifest)
    index_digest = digest
    if media_type in oci.INDEX_TYPES or found.manifests is not None:
        chosen = oci.choose(found.manifests or (), platform)
        content, _, digest = await registry.manifest(chosen.digest)
        found = oci.decode(content, oci.Manifest)
    if found.config is None or found.layers is None:
        raise Unsupported("what the registry has under this name is no image")
    return Resolved(digest=digest, index_digest=index_digest, manifest=found)


async def fetch(
    registry: Registry,
    resolved: Resolved,
    work: Path,
    limits: Limits,
    progress: Callable[[Progress], None],
) -> tuple[oci.Configuration, int]:
    """Make the image's root in `work/root`.

    Args:
        work: private directory; downloads lie there meanwhile.

    Returns:
        The image's configuration, and the bytes of its files.

    Raises:
        EngineError: refused, damaged, hostile or too large. Nothing outside `work` is touched.
    """
    layers = resolved.manifest.layers or ()
    if resolved.manifest.config is None:
        raise Invalid("the manifest names no configuration")
    if len(layers) > _MOST_LAYERS:
        raise TooLarge(f"the image has more than {_MOST_LAYERS} layers")
    for layer in layers:
        oci.check_layer(layer)
    total = sum(layer.size for layer in layers)
    if any(layer.size < 0 for layer in layers):
        raise Invalid("the manifest gives a layer a negative size")
    if total > limits.max_bytes:
        raise TooLarge(f"the image is {format_size(total)} compressed, more than {format_size(limits.max_bytes)}")
    configuration = oci.decode(await registry.document(resolved.manifest.config), oci.Configuration)
    expected = configuration.rootfs.diff_ids
    if len(expected) != len(layers):
        raise Invalid("the image's configuration and manifest disagree on its layers")

    received = 0
    applied = 0

    def report(stage: Literal["download", "unpack"], count: int = 0) -> None:
        nonlocal received
        received += count
        progress(Progress(stage=stage, done_bytes=received, total_bytes=total, layers_done=applied, layers=len(layers)))

    slots = asyncio.Semaphore(_AT_ONCE)

    async def download(number: int) -> Path:
        target = work / f"layer-{number}"
        async with slots:
            await registry.blob(layers[number], target, lambda count: report("download", count))
        return target

    root = work / "root"
    root.mkdir()
    root.chmod(0o755)
    stop = threading.Event()
    unpacker = Unpacker(root, max_bytes=limits.max_bytes, max_entries=limits.max_entries, stopped=stop.is_set)
    downloads = [asyncio.ensure_future(download(number)) for number in range(len(layers))]
    try:
        for number, task in enumerate(downloads):
            file = await task
            diff_id = await in_thread(unpacker.apply, file, stop)
            if diff_id != expected[number]:
                raise Invalid(f"layer {layers[number].digest} unpacks to something else than the image says")
            file.unlink()
            applied += 1
            report("unpack")
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise NoCapacity("the disk is full") from error
        raise
    finally:
        for task in downloads:
            task.cancel()
        await asyncio.gather(*downloads, return_exceptions=True)
        unpacker.close()
    complete(root)
    return configuration, unpacker.bytes


async def in_thread(apply: Callable[[Path], R], file: Path, stop: threading.Event) -> R:
    """Run `apply` in a thread; when cancelled, stop it and wait until it has let go of the tree."""
    task = asyncio.ensure_future(asyncio.to_thread(apply, file))
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        stop.set()
        # Whatever it says now, the cancellation is the answer.
        with contextlib.suppress(Exception):
            await task
        raise
