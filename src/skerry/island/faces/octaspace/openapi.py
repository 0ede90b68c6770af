"""The OpenAPI document, made of the same table that answers requests, and a page that shows it."""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

from skerry.island.faces.octaspace.call import Call, Route
from skerry.island.faces.octaspace.schemas import SCHEMAS, many, ref
from skerry.island.faces.octaspace.wire import encode
from skerry.island.ground.answers import Answer

_SECURITY = "ApiKey"
_VARIABLE = re.compile(r"\{(\w+)\}")
_FAULTS = {
    400: "The body is no JSON, or the start is rejected",
    401: "No key, or none that is known",
    402: "The balance does not cover it",
    403: "Known, but not for this caller",
    404: "There is nothing of this name",
    409: "The node is busy",
    422: "A member is of the wrong kind",
    429: "Too many requests; wait as Retry-After says",
    503: "The node cannot do it now",
}

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>OctaSpace API</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }}
h2 {{ font-size: 1.05rem; margin: 1.6rem 0 .2rem; }}
code, pre {{ font-family: ui-monospace, monospace; font-size: .9em; }}
pre {{ background: #f4f4f2; padding: .6rem .8rem; overflow-x: auto; border-radius: 4px; }}
.method {{ display: inline-block; min-width: 4em; color: #06633b; }}
.open {{ color: #666; font-weight: normal; }}
@media (prefers-color-scheme: dark) {{
  body {{ background: #161616; color: #ddd; }} pre {{ background: #222; }} .method {{ color: #6fcf97; }}
}}
</style></head><body>
<h1>OctaSpace API</h1>
<p>Send your key as it is: <code>Authorization: &lt;api key&gt;</code>. The same as a document:
<a href="{document}">swagger.json</a>.</p>
{rows}
</body></html>
"""


class ApiDocs:
    """Describes the face.

    Attributes:
        table: every row, filled once all are known.
    """

    def __init__(self) -> None:
        self.table: Sequence[Route] = ()

    def routes(self) -> list[Route]:
        """What it answers."""
        return [
            Route(
                method="GET",
                path="/api-docs/swagger.json",
                handler=self.document,
                summary="This API as an OpenAPI document",
                answer="Nothing",
                access="public",
            ),
            Route(
                method="GET",
                path="/api-docs",
                handler=self.page,
                summary="This API as a page",
                access="public",
            ),
        ]

    async def document(self, call: Call) -> Answer:
        """GET /api-docs/swagger.json."""
        return Answer(describe(self.table, call.place.root))

    async def page(self, call: Call) -> Answer:
        """GET /api-docs; the page needs nothing from elsewhere."""
        rows = "\n".join(_row(route) for route in self.table)
        text = _PAGE.format(document=html.escape(f"{call.place.root}/api-docs/swagger.json"), rows=rows)
        policy = b"default-src 'none'; style-src 'unsafe-inline'"
        return Answer(text.encode(), media="text/html; charset=utf-8", headers=((b"content-security-policy", policy),))


def describe(table: Sequence[Route], server: str) -> dict[str, Any]:
    """An OpenAPI 3.1 document.

    Args:
        table: every row.
        server: address of the API.
    """
    paths: dict[str, dict[str, Any]] = {}
    for route in table:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route)
    return {
        "openapi": "3.1.0",
        "info": {"title": "OctaSpace API", "version": version("skerry")},
        "servers": [{"url": server}],
        "paths": paths,
        "components": {
            "schemas": SCHEMAS,
            "securitySchemes": {_SECURITY: {"type": "apiKey", "in": "header", "name": "Authorization"}},
        },
    }


def _operation(route: Route) -> dict[str, Any]:
    said: dict[str, Any] = {
        "operationId": f"{route.method.lower()}{re.sub(r'[^A-Za-z0-9]+', '_', route.path)}",
        "summary": route.summary,
        "parameters": [
            *(_segment(name) for name in _VARIABLE.findall(route.path)),
            *(_parameter(name, meaning) for name, meaning in route.parameters.items()),
        ],
        "responses": {str(route.status): _success(route), **_refusals(route)},
        "security": {"key": [{_SECURITY: []}], "optional": [{}, {_SECURITY: []}], "public": [{}]}[route.access],
    }
    if route.body:
        said["requestBody"] = {
            "required": route.needs_body,
            "content": {"application/json": {"schema": ref(route.body)}},
        }
    return said


def _success(route: Route) -> dict[str, Any]:
    if not route.answer:
        return {"description": "The file", "content": {"application/octet-stream": {}}}
    schema = many(ref(route.answer)) if route.listed else ref(route.answer)
    return {"description": "Done", "content": {"application/json": {"schema": schema}}}


def _refusals(route: Route) -> dict[str, Any]:
    statuses = {*route.faults, 429, *(() if route.access == "public" else (401,))}
    if route.body:
        statuses.add(400)
    content = {"application/json": {"schema": ref("Error")}}
    return {str(status): {"description": _FAULTS[status], "content": content} for status in sorted(statuses)}


def _segment(name: str) -> dict[str, Any]:
    return {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}


def _parameter(name: str, meaning: str) -> dict[str, Any]:
    return {"name": name, "in": "query", "description": meaning, "schema": {"type": "string"}}


def _row(route: Route) -> str:
    access = {"key": "", "optional": "a key is optional", "public": "public"}[route.access]
    name = f'<span class="method">{route.method}</span> {html.escape(route.path)}'
    lines = [
        f'<h2><code>{name}</code> <span class="open">{access}</span></h2>',
        f"<p>{html.escape(route.summary)}.</p>",
    ]
    if route.body:
        lines.append(f"<p>Body:</p><pre>{_schema(route.body)}</pre>")
    if route.answer:
        lines.append(f"<p>Answers {route.status}{', a list' if route.listed else ''}:</p>")
        lines.append(f"<pre>{_schema(route.answer)}</pre>")
    return "\n".join(lines)


def _schema(name: str) -> str:
    return html.escape(encode(SCHEMAS[name]).decode().replace(',"', ', "'))
