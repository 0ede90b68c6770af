"""What a run on this machine needs before its program starts: image, volumes, sandbox, ports, logins (section 5.2)."""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row

from skerry.island.engine.engine import Engine
from skerry.island.engine.errors import Conflict
from skerry.island.engine.records import Image, RunRecord
from skerry.island.faces.dispersed.jobs import job_secrets
from skerry.island.faces.dispersed.jobs.docker_parameters import SSH_PORT, Docker
from skerry.island.faces.dispersed.jobs.job_rows import find_job, need_of
from skerry.island.faces.dispersed.jobs.job_secrets import JobSecrets
from skerry.island.faces.dispersed.jobs.job_spec import docker_of
from skerry.island.faces.dispersed.jobs.progress import default_key
from skerry.island.faces.dispersed.nodes.node_offers import usual_memory
from skerry.island.ground.runs import begin
from skerry.island.images.reference import DEFAULT_TAG
from skerry.island.sandbox.spec import Limits, Volume
from skerry.units import MIB

NETWORK = "dispersed"
_OUTPUT_BYTES = 64 * MIB
_ANYWHERE = frozenset({"0.0.0.0", "::", ""})  # noqa: S104 - not bound here


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A run of this machine with what its job says of it.

    Args:
        run, job: their rows.
        docker: the container.
        secrets: of the job.
        ssh_keys: OpenSSH public keys that may log in; empty for nobody.
        gpus: indexes of the GPUs set aside for it.
        limits: of its sandbox.
    """

    run: Row[Any]
    job: Row[Any]
    docker: Docker
    secrets: JobSecrets
    ssh_keys: tuple[str, ...]
    gpus: tuple[int, ...]
    limits: Limits

    def env(self) -> dict[str, str]:
        """What the program finds in its environment: the caller's variables, then the network's own."""
        own = {"CONTAINER_ACCESS_TOKEN": self.secrets.token}
        if self.ssh_keys:
            own["SSH_PUBKEY"] = "\n".join(self.ssh_keys)
        return {**self.docker.env, **own}


def load(connection: Connection, engine: Engine, run: Row[Any]) -> Task:
    """Everything that is known of a run.

    Raises:
        Invalid: the job's secrets cannot be opened any more.
    """
    job = find_job(connection, run.job_uuid)
    assert job is not None, run.job_uuid
    docker = docker_of(json.loads(job.parameters))
    key = default_key(connection, run.account_id) if docker.sshkey is None else docker.sshkey
    need = need_of(job, usual_memory(engine))
    gpus = engine.capacity.gpus_of(connection, run.uuid) if need.gpu_count else ()
    return Task(
        run=run,
        job=job,
        docker=docker,
        secrets=job_secrets.of_job(engine.vault, job),
        ssh_keys=tuple(line for line in (key or "").splitlines() if line.strip()),
        gpus=gpus,
        limits=Limits(
            cpu_millis=need.cores * 1_000,
            memory_bytes=need.memory_bytes or None,
            disk_bytes=need.disk_bytes or None,
            output_bytes=_OUTPUT_BYTES,
        ),
    )


async def fetch(engine: Engine, task: Task) -> tuple[Image, list[Volume]]:
    """Have the image and the volumes here.

    Raises:
        EngineError: one cannot be had; the message says why.
    """
    docker, registry = task.docker, task.secrets.registry
    if docker.imagesrc:
        image = await engine.images.fetch_archive(docker.imagesrc)
    else:
        name = _reference(docker.host, docker.image, docker.tag)
        image = await engine.images.fetch(name, credentials=_credentials(docker.user, registry.get("secret")))
    volumes = []
    for position, volume in enumerate(docker.volumes):
        name = _reference(volume.registry, volume.image, volume.tag)
        credentials = _credentials(volume.user, registry.get(f"volumes.{position}"))
        content = await engine.images.fetch(name, credentials=credentials)
        volumes.append(Volume(image_id=content.id, path=volume.mount))
    return image, volumes


async def set_up(engine: Engine, task: Task, image: Image, volumes: list[Volume]) -> None:
    """Make the sandbox and open its ports and logins; what is there already stays.

    Raises:
        EngineError: it cannot be made.
    """
    account_id, sandbox_id = task.run.account_id, task.run.sandbox_id
    # Conflict: it was made before a crash, or before something stood in the way.
    with contextlib.suppress(Conflict):
        await engine.sandboxes.create(
            account_id,
            id=sandbox_id,
            network=NETWORK,
            image=image.id,
            limits=task.limits,
            labels={"job": task.run.job_uuid},
            metered=False,
            volumes=volumes,
            gpus=task.gpus,
        )
    for port in task.docker.ports:
        # Where nobody may log in, only the image's own server can answer.
        ssh = port == SSH_PORT and bool(task.ssh_keys)
        await engine.ports.publish(account_id, sandbox_id, port, allowed=task.docker.allowed_ips, ssh=ssh)
    if task.ssh_keys and SSH_PORT in task.docker.ports:
        await engine.ssh.authorize(account_id, sandbox_id, task.ssh_keys, metered=False, env=task.env())


async def start(engine: Engine, task: Task, image: Image, *, longest_timer: float) -> RunRecord:
    """Start the image's own program; where it has been started already, that run.

    Args:
        longest_timer: seconds up to which the sandbox's agent watches the run's time limit.

    Raises:
        EngineError: the image says nothing to run, or it cannot be started.
    """
    where = task.run.account_id, task.run.sandbox_id, task.run.engine_run_id
    limit = (task.job.max_timeout_run_ms or 0) / 1_000
    timeout = limit if 0 < limit <= longest_timer else None
    begun = await begin(engine, *where, engine.images.program(image.id), task.env(), timeout=timeout)
    return await engine.runs.get(*where) if begun is None else begun


async def node_urls(engine: Engine, sandbox_id: str, docker: Docker) -> list[dict[str, Any]]:
    """Where the container's ports are reached, in the order in which the job names them (section 3.3.1)."""
    published = {known.port: known for known in await engine.ports.of_sandbox(sandbox_id)}
    return [
        {
            "description": "ssh" if port == SSH_PORT else str(port),
            "hostname": _hostname(engine, published[port].host),
            "port": published[port].host_port,
            "protocol": "tcp",
            "tls": False,
        }
        for port in docker.ports
        if port in published and published[port].listening
    ]


def _hostname(engine: Engine, host: str) -> str:
    public = engine.settings.public_host
    if public:
        return public.rpartition(":")[0] or public
    return engine.nodes.local.name if host in _ANYWHERE else host


def _reference(host: str, image: str, tag: str) -> str:
    if host:
        return f"{host}/{image}:{tag}"
    # Names of this island's own, such as `host`, have no tags.
    return image if tag == DEFAULT_TAG else f"{image}:{tag}"


def _credentials(user: str, secret: str | None) -> tuple[str, str] | None:
    return (user, secret) if secret else None
