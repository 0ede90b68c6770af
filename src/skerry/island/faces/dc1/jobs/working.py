"""Jobs: how they come about, what is told of them, who decides about them, and what time does to them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from skerry.island.engine.engine import Engine
from skerry.island.faces.dc1.admin.admin_jobs import AdminJobs
from skerry.island.faces.dc1.authentication import Authentication
from skerry.island.faces.dc1.hmac_secret import hmac_secret
from skerry.island.faces.dc1.jobs.changes import Changes
from skerry.island.faces.dc1.jobs.control import Control
from skerry.island.faces.dc1.jobs.dispatch import Dispatch
from skerry.island.faces.dc1.jobs.job_making import JobMaker
from skerry.island.faces.dc1.jobs.job_reading import JobReading
from skerry.island.faces.dc1.jobs.job_watch import JobWatch
from skerry.island.faces.dc1.jobs.output import Output
from skerry.island.faces.dc1.jobs.queues import Queues
from skerry.island.faces.dc1.jobs.streams import Streams
from skerry.island.faces.dc1.jobs.submitting import Submitting
from skerry.island.faces.dc1.jobs.telemetry import Telemetry
from skerry.island.faces.dc1.money.invoices import Invoices
from skerry.island.faces.dc1.routes import Resource


class Working:
    """Everything about jobs but their providers' part.

    Attributes:
        changes: who waits for jobs to change; transactions over jobs go through it.
        maker: makes jobs, for whoever needs one.
        watch: over jobs whose time is over.
        secret: signs task specs and heartbeats.
        submit: submits the job that a call's body describes.

    Args:
        engine: open.
        authentication: for daemons, which have their key in the body.
        secret: as above.
    """

    def __init__(self, engine: Engine, authentication: Authentication, secret: str) -> None:
        settings = engine.settings.dc1
        self.secret = secret
        self.changes = Changes(engine.store)
        self.maker = JobMaker(settings, secret)
        submitting = Submitting(self.changes, self.maker)
        self.submit = submitting.submit
        self._resources: list[Resource] = [
            submitting,
            Dispatch(self.changes, self.maker, settings, authentication),
            JobReading(engine),
            Output(engine),
            Control(self.changes, self.maker, settings, authentication),
            Telemetry(engine),
            Streams(engine, self.changes),
            Queues(engine),
            Invoices(engine),
            AdminJobs(engine, self.changes, self.maker),
        ]
        self.watch = JobWatch(engine, self.changes)

    @classmethod
    async def opened(cls, engine: Engine, authentication: Authentication) -> Working:
        """Made, with the secret that signs task specs."""
        secret = await asyncio.to_thread(hmac_secret, engine.settings.dc1, engine.settings.data_dir)
        return cls(engine, authentication, secret)

    def resources(self) -> Sequence[Resource]:
        """What the network's API has of it."""
        return self._resources

    async def start(self) -> None:
        """Watch over jobs."""
        self.watch.start()

    async def stop(self) -> None:
        """End watching, and every stream."""
        await self.watch.stop()
        self.changes.close()
