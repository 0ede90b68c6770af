"""Jobs that are filled in beforehand, shown and submitted (section 3.6)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection, Row, select

from skerry.island.engine.engine import Engine
from skerry.island.faces.dc1.access import ANYBODY, RENTER_JOBS
from skerry.island.faces.dc1.call import Answer, Call, Route
from skerry.island.faces.dc1.errors import Fault
from skerry.island.faces.dc1.jobs import images, templates
from skerry.island.faces.dc1.jobs.templates import BUNDLES, TEMPLATES, Template
from skerry.island.faces.dc1.limits import TEMPLATE_DEPLOY
from skerry.island.faces.dc1.models import model_registry
from skerry.island.faces.dc1.tables import providers

_USUAL_MINUTES = 60
_NOBODY = "No GPU provider currently available for this template"
_HINT = "Retry shortly or use POST /api/jobs/submit with queued fallback."


class TemplateViews:
    """Templates.

    Args:
        engine: open.
        submit: submits the job that a call's body describes.
    """

    def __init__(self, engine: Engine, submit: Callable[[Call], Awaitable[Answer]]) -> None:
        self._engine = engine
        self._submit = submit

    def routes(self) -> Sequence[Route]:
        """Reads for everybody, and one submission."""
        base = "/api/templates"
        one = f"{base}/{{id}}"
        return [
            Route(method="GET", path=base, handler=self.list, access=ANYBODY),
            Route(method="GET", path=f"{base}/whitelist", handler=self.whitelist, access=ANYBODY),
            Route(method="GET", path=f"{base}/bundles", handler=self.bundles, access=ANYBODY),
            Route(method="GET", path=one, handler=self.get, access=ANYBODY),
            Route(
                method="POST",
                path=f"{one}/deploy",
                handler=self.deploy,
                access=RENTER_JOBS,
                limits=(TEMPLATE_DEPLOY,),
            ),
        ]

    async def list(self, call: Call) -> Answer:
        """Every template; with `tag`, those that have it."""
        wanted = call.query.get("tag")
        found = [view for view in _views() if wanted is None or wanted in view["tags"]]
        return Answer({"templates": found, "count": len(found)})

    async def get(self, call: Call, id: str) -> Answer:
        """One template."""
        return Answer(templates.view(_template(id), list(TEMPLATES).index(id) + 1))

    async def whitelist(self, call: Call) -> Answer:
        """The images that templates may use."""
        return Answer({"images": list(images.BUILT_IN), "count": len(images.BUILT_IN)})

    async def bundles(self, call: Call) -> Answer:
        """Templates that go together."""
        return Answer({"bundles": list(BUNDLES.values()), "count": len(BUNDLES)})

    async def deploy(self, call: Call, id: str) -> Answer:
        """Submit a template as a job, to whichever provider has the memory now."""
        template = _template(id)
        hosts = await self._engine.store.read(_hosts)
        if not model_registry.capable(hosts, template.min_vram_gb, call.now):
            raise Fault(503, _NOBODY, required_vram_gb=template.min_vram_gb, hint=_HINT)
        given = call.json if isinstance(call.json, dict) else {}
        body = {"duration_minutes": _USUAL_MINUTES, **given, "template_id": id}
        return await self._submit(replace(call, json=body))


def _template(id: str) -> Template:
    if id not in TEMPLATES:
        raise Fault(404, "Template not found")
    return TEMPLATES[id]


def _views() -> list[dict[str, Any]]:
    found = [templates.view(template, place) for place, template in enumerate(TEMPLATES.values(), 1)]
    return sorted(found, key=lambda view: (view["sort_order"], view["id"]))


def _hosts(connection: Connection) -> list[Row[Any]]:
    return list(connection.execute(select(providers)))
