"""Who may see a job, and who may decide about it (sections 2.2 and 5.8)."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Row

from skerry.island.faces.dc1.authentication import Authentication
from skerry.island.faces.dc1.call import Call, Caller
from skerry.island.faces.dc1.errors import Fault
from skerry.island.faces.dc1.jobs import job_rows
from skerry.island.faces.dc1.jobs.claiming import SERVING

FORBIDDEN = (403, "Forbidden")


def readable(connection: Connection, caller: Caller, ident: str) -> Row[Any]:
    """A job that its renter, its provider or the operator asks for.

    Args:
        ident: its number or its name.

    Raises:
        Fault: 404 for an unknown job, whoever asks; 403 for somebody else's.
    """
    job = known(connection, ident)
    if not (owns(caller, job) or carries(caller, job) or caller.admin):
        raise Fault(*FORBIDDEN)
    return job


def length(connection: Connection, caller: Caller, ident: str) -> int:
    """Characters of the result of a job that may be read, which is not read for this; 0 without one.

    Raises:
        Fault: as `readable`.
    """
    job = job_rows.measured(connection, ident)
    if job is None:
        raise Fault(404, "Job not found")
    if not (owns(caller, job) or carries(caller, job) or caller.admin):
        raise Fault(*FORBIDDEN)
    return int(job.length or 0)


def owned(connection: Connection, caller: Caller, ident: str) -> Row[Any]:
    """The same for its renter and the operator alone."""
    job = known(connection, ident)
    if not (owns(caller, job) or caller.admin):
        raise Fault(*FORBIDDEN)
    return job


def known(connection: Connection, ident: str) -> Row[Any]:
    """A job, whosever it is.

    Raises:
        Fault: 404.
    """
    job = job_rows.find(connection, ident)
    if job is None:
        raise Fault(404, "Job not found")
    return job


def owns(caller: Caller, job: Row[Any]) -> bool:
    """Whether a renter asks for a job of its own."""
    return caller.renter is not None and job.renter_id == caller.renter.id


def carries(caller: Caller, job: Row[Any]) -> bool:
    """Whether a provider asks for a job that it was given."""
    return caller.provider is not None and job.provider_id == caller.provider.id


def name_for(caller: Caller, job: Row[Any]) -> str:
    """What a list that everybody may ask for calls a job.

    The name of a serving job opens what it serves, without any key; strangers are told its number.
    """
    if job.job_type != SERVING or owns(caller, job) or carries(caller, job) or caller.admin:
        return str(job.job_id)
    return str(job.id)


async def with_body_key(authentication: Authentication, call: Call) -> Caller:
    """Who asks, where daemons have their key in the body."""
    key = call.json.get("api_key") if isinstance(call.json, dict) else None
    if not isinstance(key, str) or call.caller.provider is not None or call.caller.renter is not None:
        return call.caller
    found = await authentication.provider_of(key.strip())
    if found.provider is None:
        found = await authentication.renter_of(key.strip())
    return Caller(renter=found.renter, provider=found.provider, admin=call.caller.admin, key_id=found.key_id)
