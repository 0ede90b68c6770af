"""The signatures of DC1, all HMAC-SHA256 in lower-case hex over bytes exactly as sent (section 2.4). Pure functions."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from typing import Any

import msgspec

HEARTBEAT_HEADER = "x-dc1-signature"
WEBHOOK_HEADER = "x-dcp-signature"
TIMESTAMP_HEADER = "x-dcp-timestamp"
TOLERANCE = 300
"""Seconds that the time of a provider event may be off."""

_PREFIX = "sha256="


def _hex(key: str, message: bytes | str) -> str:
    text = message.encode() if isinstance(message, str) else message
    return hmac.new(key.encode(), text, hashlib.sha256).hexdigest()


def sign_task_spec(secret: str, task_spec: str) -> str:
    """The HMAC of a task spec's stored text, as `task_spec_hmac` has it; the key is the platform's secret."""
    return _hex(secret, task_spec)


def verify_task_spec(secret: str, task_spec: str, signature: str) -> bool:
    """Whether a task spec's HMAC is the right one, told in constant time."""
    return _same(sign_task_spec(secret, task_spec), signature)


def sign_heartbeat(secret: str, body: bytes | str) -> str:
    """The value of `X-DC1-Signature` for a heartbeat with this body; the key is the platform's secret."""
    return _PREFIX + _hex(secret, body)


def sign_provider_event(provider_key: str, body: bytes | str) -> str:
    """The value of `X-DCP-Signature` for a provider event with this body; the key is the provider's API key."""
    return _PREFIX + _hex(provider_key, body)


def sign_callback(key: str, body: bytes | str) -> str:
    """The bare hex `X-DCP-Signature` of a job callback; the key is the renter's, or the server's webhook secret."""
    return _hex(key, body)


def verify_callback(key: str, body: bytes | str, signature: str) -> bool:
    """Whether a callback came from who knows the key. Servers send the signature with and without `sha256=`.

    Args:
        key: the webhook's secret, else the renter's API key.
        body: the raw body as received.
        signature: the `X-DCP-Signature` header.
    """
    return _same(_hex(key, body), signature.strip().removeprefix(_PREFIX))


def settlement_hash(invoice: Mapping[str, Any]) -> str:
    """The SHA-256 by which an invoice can be checked; nothing is secret in it.

    Args:
        invoice: anything with `job_id`, `renter_id`, `provider_id`, `gross_halala`, `platform_fee_halala` and
            `timestamp`; further members are ignored.

    Raises:
        KeyError: one of them is missing.
    """
    names = ("job_id", "renter_id", "provider_id", "gross_halala", "platform_fee_halala", "timestamp")
    text = msgspec.json.encode({name: invoice[name] for name in names})
    return hashlib.sha256(text).hexdigest()


def task_spec_text(task_spec: Any) -> str:
    """A task spec as it is stored and signed: text stays, JSON becomes compact text with nothing escaped.

    Example:
        >>> task_spec_text({"image_override": "x", "script": "print('مرحبا')"})
        '{"image_override":"x","script":"print(\\'مرحبا\\')"}'
    """
    return task_spec if isinstance(task_spec, str) else msgspec.json.encode(task_spec).decode()


def _same(expected: str, given: str) -> bool:
    return hmac.compare_digest(expected.encode(), given.strip().lower().encode("utf-8", "replace"))
