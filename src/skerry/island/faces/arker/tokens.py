"""Signed, expiring, single-purpose tokens: the whole authority of a presigned URL (protocol section 3.7)."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from typing import Literal, TypeVar

import msgspec

_SIGNATURE_BYTES = 32
LONGEST_TOKEN = 16_384


class PutGrant(msgspec.Struct, frozen=True, kw_only=True, tag_field="p", tag="put", forbid_unknown_fields=True):
    """May PUT the bytes of one upload, of exactly that size."""

    vm: str
    upload: str
    size: int
    expires: int


class GetGrant(msgspec.Struct, frozen=True, kw_only=True, tag_field="p", tag="get", forbid_unknown_fields=True):
    """May GET one file of one VM."""

    account: str
    vm: str
    path: str
    expires: int


class TunnelGrant(msgspec.Struct, frozen=True, kw_only=True, tag_field="p", tag="tunnel", forbid_unknown_fields=True):
    """May pass one private tunnel."""

    vm: str
    port: int
    expires: int


Grant = PutGrant | GetGrant | TunnelGrant
G = TypeVar("G", PutGrant, GetGrant, TunnelGrant)
Refusal = Literal["malformed", "expired"]


class TokenRefused(Exception):
    """The token grants nothing: forged, mangled, for another purpose, or expired."""

    def __init__(self, reason: Refusal) -> None:
        super().__init__(reason)
        self.reason: Refusal = reason


class TokenSigner:
    """Signs grants with HMAC-SHA256 and opens them again.

    Args:
        key: at least 32 secret bytes.
    """

    def __init__(self, key: bytes) -> None:
        if len(key) < 32:
            raise ValueError("a signing key has at least 32 bytes")
        self._key = key

    def sign(self, grant: Grant) -> str:
        """The grant as URL-safe text."""
        payload = msgspec.json.encode(grant)
        mac = hmac.digest(self._key, payload, hashlib.sha256)
        return base64.urlsafe_b64encode(mac + payload).rstrip(b"=").decode("ascii")

    def open(self, token: str, kind: type[G], now: float) -> G:
        """The grant inside a token.

        Args:
            token: as signed.
            kind: the only purpose accepted.
            now: Unix seconds.

        Raises:
            TokenRefused: it grants nothing, or nothing of this kind.
        """
        if len(token) > LONGEST_TOKEN:
            raise TokenRefused("malformed")
        try:
            raw = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
        except (binascii.Error, ValueError):
            raise TokenRefused("malformed") from None
        mac, payload = raw[:_SIGNATURE_BYTES], raw[_SIGNATURE_BYTES:]
        if not hmac.compare_digest(mac, hmac.digest(self._key, payload, hashlib.sha256)):
            raise TokenRefused("malformed")
        try:
            grant = msgspec.json.decode(payload, type=kind)
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise TokenRefused("malformed") from None
        if grant.expires <= now:
            raise TokenRefused("expired")
        return grant
