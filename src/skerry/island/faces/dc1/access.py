"""Who may use a route, where it looks for keys, and what it tells others: not the same everywhere (section 2.2)."""

from __future__ import annotations

from dataclasses import dataclass, replace

Refusal = tuple[int, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """What one group of routes does about keys.

    Args:
        role: `renter`, `provider`, `admin`, or `anybody`: whoever it is, the handler decides.
        missing: without a key.
        unknown: with a key that nobody has, or whose owner may not use it.
        query: parameters in which a key is looked for.
        query_first: before the header.
        bearer: whether `Authorization: Bearer` counts as the key's header.
        body: whether `api_key` (or `key`) in the body counts, before everything else.
        scopes: keys beside the master key are taken when they have one of these; None takes master keys only.
        unscoped: what a key without those scopes is told.
    """

    role: str
    missing: Refusal = (403, "Forbidden")
    unknown: Refusal = (403, "Forbidden")
    query: tuple[str, ...] = ()
    query_first: bool = False
    bearer: bool = False
    body: bool = False
    scopes: frozenset[str] | None = None
    unscoped: Refusal | None = None


_NO_RENTER = (403, "Invalid or inactive renter API key")
_INFERENCE = frozenset({"inference", "admin"})

ANYBODY = Access(role="anybody", query=("key", "renter_key"), bearer=True)
"""Keys are looked at, and the handler decides what comes of it."""

ACCOUNT = Access(
    role="renter",
    missing=(400, "API key required"),
    unknown=(404, "Renter not found"),
    query=("key",),
    query_first=True,
)
TOPUP = Access(
    role="renter",
    missing=(400, "API key required (x-renter-key header or key query)"),
    unknown=(404, "Renter not found"),
    query=("key",),
)
RENTER_JOBS = Access(
    role="renter",
    missing=(401, "Renter API key required (x-renter-key header or renter_key query)"),
    unknown=_NO_RENTER,
    query=("renter_key", "key"),
)
HISTORY = Access(role="renter", missing=(401, "Renter API key required"), unknown=(401, "Invalid renter key"))
BEARER = Access(
    role="renter",
    missing=(401, "Renter API key required"),
    unknown=(401, "Invalid renter key"),
    query=("key",),
    bearer=True,
    scopes=frozenset({"jobs.read", "admin"}),
    unscoped=(403, "API key does not have jobs.read permission"),
)
OWN = Access(
    role="renter",
    missing=(401, "Renter API key required"),
    unknown=(401, "Invalid renter key"),
    query=("key",),
    bearer=True,
)
"""Routes below a renter's own number."""

OWN_MONEY = replace(
    OWN,
    scopes=frozenset({"balance.read", "billing", "admin"}),
    unscoped=(403, "API key does not have balance.read permission"),
)
OPENAI = Access(
    role="renter",
    missing=(401, "Renter API key required (?key= or x-renter-key)"),
    unknown=_NO_RENTER,
    query=("key",),
    bearer=True,
    scopes=_INFERENCE,
    unscoped=(403, "API key does not have inference scope"),
)
_UNKNOWN_KEY = (401, "Invalid API key")
PROVIDER_ACCOUNT = Access(
    role="provider", missing=(400, "API key required"), unknown=(404, "Provider not found"), query=("key",), bearer=True
)
PROVIDER = Access(
    role="provider",
    missing=(400, "API key required"),
    unknown=_UNKNOWN_KEY,
    query=("key",),
    bearer=True,
    body=True,
)
ADMIN = Access(role="admin", missing=(401, "Admin access denied"), unknown=(401, "Admin access denied"))

HEARTBEAT = replace(PROVIDER, missing=(400, "api_key required"))
PROGRESS = replace(PROVIDER, missing=(400, "api_key and phase required"))
REPORT = replace(PROVIDER, missing=(400, "api_key and job_id required"))
POLL = Access(
    role="provider", missing=(400, "API key required"), unknown=_UNKNOWN_KEY, query=("key",), query_first=True
)
"""The key is a segment of the path, which counts as a parameter."""

_PAYOUTS = frozenset({"payouts"})

PROVIDER_BY_ID = replace(PROVIDER, missing=(401, "API key required"), scopes=_PAYOUTS)
"""Routes below `/api/providers/<its number>`."""

EARNINGS = replace(PROVIDER, scopes=_PAYOUTS)
"""A provider's money, for which it makes keys of their own."""

SETTLER = Access(role="anybody", query=("key",), bearer=True, body=True)
"""The provider of a job, with its key in the body too, or the operator: the handler decides."""
