"""How machines of operators join, take work and report it (protocol section 3.10).

A node is registered with its hardware and gets a key pair of its own, which speaks for it alone. It then sends a
heartbeat every 15 seconds, asks for its assignment, and reports each run's states and logs.

What a node is given to run comes with the secrets of its owner, whoever that is. Therefore only the island's first
account, or whoever holds its owner's key, may register nodes.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from sqlalchemy import Connection, Row, select

from skerry.island.engine.engine import Engine
from skerry.island.engine.errors import Invalid
from skerry.island.faces.dispersed import wire
from skerry.island.faces.dispersed.account import key_pairs
from skerry.island.faces.dispersed.call import Answer, Call, Route
from skerry.island.faces.dispersed.errors import Fault, Issue, invalid, not_found
from skerry.island.faces.dispersed.jobs import docker_parameters, job_secrets
from skerry.island.faces.dispersed.jobs.docker_parameters import Docker
from skerry.island.faces.dispersed.jobs.job_rows import find_job, live_runs
from skerry.island.faces.dispersed.jobs.job_spec import REGION_CODES, docker_of
from skerry.island.faces.dispersed.jobs.progress import default_key
from skerry.island.faces.dispersed.jobs.scheduler import Scheduler
from skerry.island.faces.dispersed.nodes import node_views, rewards
from skerry.island.faces.dispersed.nodes.local_node import REPUTATION
from skerry.island.faces.dispersed.routes import Table
from skerry.island.faces.dispersed.tables import nodes
from skerry.island.faces.dispersed.validation import Form
from skerry.island.ground.texts import digits

POLL_SECONDS = 25.0
MOST_PARTS = 64
MOST_EVENT_BYTES = 65_536
_MOST_CORES = 65_536
_MOST_GB = 1_000_000_000


class NodeProtocol:
    """Calls of nodes, and the registration of one.

    Args:
        engine: has the database and the vault.
        scheduler: gives nodes their work.
    """

    def __init__(self, engine: Engine, scheduler: Scheduler) -> None:
        self._engine = engine
        self._scheduler = scheduler

    def routes(self) -> Table:
        """Of section 3.10; reports on runs are in `node_reports`."""
        return [
            ("POST", "/v1/nodes", Route(self.register, kind="write", preset="ANY", body=True)),
            ("PUT", "/v1/nodes/{uuid}/heartbeat", Route(self.heartbeat, kind="write", preset="COMPUTE_NODE")),
            ("GET", "/v1/nodes/{uuid}/assignment", Route(self.assignment, preset="COMPUTE_NODE")),
        ]

    def register(self, connection: Connection, call: Call) -> Answer:
        """A new node, and the key pair that speaks for it: its secret is told in this answer and never again."""
        if call.key.node_uuid is not None:
            raise Fault(403, "INSUFFICIENT_PERMISSIONS", "The key of a node cannot register another one")
        if call.account_id != self._engine.account_id and not call.operator:
            raise Fault(403, "FORBIDDEN", "Only this island's owner registers nodes, for they see everybody's jobs")
        form = Form(call.json)
        name = form.text("name", least=1, most=255)
        region = form.optional_text("region_code", most=32) or None
        if region is not None and region not in REGION_CODES:
            form.issue("invalid_value", "is no region code", "region_code")
        hardware = _hardware(form)
        form.check()
        uuid = wire.new_uuid(call.now)
        connection.execute(
            nodes.insert().values(
                uuid=uuid,
                account_id=call.account_id,
                node_id=None,
                name=name,
                region_code=region,
                reputation=REPUTATION,
                hardware=json.dumps(hardware),
                last_seen_at=call.now,
                created_at=call.now,
                updated_at=call.now,
            )
        )
        pair = key_pairs.new_pair()
        key_pairs.add(
            connection,
            self._engine.vault,
            call.profile,
            pair,
            name=name,
            preset="COMPUTE_NODE",
            now=call.now,
            node_uuid=uuid,
        )
        call.after_commit(self._scheduler.wake)
        credentials = {"public_key": pair.public_key, "secret_key": pair.secret_key}
        return Answer(201, {**_view(_own(connection, uuid, uuid), call), "credentials": credentials})

    def heartbeat(self, connection: Connection, call: Call, uuid: str) -> Answer:
        """A sign of life; the body may be a hardware event, which is shown with the node."""
        node = _own(connection, call.key.node_uuid, uuid)
        if call.now - node.last_seen_at >= rewards.SILENCE:
            call.after_commit(self._scheduler.wake)
        rewards.seen(connection, node.uuid, call.now)
        if call.has_body and call.json is not None:
            Form(call.json).check()
            event = json.dumps({"object": "node_hardware_event", "node": node.uuid, **call.json})
            if len(event) > MOST_EVENT_BYTES:
                raise Fault(413, "PAYLOAD_TOO_LARGE", f"A hardware event has at most {MOST_EVENT_BYTES} bytes")
            connection.execute(nodes.update().where(nodes.c.uuid == node.uuid).values(event=event))
        return Answer(200, _view(_own(connection, node.uuid, uuid), call))

    async def assignment(self, call: Call, uuid: str) -> dict[str, Any]:
        """Runs to start and runs to stop, as soon as there is one, with nothing in them after 25 seconds.

        A run is told again until the node has reported its next state. A node that cannot wait for so long says how
        many milliseconds it can, in `wait_ms`.
        """
        clock = self._engine.clock
        end = clock.monotonic() + _patience(call)

        def left() -> float:
            return end - clock.monotonic()

        while True:
            change = self._scheduler.change
            found = await self._engine.store.read(self._work, call.key.node_uuid, uuid)
            if found["start"] or found["stop"] or left() <= 0 or self._scheduler.stopping:
                return found
            await self._scheduler.either(change, left)

    def _work(self, connection: Connection, own: str | None, uuid: str) -> dict[str, Any]:
        node = _own(connection, own, uuid)
        runs = live_runs(connection, node.uuid)
        return {
            "object": "node_assignment",
            "node_uuid": node.uuid,
            "start": [order for run in runs if run.status == "ASSIGNED" and (order := self._order(connection, run))],
            "stop": [
                {"job_run_uuid": run.uuid, "status": run.status, "status_reason": run.status_reason}
                for run in runs
                if run.status in ("CANCELLING", "FAILING")
            ],
        }

    def _order(self, connection: Connection, run: Row[Any]) -> dict[str, Any] | None:
        """What a node needs to carry out a run, secrets included; None when the key to those was lost."""
        job = find_job(connection, run.job_uuid)
        assert job is not None, run.job_uuid
        try:
            secrets = job_secrets.of_job(self._engine.vault, job)
        except Invalid:
            return None
        parameters = json.loads(job.parameters)
        docker: Docker = docker_of(parameters)
        key = default_key(connection, run.account_id) if docker.sshkey is None else docker.sshkey
        env = {**docker.env, "CONTAINER_ACCESS_TOKEN": secrets.token}
        if key:
            env["SSH_PUBKEY"] = key
        inner = docker_parameters.with_secrets(parameters["parameters"], secrets.registry)
        return {
            "job_run_uuid": run.uuid,
            "job_uuid": job.uuid,
            "task": job.task,
            "cpu_count": job.cpu_count,
            "gpu_count": run.gpu_count,
            "gpu_name": run.gpu_name,
            "min_ram_gb": job.min_ram_gb,
            "min_storage_gb": job.min_storage_gb,
            "min_vram_gb": job.min_vram_gb,
            "parameters": {**parameters, "parameters": {**inner, "ports": list(docker.ports), "env": env}},
            "max_timeout_run_ms": job.max_timeout_run_ms,
            "start_by_ms": run.start_by // 1_000,
        }


def _patience(call: Call) -> float:
    given = digits(dict(call.query).get("wait_ms", str(round(POLL_SECONDS * 1_000))), 6)
    if given is None:
        raise invalid([Issue("invalid_type", ("wait_ms",), "must be a number of milliseconds, at most 25000")])
    return min(POLL_SECONDS, given / 1_000)


def _own(connection: Connection, own: str | None, uuid: str) -> Row[Any]:
    """The node that a key speaks for, if that is the one in the path."""
    row = connection.execute(select(nodes).where(nodes.c.uuid == uuid.lower())).first()
    if row is None or row.uuid != own:
        raise not_found("node")
    return row


def _view(row: Row[Any], call: Call) -> dict[str, Any]:
    event = None if row.event is None else json.loads(row.event)
    return node_views.view(row, call.profile, json.loads(row.hardware), event)


def _hardware(form: Form) -> dict[str, Any]:
    """What a node says it has, in the words of section 6."""

    def parts(name: str, read: Callable[[Form], dict[str, Any]]) -> list[dict[str, Any]]:
        return [read(part) for part in form.forms(name, most=MOST_PARTS)]

    cpus = parts("cpus", lambda part: {"name": _name(part), "num_cores": _count(part, "num_cores", _MOST_CORES)})
    if form.has("cpus") and not cpus:
        form.issue("too_small", "must name at least one processor", "cpus")
    elif not form.has("cpus"):
        form.issue("invalid_type", "is required", "cpus")
    return {
        "cpus": cpus,
        "gpus": parts("gpus", lambda part: {"name": _name(part), "vram_gb_max": _count(part, "vram_gb_max", 65_536)}),
        "rams": parts("rams", lambda part: {"memory_gb_max": _count(part, "memory_gb_max", _MOST_GB)}),
        "hard_drives": parts(
            "hard_drives",
            lambda part: {"name": _name(part), "max_capacity_gb": _count(part, "max_capacity_gb", _MOST_GB)},
        ),
    }


def _name(part: Form) -> str:
    return part.text("name", default="", most=255)


def _count(part: Form, name: str, most: int) -> int:
    return part.integer(name, least=0, most=most)
