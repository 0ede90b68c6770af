"""OpenSSH public keys, read strictly: one line, a known type, and a blob that is exactly of that type (section 3.7)."""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Callable
from dataclasses import dataclass

LONGEST_KEY = 16_384
LEAST_RSA_BITS = 2048
MOST_RSA_BITS = 16_384

_POINTS = {"nistp256": 65, "nistp384": 97, "nistp521": 133}


class KeyRefused(ValueError):
    """A text that is no acceptable public key; the message says why."""


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A key that was read.

    Args:
        kind: its type, such as `ssh-ed25519`.
        blob: what the base64 holds.
        comment: what stood behind it, empty for nothing.
    """

    kind: str
    blob: bytes
    comment: str

    @property
    def text(self) -> str:
        """The line, with single blanks."""
        return " ".join(part for part in (self.kind, base64.b64encode(self.blob).decode(), self.comment) if part)

    @property
    def fingerprint(self) -> str:
        """`SHA256:` and the unpadded base64 of the blob's SHA-256, as `ssh-keygen -l` shows it."""
        return "SHA256:" + base64.b64encode(hashlib.sha256(self.blob).digest()).decode().rstrip("=")


def parse(text: str) -> PublicKey:
    """A public key from its line in an `authorized_keys` or `.pub` file; options before it are not accepted.

    Args:
        text: type, base64 and perhaps a comment; blanks and line ends around it do not count.

    Raises:
        KeyRefused: it is none, of a type that is not accepted, or an RSA key of less than 2048 bits.
    """
    line = text.strip()
    if len(line) > LONGEST_KEY:
        raise KeyRefused(f"must have at most {LONGEST_KEY} characters")
    if not line.isprintable():
        raise KeyRefused("must be one line of an OpenSSH public key file")
    kind, _, rest = line.partition(" ")
    encoded, _, comment = rest.strip().partition(" ")
    check = _KINDS.get(kind)
    if check is None:
        raise KeyRefused(f"must begin with one of {', '.join(_KINDS)}")
    try:
        blob = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        raise KeyRefused("must have valid base64 behind its type") from None
    if base64.b64encode(blob).decode() != encoded:
        raise KeyRefused("must have valid base64 behind its type")
    reader = _Reader(blob)
    if reader.string() != kind.encode():
        raise KeyRefused("holds a key of another type than it says")
    check(reader)
    reader.end()
    return PublicKey(kind, blob, comment.strip())


class _Reader:
    """The fields of a blob (RFC 4251, section 5)."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def string(self) -> bytes:
        length = int.from_bytes(self._take(4), "big")
        return self._take(length)

    def positive(self) -> int:
        raw = self.string()
        needless = len(raw) > 1 and raw[0] == 0 and raw[1] < 0x80
        if not raw or raw[0] >= 0x80 or needless:
            raise KeyRefused("holds a number that is not written as it must be")
        return int.from_bytes(raw, "big")

    def end(self) -> None:
        if self._at != len(self._data):
            raise KeyRefused("holds more than a key of its type")

    def _take(self, count: int) -> bytes:
        if len(self._data) - self._at < count:
            raise KeyRefused("is cut short")
        taken = self._data[self._at : self._at + count]
        self._at += count
        return taken


def _rsa(reader: _Reader) -> None:
    exponent, modulus = reader.positive(), reader.positive()
    if exponent < 3 or exponent % 2 == 0 or modulus % 2 == 0:
        raise KeyRefused("is no RSA key")
    if modulus.bit_length() < LEAST_RSA_BITS:
        raise KeyRefused(f"is an RSA key of {modulus.bit_length()} bits; at least {LEAST_RSA_BITS} are needed")
    if modulus.bit_length() > MOST_RSA_BITS or exponent.bit_length() > 64:
        raise KeyRefused(f"is an RSA key that is too large; at most {MOST_RSA_BITS} bits are taken")


def _ed25519(reader: _Reader) -> None:
    if len(reader.string()) != 32:
        raise KeyRefused("is no Ed25519 key")


def _ecdsa(curve: str) -> Callable[[_Reader], None]:
    def check(reader: _Reader) -> None:
        if reader.string() != curve.encode():
            raise KeyRefused("holds a key of another curve than it says")
        point = reader.string()
        if len(point) != _POINTS[curve] or point[0] != 4:
            raise KeyRefused("holds a point that is not written as it must be")

    return check


def _hardware(check: Callable[[_Reader], None]) -> Callable[[_Reader], None]:
    def both(reader: _Reader) -> None:
        check(reader)
        if not reader.string():
            raise KeyRefused("names no application")

    return both


_KINDS: dict[str, Callable[[_Reader], None]] = {
    "ssh-ed25519": _ed25519,
    "ssh-rsa": _rsa,
    **{f"ecdsa-sha2-{curve}": _ecdsa(curve) for curve in _POINTS},
    "sk-ssh-ed25519@openssh.com": _hardware(_ed25519),
    "sk-ecdsa-sha2-nistp256@openssh.com": _hardware(_ecdsa("nistp256")),
}
