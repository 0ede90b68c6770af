"""Whether a job's task spec is the one that the platform signed (protocol section 2.4). Pure functions."""

from __future__ import annotations

from skerry.island.provider.records import ProviderJob
from skerry.networks.dc1.signing import verify_task_spec


def refusal(job: ProviderJob, secret: str | None) -> str | None:
    """Why a job's task spec cannot be trusted; None where it can, and where no secret is known to tell by.

    Example:
        >>> job = ProviderJob(id=1, job_id="job-1", job_type="benchmark", task_spec_raw="{}")
        >>> refusal(job, None) is None, refusal(job, "secret")
        (True, 'The task spec of this job is not signed')
    """
    if secret is None:
        return None
    if not job.task_spec_hmac:
        return "The task spec of this job is not signed"
    if not verify_task_spec(secret, job.task_spec_raw, job.task_spec_hmac):
        return "The signature of this job's task spec is wrong"
    return None
