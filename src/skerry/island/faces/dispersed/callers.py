"""Who asks: the key a request was signed with, and the network's words for the account behind it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Preset = Literal["CONSUMER", "COMPUTE_NODE"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """An account of the engine in the network's words; moments are microseconds since 1970.

    Args:
        account_id: the engine's own id, never sent.
        uuid: the account's on the wire.
        name: as the engine has it.
        email: None unless somebody gave one.
        render_user_id: the identity outside the network.
        consumer_profile_uuid: the billing profile.
    """

    account_id: str
    uuid: str
    name: str
    email: str | None
    render_user_id: str
    consumer_profile_uuid: str
    created_at: int
    updated_at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKey:
    """What of a key pair does not change while it lives.

    Args:
        uuid: of the pair.
        profile: whose it is.
        public_key: its public half.
        preset: what it may do.
        node_uuid: the node it speaks for; None for consumers.
        allowed_ips: addresses or blocks it may be used from; empty for any.
        expires_at: microseconds since 1970, None for never.
    """

    uuid: str
    profile: Profile
    public_key: str
    preset: str
    node_uuid: str | None
    allowed_ips: tuple[str, ...]
    expires_at: int | None
