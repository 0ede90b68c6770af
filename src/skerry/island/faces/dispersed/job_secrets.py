"""What of a job nobody but its container may know, sealed in its row: registry secrets and the access token."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Row

from skerry.island.faces.dispersed.key_pairs import Sealer


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
        Unreadable: the vault's key is not the one they were sealed with.
    """
    content = json.loads(vault.open(job.secrets, _context(job.uuid)))
    return JobSecrets(token=content["token"], registry=content["registry"])


def _context(job_uuid: str) -> str:
    return f"dispersed:job:{job_uuid}"
