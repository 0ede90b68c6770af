"""What of a job nobody but its container may know, sealed in its row: registry secrets and the access token."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Row

from skerry.island.engine.errors import Invalid, Unreadable
from skerry.island.faces.dispersed.account.key_pairs import Sealer


@dataclass(frozen=True, slots=True, kw_only=True)
class JobSecrets:
    """Opened secrets of a job.

    Args:
        token: `CONTAINER_ACCESS_TOKEN`, the same for every run of the job.
        registry: by their places, see `docker_parameters.Secrets`.
    """

    token: str = field(repr=False)
    registry: Mapping[str, str] = field(repr=False)


def make(vault: Sealer, job_uuid: str, registry: Mapping[str, str]) -> bytes:
    """Seal a new job's secrets, with a fresh token."""
    content = {"token": secrets.token_urlsafe(24), "registry": dict(registry)}
    return vault.seal(json.dumps(content).encode(), _context(job_uuid))


def of_job(vault: Sealer, job: Row[Any]) -> JobSecrets:
    """A job's secrets, from its row.

    Raises:
        Invalid: the island has lost the key that they were sealed with.
    """
    try:
        content = json.loads(vault.open(job.secrets, _context(job.uuid)))
    except Unreadable:
        raise Invalid("This island has lost the key to this job's secrets; make the job anew") from None
    return JobSecrets(token=content["token"], registry=content["registry"])


def token_of(vault: Sealer, job: Row[Any]) -> str | None:
    """A job's access token; None when the key to it was lost, which must not hide the job."""
    try:
        return of_job(vault, job).token
    except Invalid:
        return None


def _context(job_uuid: str) -> str:
    return f"dispersed:job:{job_uuid}"
