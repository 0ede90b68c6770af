"""What registries describe images with: indexes, manifests and configurations, OCI's and Docker's."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import msgspec

from skerry.island.engine.errors import Invalid, NotFound, Unsupported
from skerry.island.images.index import ImageConfig

INDEX_TYPES = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
)
MANIFEST_TYPES = (
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)
_LAYER_TYPES = tuple(
    f"{base}{compression}"
    for base, separator in (
        ("application/vnd.oci.image.layer.v1.tar", "+"),
        ("application/vnd.docker.image.rootfs.diff.tar", "."),
    )
    for compression in ("", f"{separator}gzip", "+zstd", ".zstd")
)
_MACHINES = {
    "x86_64": ("amd64", ()),
    "aarch64": ("arm64", ("v8", "")),
    "armv7l": ("arm", ("v7", "v6", "v5")),
    "armv6l": ("arm", ("v6", "v5")),
    "ppc64le": ("ppc64le", ()),
    "riscv64": ("riscv64", ()),
    "s390x": ("s390x", ()),
}


class PlatformRecord(msgspec.Struct, frozen=True):
    """For which machines an entry of an index is."""

    architecture: str = ""
    os: str = ""
    variant: str = ""


class Descriptor(msgspec.Struct, frozen=True):
    """A pointer to content: its type, digest and size."""

    digest: str
    size: int
    mediaType: str = ""
    platform: PlatformRecord | None = None


class Manifest(msgspec.Struct, frozen=True):
    """An image for one platform, or an index of such; `mediaType` may be missing in OCI documents."""

    schemaVersion: int = 2
    mediaType: str = ""
    config: Descriptor | None = None
    layers: tuple[Descriptor, ...] | None = None
    manifests: tuple[Descriptor, ...] | None = None


class _RunConfig(msgspec.Struct, frozen=True, rename="pascal"):
    env: tuple[str, ...] | None = None
    entrypoint: tuple[str, ...] | None = None
    cmd: tuple[str, ...] | None = None
    working_dir: str | None = None
    user: str | None = None
    labels: dict[str, str] | None = None


class _RootFs(msgspec.Struct, frozen=True):
    diff_ids: tuple[str, ...] = ()


class Configuration(msgspec.Struct, frozen=True):
    """The image's own configuration blob, the part of it that matters here."""

    config: _RunConfig | None = None
    rootfs: _RootFs = _RootFs()

    @property
    def env(self) -> dict[str, str]:
        """The environment the image asks for."""
        pairs = (self.config.env if self.config else None) or ()
        return dict(pair.split("=", 1) for pair in pairs if "=" in pair)

    @property
    def image_config(self) -> ImageConfig:
        """How the image wants to be run."""
        run = self.config or _RunConfig()
        return ImageConfig(
            entrypoint=run.entrypoint or (),
            command=run.cmd or (),
            working_dir=run.working_dir or "",
            user=run.user or "",
            labels=run.labels or {},
        )


@dataclass(frozen=True, slots=True)
class Platform:
    """What an image must have been made for.

    Args:
        os: always `linux` here.
        architecture: Go's name, such as `amd64`.
        variants: acceptable variants, the best first; empty for none in particular.
    """

    os: str
    architecture: str
    variants: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.os}/{self.architecture}"


def this_platform() -> Platform:
    """The platform of this machine."""
    machine = platform.machine()
    architecture, variants = _MACHINES.get(machine, (machine, ()))
    return Platform("linux", architecture, variants)


def parse_platform(text: str) -> Platform:
    """Read `os/architecture[/variant]`.

    Raises:
        Invalid: of another form.
    """
    parts = text.split("/")
    if len(parts) not in (2, 3) or not all(parts):
        raise Invalid(f"{text!r} is not a platform; write linux/amd64 or linux/arm/v7")
    return Platform(parts[0], parts[1], tuple(parts[2:]))


def choose(manifests: Sequence[Descriptor], wanted: Platform) -> Descriptor:
    """The entry of an index for a platform.

    Raises:
        NotFound: the image was not made for it; the message says for what it was.
    """
    offered = [entry for entry in manifests if entry.platform is not None and entry.platform.os not in ("", "unknown")]
    fitting = [
        entry
        for entry in offered
        if entry.platform is not None
        and (entry.platform.os, entry.platform.architecture) == (wanted.os, wanted.architecture)
    ]
    for variant in wanted.variants:
        for entry in fitting:
            if entry.platform is not None and entry.platform.variant == variant:
                return entry
    if fitting:
        return fitting[0]
    names = sorted({f"{entry.platform.os}/{entry.platform.architecture}" for entry in offered if entry.platform})
    raise NotFound(f"the image was not made for {wanted}, only for {', '.join(names) or 'nothing that it names'}")


T = TypeVar("T", Manifest, Configuration)


def decode(content: bytes, kind: type[T]) -> T:
    """Read a manifest, index or configuration.

    Raises:
        Invalid: not JSON of that shape. Unsupported: Docker's first manifest format.
    """
    try:
        value = msgspec.json.decode(content, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise Invalid(f"the registry sent a malformed {kind.__name__.lower()}: {error}") from None
    if isinstance(value, Manifest) and value.schemaVersion == 1:
        raise Unsupported("the image is in Docker's first format, which is no longer served; ask for a newer tag")
    return value


def check_digest(content: bytes, digest: str, what: str) -> None:
    """Compare content with its digest.

    Raises:
        Invalid: it is not that content.
    """
    actual = f"sha256:{hashlib.sha256(content).hexdigest()}"
    if actual != digest:
        raise Invalid(f"{what} does not match its digest: expected {digest}, got {actual}")


def check_layer(layer: Descriptor) -> None:
    """Refuse layers that cannot be applied.

    Raises:
        Unsupported: encrypted, foreign, or no file system layer at all.
    """
    if layer.mediaType and layer.mediaType not in _LAYER_TYPES:
        raise Unsupported(f"the image has a layer of type {layer.mediaType!r}, which is no ordinary file system layer")
