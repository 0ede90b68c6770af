"""Recipes: saved jobs, to be cooked, copied and shared (protocol section 3.4)."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from sqlalchemy import Connection, Row, or_, select, update

from skerry.island.engine.engine import Engine
from skerry.island.faces.dispersed import listing, wire
from skerry.island.faces.dispersed.call import Answer, Call, Route
from skerry.island.faces.dispersed.errors import Fault, not_found
from skerry.island.faces.dispersed.jobs import job_spec
from skerry.island.faces.dispersed.jobs.docker_parameters import MASK
from skerry.island.faces.dispersed.jobs.job_spec import JobSpec
from skerry.island.faces.dispersed.recipes import recipe_inputs
from skerry.island.faces.dispersed.routes import Table
from skerry.island.faces.dispersed.tables import jobs, recipes
from skerry.island.faces.dispersed.validation import Form
from skerry.island.ground.texts import iso, maybe_iso

VISIBILITIES = ("PRIVATE", "PUBLIC", "ARCHIVED")
LONGEST_NAME = 255
LONGEST_URL = 2048
LONGEST_QUICKSTART = 262_144
COPY = " (copy)"

Cook = Callable[[Connection, Call, JobSpec, str], Answer]
"""Makes the job of a recipe: `(connection, call, spec, recipe_uuid)`."""

_FILTERS = {
    "is_official": listing.flag(recipes.c.is_official == 1),
    "visibility": listing.words(recipes.c.visibility, VISIBILITIES),
    "name": listing.contains(recipes.c.name),
}


class Recipes:
    """One's own recipes, and those that others share.

    Args:
        engine: has the database and the vault.
        cook: makes jobs.
    """

    def __init__(self, engine: Engine, cook: Cook) -> None:
        self._store = engine.store
        self._vault = engine.vault
        self._cook = cook

    def routes(self) -> Table:
        """With every alias of section 3.0."""

        def write(handler: Callable[..., Answer], *, body: bool = False) -> Route:
            return Route(handler, kind="write", body=body)

        path, one = "/v1/job-recipes", "/v1/job-recipes/{uuid}"
        change, fork, save = write(self.update, body=True), write(self.fork), write(self.from_job)
        return [
            ("GET", path, Route(self.list)),
            ("POST", path, write(self.create, body=True)),
            ("GET", one, Route(self.get)),
            ("PATCH", one, change),
            ("PUT", one, change),
            ("DELETE", one, write(self.delete)),
            ("POST", f"{one}/fork", fork),
            ("PUT", f"{one}/fork", fork),
            ("POST", f"{one}/cook", write(self.cook)),
            ("POST", f"{path}/from-job/{{uuid}}", save),
            ("POST", f"{path}/from-job", write(self.from_named_job, body=True)),
            ("POST", "/v1/jobs/{uuid}/recipe", save),
            ("POST", "/v1/jobs/{uuid}/job-recipe", save),
        ]

    async def list(self, call: Call) -> dict[str, Any]:
        """One's own recipes and those that are shared; archived ones only when asked for."""

        def shown(row: Row[Any]) -> dict[str, Any]:
            return view(row, call.account_id)

        conditions = [_visible(call.account_id)]
        if not any(name == "filter[visibility]" for name, _ in call.query):
            conditions.append(recipes.c.visibility != "ARCHIVED")
        return await listing.page(self._store, call.query, recipes, _FILTERS, shown, *conditions)

    async def get(self, call: Call, uuid: str) -> dict[str, Any]:
        """One recipe."""
        return view(await self._store.read(_find, call.account_id, uuid), call.account_id)

    def create(self, connection: Connection, call: Call) -> Answer:
        """Keep a recipe; its payload may be incomplete, since a cook can bring what is missing."""
        form = Form(call.json)
        values = _read(form, {})
        values.setdefault("visibility", "PRIVATE")
        values["name"] = form.text("name", least=1, most=LONGEST_NAME)
        is_official = _official(form, call, current=False)
        if not form.has("payload"):
            form.issue("invalid_type", "is required", "payload")
        form.check()
        payload, secrets = job_spec.payload(form.members["payload"], path=("payload",))
        return self._keep(connection, call, payload, secrets, is_official=is_official, **values)

    def update(self, connection: Connection, call: Call, uuid: str) -> Answer:
        """Change what is given; a mask in place of a secret leaves that secret as it was."""
        row = _own(connection, call.account_id, uuid)
        form = Form(call.json)
        changes = _read(form, row._mapping)
        if form.has("is_official"):
            changes["is_official"] = int(_official(form, call, current=bool(row.is_official)))
        form.check()
        if form.has("payload"):
            given = _unmasked(form.members["payload"], self._secrets(row))
            payload, secrets = job_spec.payload(given, path=("payload",))
            changes |= {"payload": json.dumps(payload), "secrets": self._sealed(row.uuid, secrets)}
        if changes:
            change = update(recipes).where(recipes.c.uuid == row.uuid).values(**changes, updated_at=call.now)
            connection.execute(change)
        return Answer(200, view(_find(connection, call.account_id, uuid), call.account_id))

    def delete(self, connection: Connection, call: Call, uuid: str) -> Answer:
        """Hide a recipe for good; jobs and copies made of it stay."""
        row = _own(connection, call.account_id, uuid)
        change = update(recipes).where(recipes.c.uuid == row.uuid).values(deleted_at=call.now, updated_at=call.now)
        connection.execute(change)
        return Answer(204)

    def fork(self, connection: Connection, call: Call, uuid: str) -> Answer:
        """A private copy without secrets and SSH key."""
        row = _find(connection, call.account_id, uuid)
        return self._keep(
            connection,
            call,
            job_spec.without_secrets(json.loads(row.payload)),
            {},
            name=row.name[: LONGEST_NAME - len(COPY)] + COPY,
            description=row.description,
            visibility="PRIVATE",
            input_schema=row.input_schema,
            quickstart_md=row.quickstart_md,
            thumbnail_url=row.thumbnail_url,
            forked_from=row.uuid,
        )

    def cook(self, connection: Connection, call: Call, uuid: str) -> Answer:
        """Make a job of a recipe; secrets of the recipe come along for its owner only."""
        row = _find(connection, call.account_id, uuid)
        if row.visibility == "ARCHIVED":
            raise Fault(409, "CONFLICT", "This recipe is archived; change its visibility before cooking it")
        kept = json.loads(row.payload)
        if row.account_id == call.account_id:
            payload = job_spec.with_secrets(kept, self._secrets(row))
        else:
            payload = job_spec.without_secrets(kept)
        merged = job_spec.merge(payload, call.json if call.has_body else None)
        spec = job_spec.parse(recipe_inputs.answered(merged, json.loads(row.input_schema) or []))
        answer = self._cook(connection, call, spec, row.uuid)
        connection.execute(update(recipes).where(recipes.c.uuid == row.uuid).values(last_used_at=call.now))
        return answer

    def from_job(self, connection: Connection, call: Call, uuid: str) -> Answer:
        """A private recipe of a job as it was asked for, without secrets and SSH key."""
        query = select(jobs).where(jobs.c.uuid == uuid.lower(), jobs.c.account_id == call.account_id)
        job = connection.execute(query).first()
        if job is None:
            raise not_found("job")
        payload = {name: getattr(job, name) for name in job_spec.FIELDS if name in jobs.c}
        payload["parameters"] = json.loads(job.parameters)
        payload["allowed_region_codes"] = json.loads(job.region_codes)
        for name in ("description", "gpu_name", "gpu_registry_uuid"):
            if payload[name] is None:
                del payload[name]
        bare = job_spec.without_secrets(payload)
        return self._keep(connection, call, bare, {}, name=job.title, visibility="PRIVATE", description=job.description)

    def from_named_job(self, connection: Connection, call: Call) -> Answer:
        """The same, the job being named in the body."""
        form = Form(call.json)
        uuid = form.text("job_uuid", most=64)
        form.check()
        return self.from_job(connection, call, uuid)

    def _keep(
        self,
        connection: Connection,
        call: Call,
        payload: dict[str, Any],
        secrets: dict[str, str],
        *,
        is_official: bool = False,
        **values: Any,
    ) -> Answer:
        uuid = wire.new_uuid(call.now)
        row = {
            "uuid": uuid,
            "account_id": call.account_id,
            "payload": json.dumps(payload),
            "secrets": self._sealed(uuid, secrets),
            "is_official": int(is_official),
            "input_schema": "null",
            "created_at": call.now,
            "updated_at": call.now,
        }
        connection.execute(recipes.insert().values({**row, **values}))
        return Answer(201, view(_find(connection, call.account_id, uuid), call.account_id))

    def _sealed(self, uuid: str, secrets: dict[str, str]) -> bytes:
        return self._vault.seal(json.dumps(secrets).encode(), _context(uuid))

    def _secrets(self, row: Row[Any]) -> dict[str, str]:
        found: dict[str, str] = json.loads(self._vault.open(row.secrets, _context(row.uuid)))
        return found


def view(row: Row[Any], account_id: str) -> dict[str, Any]:
    """A recipe as it is sent: secrets are masked for its owner, and not there at all for others."""
    payload = json.loads(row.payload)
    is_owner = row.account_id == account_id
    return {
        "object": "job_recipe",
        "uuid": row.uuid,
        "name": row.name,
        "description": row.description,
        "visibility": row.visibility,
        "payload": payload if is_owner else job_spec.without_secrets(payload),
        "is_official": bool(row.is_official),
        "last_used_at": maybe_iso(row.last_used_at),
        "quickstart_md": row.quickstart_md,
        "input_schema": json.loads(row.input_schema),
        "thumbnail_url": row.thumbnail_url,
        "is_owner": is_owner,
        "forked_from_recipe_uuid": row.forked_from,
        "created_at": iso(row.created_at),
        "updated_at": iso(row.updated_at),
    }


def _read(form: Form, current: Any) -> dict[str, Any]:
    """Members that create and update have in common, those that were given."""
    values: dict[str, Any] = {}
    if form.has("name") and current:
        values["name"] = form.text("name", least=1, most=LONGEST_NAME)
    if form.has("visibility"):
        values["visibility"] = form.choice("visibility", VISIBILITIES)
    if form.has("description"):
        values["description"] = form.optional_text("description")
    if form.has("quickstart_md"):
        values["quickstart_md"] = form.optional_text("quickstart_md", most=LONGEST_QUICKSTART)
    if form.has("input_schema"):
        values["input_schema"] = json.dumps(recipe_inputs.read(form, "input_schema"))
    if form.has("thumbnail_url"):
        values["thumbnail_url"] = _url(form, "thumbnail_url")
    return values


def _url(form: Form, name: str) -> str | None:
    text = form.optional_text(name, most=LONGEST_URL)
    if not text:
        return None
    try:
        parts = urlsplit(text)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and text.isprintable()
    except ValueError:
        good = False
    if not good:
        form.issue("invalid_format", "must be an http or https URL", name)
    return text


def _official(form: Form, call: Call, *, current: bool) -> bool:
    wanted = form.boolean("is_official", default=current)
    if wanted != current and not call.operator:
        raise Fault(403, "FORBIDDEN", "Only the operator of the service says which recipes are official")
    return wanted


def _unmasked(payload: Any, secrets: dict[str, str]) -> Any:
    """A payload in which masks have become the secrets that they stand for."""
    if not isinstance(payload, dict) or not isinstance(payload.get("parameters"), dict):
        return payload
    outer = payload["parameters"]
    inner = outer.get("parameters")
    if not isinstance(inner, dict):
        return payload
    docker = dict(inner)
    if docker.get("secret") == MASK and "secret" in secrets:
        docker["secret"] = secrets["secret"]
    if isinstance(docker.get("volumes"), list):
        docker["volumes"] = [
            {**volume, "secret": secrets[f"volumes.{position}"]}
            if isinstance(volume, dict) and volume.get("secret") == MASK and f"volumes.{position}" in secrets
            else volume
            for position, volume in enumerate(docker["volumes"])
        ]
    return {**payload, "parameters": {**outer, "parameters": docker}}


def _visible(account_id: str) -> listing.Clause:
    shared = or_(recipes.c.visibility == "PUBLIC", (recipes.c.is_official == 1) & (recipes.c.visibility != "ARCHIVED"))
    return recipes.c.deleted_at.is_(None) & or_(recipes.c.account_id == account_id, shared)


def _find(connection: Connection, account_id: str, uuid: str) -> Row[Any]:
    query = select(recipes).where(recipes.c.uuid == uuid.lower(), _visible(account_id))
    row = connection.execute(query).first()
    if row is None:
        raise not_found("job recipe")
    return row


def _own(connection: Connection, account_id: str, uuid: str) -> Row[Any]:
    row = _find(connection, account_id, uuid)
    if row.account_id != account_id:
        raise Fault(403, "FORBIDDEN", "This recipe belongs to another account; fork it to change it")
    return row


def _context(uuid: str) -> str:
    return f"dispersed:recipe:{uuid}"
