"""The container of a job: `parameters.parameters` of section 3.2, read and checked, and its secrets kept apart."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from skerry.island.faces.dispersed.account import openssh
from skerry.island.faces.dispersed.validation import Form

MASK = "********"
SSH_PORT = 22

MOST_PORTS = 64
MOST_VOLUMES = 16
MOST_NETWORKS = 256
MOST_VARIABLES = 500
MOST_KEYS = 64
LONGEST_VARIABLE = 131_071
"""Bytes of a variable with its name: what the kernel hands to a program."""

_LONGEST_PATH = 1_024
_IMAGE = re.compile(r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*)*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_HOST = re.compile(r"(?:[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

Secrets = dict[str, str]
"""`secret` of the container and `volumes.<position>` of its volumes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Volume:
    """An image whose contents are mounted.

    Args:
        mount: absolute path in the container.
        image: repository path.
        tag: of the image.
        registry: its host, empty for the default one.
        user: who asks the registry.
    """

    mount: str
    image: str
    tag: str
    registry: str
    user: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Docker:
    """What runs; every secret is left out.

    Args:
        image: repository path, without registry and tag.
        tag: of the image.
        host: registry host, empty for the default one.
        user: who asks the registry.
        imagesrc: URL of an archive that takes the image's place, empty for none.
        sshkey: OpenSSH public key; empty for none, None for the account's default one.
        allowed_ips: blocks of addresses that may reach published ports.
        ports: inside the container, published.
        env: the caller's variables.
        volumes: in their order.
    """

    image: str
    tag: str
    host: str
    user: str
    imagesrc: str
    sshkey: str | None
    allowed_ips: tuple[str, ...]
    ports: tuple[int, ...]
    env: dict[str, str] = field(default_factory=dict)
    volumes: tuple[Volume, ...] = ()


def read(form: Form, secrets: Secrets) -> Docker:
    """Read the container's members, noting what is wrong in the form.

    Args:
        form: of `parameters.parameters`.
        secrets: takes up those that are given.
    """
    imagesrc = form.optional_text("imagesrc", most=2_048) or ""
    if imagesrc and not _is_url(imagesrc):
        hint = "must be an http or https URL of an image archive, without a user name or password, which would be shown"
        form.issue("invalid_format", hint, "imagesrc")
    secret = _secret(form)
    if secret:
        secrets["secret"] = secret
    ports = form.integers("ports", least=1, largest=65_535, most=MOST_PORTS) if form.has("ports") else [SSH_PORT]
    if len(set(ports)) != len(ports):
        form.issue("custom", "names a port twice", "ports")
    return Docker(
        image=_image(form, needed=not imagesrc),
        tag=_tag(form),
        host=_host(form, "host"),
        user=form.optional_text("user", most=256) or "",
        imagesrc=imagesrc,
        sshkey=_sshkey(form),
        allowed_ips=_networks(form),
        ports=tuple(ports),
        env=_env(form),
        volumes=_volumes(form, secrets),
    )


def public(form: Mapping[str, Any]) -> dict[str, Any]:
    """The known members of checked parameters as they are shown: as submitted, secrets masked (section 5.6)."""
    shown = {name: form[name] for name in _MEMBERS if name in form}
    if shown.get("secret"):
        shown["secret"] = MASK
    if isinstance(shown.get("volumes"), list):
        shown["volumes"] = [_public_volume(volume) for volume in shown["volumes"]]
    return shown


def with_secrets(parameters: Mapping[str, Any], secrets: Mapping[str, str]) -> dict[str, Any]:
    """Shown parameters with their secrets again; masks that stand for none are taken away."""
    full = dict(parameters)
    _fill(full, secrets.get("secret"))
    if isinstance(full.get("volumes"), list):
        volumes = [dict(volume) for volume in full["volumes"]]
        for position, volume in enumerate(volumes):
            _fill(volume, secrets.get(f"volumes.{position}"))
        full["volumes"] = volumes
    return full


def without_secrets(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Shown parameters as others may have them: neither secrets nor an SSH key (section 5.6)."""
    rest = {name: value for name, value in parameters.items() if name not in ("secret", "sshkey")}
    if isinstance(rest.get("volumes"), list):
        rest["volumes"] = [
            {name: value for name, value in volume.items() if name != "secret"} for volume in rest["volumes"]
        ]
    return rest


_MEMBERS = (
    *("image", "tag", "host", "user", "secret", "imagesrc", "sshkey", "allowed_ips", "ports", "env", "volumes"),
)
_VOLUME_MEMBERS = ("mount", "image", "tag", "registry", "user", "secret")


def _public_volume(volume: Mapping[str, Any]) -> dict[str, Any]:
    shown = {name: volume[name] for name in _VOLUME_MEMBERS if name in volume}
    if shown.get("secret"):
        shown["secret"] = MASK
    return shown


def _fill(members: dict[str, Any], secret: str | None) -> None:
    if secret is not None:
        members["secret"] = secret
    elif members.get("secret") == MASK:
        del members["secret"]


def _secret(form: Form) -> str:
    secret = form.optional_text("secret", most=16_384) or ""
    if secret == MASK:
        # A shown job that is sent again would otherwise ask the registry with asterisks.
        form.issue("invalid_value", "stands for a secret that is not shown; send the secret itself, or none", "secret")
        return ""
    return secret


def _image(form: Form, *, needed: bool) -> str:
    image = form.text("image", most=255) if needed else form.optional_text("image", most=255) or ""
    if image:
        if not _IMAGE.fullmatch(image):
            hint = "must be a repository path such as library/ubuntu, in lower case"
            hint += "; its tag belongs in `tag`, its registry in `host`"
            form.issue("invalid_format", hint, "image")
    elif needed and form.has("image") and form.members["image"] == "":
        form.issue("too_small", "must have at least 1 character", "image")
    return image


def _tag(form: Form) -> str:
    tag = form.optional_text("tag", most=255) or "latest"
    if not _TAG.fullmatch(tag):
        form.issue("invalid_format", "must be a tag: up to 128 of A-Z a-z 0-9 _ . -", "tag")
    return tag


def _host(form: Form, name: str) -> str:
    host = form.optional_text(name, most=255) or ""
    if host and not _HOST.fullmatch(host):
        form.issue("invalid_format", "must be a host name, with a port if need be", name)
    return host


def _sshkey(form: Form) -> str | None:
    text = form.optional_text("sshkey", most=openssh.LONGEST_KEY)
    if text is None:
        return None
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if len(lines) > MOST_KEYS:
        form.issue("too_big", f"must have at most {MOST_KEYS} keys", "sshkey")
    for line in lines:
        try:
            openssh.parse(line)
        except openssh.KeyRefused as error:
            form.issue("invalid_format", str(error), "sshkey")
    return "\n".join(lines)


def _networks(form: Form) -> tuple[str, ...]:
    found: list[str] = []
    for position, text in enumerate(form.texts("allowed_ips", most=MOST_NETWORKS, longest=64)):
        try:
            found.append(str(ipaddress.ip_network(text.strip(), strict=False)))
        except ValueError:
            form.issue("invalid_format", "must be a block of addresses such as 203.0.113.7/32", "allowed_ips", position)
    return tuple(found)


def _env(form: Form) -> dict[str, str]:
    found = form.mapping("env", most=MOST_VARIABLES, longest=LONGEST_VARIABLE)
    for name, value in found.items():
        if not _VARIABLE.fullmatch(name) or len(name) > 256:
            form.issue("invalid_format", "is no name of a variable: letters, digits and _, no digit first", "env", name)
        elif not is_text(value):
            form.issue("invalid_format", "contains a character that no variable can hold", "env", name)
        elif len(f"{name}={value}".encode()) > LONGEST_VARIABLE:
            form.issue("too_big", f"must have at most {LONGEST_VARIABLE} bytes with its name", "env", name)
    return found


def _volumes(form: Form, secrets: Secrets) -> tuple[Volume, ...]:
    found: list[Volume] = []
    for position, inner in enumerate(form.forms("volumes", most=MOST_VOLUMES)):
        mount = inner.text("mount", most=_LONGEST_PATH)
        if mount and not _is_mount(mount):
            inner.issue("invalid_format", "must be an absolute path below /, without . and ..", "mount")
        secret = _secret(inner)
        if secret:
            secrets[f"volumes.{position}"] = secret
        found.append(
            Volume(
                mount="/" + "/".join(part for part in mount.split("/") if part),
                image=_image(inner, needed=True),
                tag=_tag(inner),
                registry=_host(inner, "registry"),
                user=inner.optional_text("user", most=256) or "",
            )
        )
    mounts = [volume.mount for volume in found]
    if len(set(mounts)) != len(mounts):
        form.issue("custom", "names a mount twice", "volumes")
    return tuple(found)


def _is_mount(path: str) -> bool:
    parts = [part for part in path.split("/") if part]
    return path.startswith("/") and bool(parts) and not {".", ".."} & set(parts) and is_text(path)


def _is_url(text: str) -> bool:
    try:
        parts = urlsplit(text)
        plain = bool(parts.hostname) and parts.username is None and parts.port != 0
        return parts.scheme in ("http", "https") and plain and text.isascii() and text.isprintable() and " " not in text
    except ValueError:
        return False


def is_text(value: str) -> bool:
    """Whether a text can be handed to a program: no NUL, no half of a surrogate pair."""
    return "\x00" not in value and not any("\ud800" <= character <= "\udfff" for character in value)
