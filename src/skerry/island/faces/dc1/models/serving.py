"""Models: the catalogue, questions that are answered at once, and what serving jobs serve."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack

from skerry.island.asgi import Receive, Scope
from skerry.island.engine.engine import Engine
from skerry.island.faces.dc1.call import Answer, Call
from skerry.island.faces.dc1.jobs.changes import Changes
from skerry.island.faces.dc1.jobs.images import Images
from skerry.island.faces.dc1.jobs.job_making import JobMaker
from skerry.island.faces.dc1.jobs.template_views import TemplateViews
from skerry.island.faces.dc1.models.answerers import Answerer
from skerry.island.faces.dc1.models.chat import Chat
from skerry.island.faces.dc1.models.model_views import ModelViews
from skerry.island.faces.dc1.models.served import Served
from skerry.island.faces.dc1.money.price_views import PriceViews
from skerry.island.faces.dc1.providers.means import Means
from skerry.island.faces.dc1.routes import Resource


class Serving:
    """Everything about models.

    Args:
        engine: open.
        changes: runs transactions over jobs.
        maker: makes jobs.
        submit: submits the job that a call's body describes.
        means: of this machine.
    """

    def __init__(
        self,
        engine: Engine,
        changes: Changes,
        maker: JobMaker,
        submit: Callable[[Call], Awaitable[Answer]],
        means: Means,
    ) -> None:
        self._means = means
        self._answerer = Answerer(engine.store, changes, means)
        self._chat = Chat(engine, changes, maker, self._answerer)
        self._served = Served(engine, means.llm)
        self._resources: list[Resource] = [
            PriceViews(engine),
            ModelViews(engine, submit),
            TemplateViews(engine, submit),
            Images(engine),
            self._chat,
        ]

    def resources(self) -> Sequence[Resource]:
        """What the network's API has of it."""
        return self._resources

    async def start(self) -> None:
        """Settle what an earlier server did not answer."""
        await self._chat.start()

    async def stop(self) -> None:
        """End every connection and process."""
        async with AsyncExitStack() as ending:
            ending.push_async_callback(self._means.close)
            ending.push_async_callback(self._answerer.close)

    async def served(self, scope: Scope, receive: Receive, path: bytes) -> Answer | None:
        """The answer of a model that a job serves; None for paths that lead to none."""
        return await self._served.answer(scope, receive, path)
