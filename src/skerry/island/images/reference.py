"""Image names as Docker writes them: `registry/repository:tag@digest`, with its defaults filled in."""

from __future__ import annotations

import re
from dataclasses import dataclass

from skerry.island.engine.errors import Invalid

DEFAULT_REGISTRY = "docker.io"
DEFAULT_TAG = "latest"

_HOST = re.compile(
    r"(?:[a-z0-9](?:[a-z0-9-]*[a-z0-9])?\.)*[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?::[0-9]{1,5})?", re.IGNORECASE
)
_HOST6 = re.compile(r"\[[0-9a-f:.]+\](?::[0-9]{1,5})?", re.IGNORECASE)
_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_REPOSITORY = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_LONGEST = 255


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """A complete image name.

    Args:
        registry: host and optional port; `docker.io` when the name had none.
        repository: path within the registry; official images have `library/` in front.
        tag: `latest` when the name had neither tag nor digest; None when only a digest was given.
        digest: `sha256:` and 64 hexadecimal digits, or None.
    """

    registry: str
    repository: str
    tag: str | None
    digest: str | None = None

    @property
    def selector(self) -> str:
        """What the registry is asked for: the digest where there is one, else the tag."""
        return self.digest or self.tag or DEFAULT_TAG

    @property
    def canonical(self) -> str:
        """The one spelling used as a key: everything explicit, the digest winning over the tag."""
        mark = f"@{self.digest}" if self.digest else f":{self.tag or DEFAULT_TAG}"
        return f"{self.registry}/{self.repository}{mark}"

    @property
    def familiar(self) -> str:
        """The spelling people use: without the default registry and `library/`."""
        name = f"{self.registry}/{self.repository}"
        if self.registry == DEFAULT_REGISTRY:
            name = self.repository.removeprefix("library/") if self.repository.count("/") == 1 else self.repository
        return f"{name}@{self.digest}" if self.digest else f"{name}:{self.tag or DEFAULT_TAG}"

    def with_digest(self, digest: str) -> Reference:
        """The same repository, pinned."""
        return Reference(registry=self.registry, repository=self.repository, tag=None, digest=digest)


def parse_reference(text: str) -> Reference:
    """Read an image name.

    The first component is a registry when it holds a dot or a colon or is `localhost`, as Docker decides it.

    Raises:
        Invalid: not an image name.

    Example:
        >>> parse_reference("ubuntu").canonical
        'docker.io/library/ubuntu:latest'
        >>> parse_reference("localhost:5000/team/tool:1").registry
        'localhost:5000'
    """
    name, at, digest = text.partition("@")
    if at and not _DIGEST.fullmatch(digest):
        raise Invalid(f"{text!r}: a digest is sha256: and 64 lower-case hexadecimal digits")
    first, slash, rest = name.partition("/")
    registry = DEFAULT_REGISTRY
    if slash and ("." in first or ":" in first or first.lower() == "localhost"):
        if not (_HOST.fullmatch(first) or _HOST6.fullmatch(first)):
            raise Invalid(f"{text!r}: {first!r} is not a registry host")
        registry, name = first.lower(), rest
    tag: str | None = None
    repository, colon, given = name.partition(":")
    if colon:
        if not _TAG.fullmatch(given):
            raise Invalid(f"{text!r}: {given!r} is not a tag")
        tag = given
    if not _REPOSITORY.fullmatch(repository):
        raise Invalid(f"{text!r} is not an image name; write name, name:tag or registry/name:tag, in lower case")
    if registry in ("index.docker.io", "registry-1.docker.io"):
        registry = DEFAULT_REGISTRY
    if registry == DEFAULT_REGISTRY and "/" not in repository:
        repository = f"library/{repository}"
    if len(registry) + 1 + len(repository) > _LONGEST:
        raise Invalid(f"an image name is at most {_LONGEST} characters long")
    if tag is None and not digest:
        tag = DEFAULT_TAG
    return Reference(registry=registry, repository=repository, tag=tag, digest=digest or None)
