"""Submitting jobs (section 3.3)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Row

from skerry.island.faces.dc1.access import RENTER_JOBS
from skerry.island.faces.dc1.call import Answer, Call, Route
from skerry.island.faces.dc1.errors import Fault
from skerry.island.faces.dc1.jobs import job_views, replays, submission
from skerry.island.faces.dc1.jobs.changes import Changes
from skerry.island.faces.dc1.jobs.job_making import JobMaker, Made
from skerry.island.faces.dc1.jobs.submission import Submission
from skerry.island.faces.dc1.limits import SUBMIT
from skerry.island.faces.dc1.renters import renter_rows

_ROUTE = "submit"


class Submitting:
    """The way in.

    Args:
        changes: runs transactions over jobs.
        maker: makes jobs.
    """

    def __init__(self, changes: Changes, maker: JobMaker) -> None:
        self._changes = changes
        self._maker = maker

    def routes(self) -> Sequence[Route]:
        """One call."""
        path = "/api/jobs/submit"
        return [Route(method="POST", path=path, handler=self.submit, access=RENTER_JOBS, limits=(SUBMIT,))]

    async def submit(self, call: Call) -> Answer:
        """A new job, whose price is held from now on; with `x-idempotency-key`, the same job for the same request."""
        wanted = submission.read(call.json)
        return await self._changes.run(self._submit, call, wanted, replays.key_of(call))

    def _submit(self, connection: Connection, call: Call, wanted: Submission, key: str) -> Answer:
        earlier = replays.find(connection, call, _ROUTE, key)
        if earlier is not None:
            return Answer(earlier, 200)
        made = self._maker.make(connection, active(connection, call.renter.id), wanted, now=call.now)
        body = told(made, wanted)
        replays.keep(connection, call, _ROUTE, key, 201, body)
        return Answer(body, 201)


def told(made: Made, wanted: Submission) -> dict[str, Any]:
    """The answer to a submission."""
    job = job_views.submitted(made.job, made.position)
    if wanted.bundle_id:
        job |= {"bundle_id": wanted.bundle_id, "bundle_components": submission.components(wanted.bundle_id)}
    body: dict[str, Any] = {"success": True, "job": job}
    if made.message is not None:
        body |= {"queued": True, "message": made.message}
    return body


def active(connection: Connection, renter_id: int) -> Row[Any]:
    """A renter as it is in this transaction.

    Raises:
        Fault: 403 when it was suspended or deleted since it was let in.
    """
    renter = renter_rows.find(connection, renter_id)
    if renter is None or renter.status != "active":
        raise Fault(403, "Invalid or inactive renter API key")
    return renter
