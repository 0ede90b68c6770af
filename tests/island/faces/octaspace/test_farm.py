"""The farm over real sockets, as the add-on uses it, with a double for Blender in real sandboxes."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import socket
import subprocess
import zipfile
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest
import uvicorn

from skerry.island.faces.octaspace.farm.app import Farm
from skerry.island.images.store import ImageStore
from skerry.island.protocol import AnnouncedServer
from skerry.island.workers.render import RenderWorkers, blender
from tests.island.render import render_lab
from tests.island.render.pictures import pixels
from tests.island.render.render_lab import PATIENCE
from tests.island.sandbox import sandbox_lab

pytestmark = pytest.mark.anyio

JOB = "0f8fad5b-d9cb-469f-a165-70867728950e"
TOKENS = {"ann-key": "ann", "ann-queue": "ann", "bob-key": "bob"}
QUEUE = {"Auth-Token": "ann-queue", "Sarfis-Version": "20241125", "Sarfis-Soft-Version": "20241125"}
STORE = {"authentication": "ann-key"}
PACKAGE = f"/{JOB}/input/package.zip"
DATA = {
    "id": JOB,
    "name": "shot",
    "status": "queued",
    "start": 1,
    "end": 2,
    "batch_size": 2,
    "frame_step": 1,
    "render_passes": {"Composite": {"name": "Composite", "files": {"out": "png"}}},
    "render_format": "PNG",
    "match_scene_format": False,
    "version": "20241125",
    "render_engine": "CYCLES",
    "blender_version": "blender45",
}
OPERATIONS = [
    {"operation": "stopwatch", "arguments": ["start", "frame"]},
    {"operation": "exe", "arguments": ["-b", "{node_folder}/shot.blend", "-y", "-s", "1", "-e", "2", "-a"]},
    {"operation": "octa_analytics", "arguments": ["{node_task}"]},
]


class Yard:
    """A farm, its workers, and a client of it."""

    def __init__(self, directory: Path, workers: RenderWorkers, farm: Farm, client: httpx2.AsyncClient) -> None:
        self.directory = directory
        self.workers = workers
        self.farm = farm
        self.client = client

    async def ask(self, asked: Any, *, headers: dict[str, str] | None = None) -> httpx2.Response:
        return await self.client.post("/qm/uber_api", json=asked, headers=headers or QUEUE)

    async def node_job(self, **changes: Any) -> Any:
        data = {name: value for name, value in {**DATA, **changes}.items() if value is not None}
        answer = await self.ask({"node_job": {"job_data": data, "operations": OPERATIONS}})
        assert answer.status_code == 200
        return answer.json()["node_job"]

    async def upload(self, content: bytes) -> None:
        answer = await self.client.put(f"{PACKAGE}?action=single-upload", content=content, headers=STORE)
        assert answer.status_code == 200, answer.text


@pytest.fixture
def scratch() -> Iterator[Path]:
    with sandbox_lab.scratch() as directory:
        yield directory


@contextlib.asynccontextmanager
async def farm_of(directory: Path, workers: RenderWorkers) -> AsyncIterator[Yard]:
    """A farm that listens, and a client of it."""

    async def authenticate(token: str) -> str | None:
        return TOKENS.get(token)

    farm = Farm(workers, directory / "farm", authenticate, most_bytes=1 << 20)
    listener = socket.create_server(("127.0.0.1", 0))
    server = AnnouncedServer(uvicorn.Config(farm, lifespan="off", log_config=None, timeout_graceful_shutdown=1))
    task = asyncio.create_task(server._serve([listener]))
    await server.answering.wait()
    try:
        base_url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        async with httpx2.AsyncClient(base_url=base_url, timeout=PATIENCE, trust_env=False) as client:
            yield Yard(directory, workers, farm, client)
    finally:
        server.end()
        await task


@pytest.fixture
async def yard(scratch: Path) -> AsyncIterator[Yard]:
    if not render_lab.PYTHON.exists():
        pytest.skip(f"the double for Blender is run by {render_lab.PYTHON}, which is not here")
    async with render_lab.opened(scratch, render_lab.double(scratch / "double")) as workers:
        await workers.recover(())
        async with farm_of(scratch, workers) as yard:
            yield yard


def package(directory: Path) -> bytes:
    """A package, as the add-on makes it; the double cannot unzip, so a plain scene is sent where it renders."""
    path = directory / "package.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("shot.blend", b"BLENDER{}")
        archive.writestr("textures/noise.png", os.urandom(5000))
        archive.writestr("enabled_addons.json", "[]")
    return path.read_bytes()


async def test_a_job_from_the_upload_to_its_frames(yard: Yard) -> None:
    content = render_lab.scene(yard.directory, name="shot").read_bytes()
    begun = (await yard.client.post(f"{PACKAGE}?action=mpu-create", headers=STORE)).json()["uploadId"]
    parts = []
    for number, piece in ((2, content[10:]), (1, content[:10])):
        query = f"action=mpu-uploadpart&uploadId={begun}&partNumber={number}"
        parts.append((await yard.client.put(f"{PACKAGE}?{query}", content=piece, headers=STORE)).json())
    assert parts[0] == {"partNumber": 2, "etag": hashlib.md5(content[10:]).hexdigest()}
    for _ in range(2):
        # The answer to the first may have been lost.
        done = await yard.client.post(
            f"{PACKAGE}?action=mpu-complete&uploadId={begun}", json={"parts": sorted(parts, key=str)}, headers=STORE
        )
        assert done.status_code == 200
    got = await yard.client.get(f"{PACKAGE}?octa_api_token=ann-key")
    assert (got.content, got.headers["content-length"]) == (content, str(len(content)))

    for _ in range(2):
        accepted = await yard.node_job(archive_size=len(content))
        assert accepted["status"] == "success"
    details = (await yard.ask({"job_details": {"job_id": JOB.upper()}})).json()["job_details"]
    assert details["status"] == "success"
    assert {name: details["body"][name] for name in ("start", "end", "batch_size", "render_format")} == {
        "start": 1,
        "end": 2,
        "batch_size": 2,
        "render_format": "PNG",
    }
    assert details["body"]["render_passes"] == DATA["render_passes"]

    frame = f"/{JOB}/output/0001.png"
    assert (await yard.client.get(frame, headers=STORE)).status_code == 404
    await yard.workers.start("w", queue="ann")
    (job,) = await yard.workers.jobs("ann")
    assert (await render_lab.finished(yard.workers, job.id)).done == 4
    assert (job.name, job.spec.scripts, job.spec.batch) == ("shot", True, 2)
    assert (await yard.client.get(frame, headers=STORE)).content == b"frame 1 of shot"
    head = await yard.client.head(f"/{JOB}/output/0004.png?action=get", headers=STORE)
    assert (head.status_code, head.headers["content-length"]) == (200, "15")
    for name in ("0005.png", "1.png", "00001.png", "0001.jpg", "%2e%2e", "pass/0001.png", "..%2f..%2frender.db"):
        assert (await yard.client.get(f"/{JOB}/output/{name}", headers=STORE)).status_code == 404
    assert (await yard.client.delete(f"{frame}?action=delete", headers=STORE)).status_code == 200
    assert (await yard.client.get(frame, headers=STORE)).status_code == 404

    await yard.farm.tidy(datetime.now(UTC) + timedelta(days=8), timedelta(days=7))
    assert await yard.workers.jobs() == []
    assert (await yard.client.get(PACKAGE, headers=STORE)).status_code == 404


async def test_a_package_as_the_add_on_makes_it(yard: Yard) -> None:
    content = package(yard.directory)
    await yard.upload(content)
    assert (await yard.node_job(archive_size=len(content)))["status"] == "success"


async def test_accounts_see_nothing_of_each_other(yard: Yard) -> None:
    await yard.upload(package(yard.directory))
    assert (await yard.node_job())["status"] == "success"
    bob = {"authentication": "bob-key"}
    assert (await yard.client.get(PACKAGE, headers=bob)).status_code == 404
    assert (await yard.client.get(f"/{JOB}/output/0001.png", headers=bob)).status_code == 404
    details = await yard.ask({"job_details": {"job_id": JOB}}, headers={"Auth-Token": "bob-key"})
    assert details.json()["job_details"]["status"] == "error"
    # The same id is another job under another account.
    answer = await yard.client.put(f"{PACKAGE}?action=single-upload", content=b"BLENDER{}", headers=bob)
    assert answer.status_code == 200
    assert (await yard.client.get(PACKAGE, headers=STORE)).content == package_of(yard.directory)


def package_of(directory: Path) -> bytes:
    return (directory / "package.zip").read_bytes()


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"id": "../../etc"}, "UUID"),
    ({"id": None}, "UUID"),
    ({"version": "20990101"}, "version"),
    ({"blender_version": "blender51"}, "Blender 4.5"),
    ({"blender_version": "rm -rf"}, "blender_version"),
    ({"archive_size": 3}, "archive_size"),
    ({"end": 10**6}, "frames"),
    ({"render_format": "{exec}"}, "written"),
    ({"render_passes": []}, "render_passes"),
    ({"id": "ffffffff-d9cb-469f-a165-70867728950e"}, "not uploaded"),
]


async def test_jobs_that_are_refused(yard: Yard) -> None:
    await yard.upload(package(yard.directory))
    for changes, word in REFUSED:
        answer = await yard.node_job(**changes)
        assert answer["status"] == "error"
        assert word in answer["body"]
    assert await yard.workers.jobs() == []


async def test_what_the_queue_manager_refuses(yard: Yard) -> None:
    for headers in ({}, {"Auth-Token": "x"}, {"Auth-Token": "y" * 4000}):
        answer = await yard.client.post("/qm/uber_api", json={}, headers=headers)
        assert answer.status_code == 401
    old = await yard.ask({}, headers={**QUEUE, "Sarfis-Version": "20200101"})
    assert old.status_code == 412
    assert (await yard.client.get("/qm/uber_api", headers=QUEUE)).status_code == 405
    for body in (b"", b"[]", b"{", b"[" * 100_000, b"\xff"):
        answer = await yard.client.post("/qm/uber_api", content=body, headers=QUEUE)
        assert answer.status_code == 400
    large = await yard.client.post("/qm/uber_api", content=b" " * ((1 << 20) + 1), headers=QUEUE)
    assert large.status_code == 413
    many = {f"job_details{number}": {} for number in range(101)}
    assert (await yard.ask(many)).status_code == 400
    mixed = (await yard.ask({"node_job": [], "job_details": {"job_id": JOB}, "shutdown": {}})).json()
    assert {name: found["status"] for name, found in mixed.items()} == dict.fromkeys(mixed, "error")
    assert len(mixed) == 3


async def test_what_the_storage_refuses(yard: Yard) -> None:
    client = yard.client
    assert (await client.get(PACKAGE)).status_code == 401
    assert (await client.put(f"{PACKAGE}?action=single-upload&octa_api_token=ann-key", content=b"x")).status_code == 401
    assert (await client.get("/no-uuid/input/package.zip", headers=STORE)).status_code == 400
    assert (await client.get(f"/{JOB}/input/other.zip", headers=STORE)).status_code == 404
    assert (await client.get("/%ff", headers=STORE)).status_code == 400
    assert (await client.put(f"/{JOB}/output/0001.png?action=single-upload", headers=STORE)).status_code == 405
    assert (await client.patch(PACKAGE, headers=STORE)).status_code == 405
    # Beyond what one account may keep, in one piece or in several.
    assert (
        await client.put(f"{PACKAGE}?action=single-upload", content=b"x" * (2 << 20), headers=STORE)
    ).status_code == 413
    begun = (await client.post(f"{PACKAGE}?action=mpu-create", headers=STORE)).json()["uploadId"]
    part = f"{PACKAGE}?action=mpu-uploadpart&uploadId={begun}&partNumber="
    statuses = [
        (await client.put(f"{part}{number}", content=b"x" * (400 << 10), headers=STORE)).status_code
        for number in range(1, 4)
    ]
    assert statuses == [200, 200, 413]
    for number in ("0", "-1", "x", "10001", "1/../2"):
        assert (await client.put(f"{part}{number}", content=b"x", headers=STORE)).status_code == 400
    complete = f"{PACKAGE}?action=mpu-complete&uploadId={begun}"
    for parts in (None, [], [{}], [{"partNumber": 1, "etag": "../../x"}], [{"partNumber": 1, "etag": "0" * 32}]):
        answer = await client.post(complete, json={"parts": parts}, headers=STORE)
        assert answer.status_code == 400, parts
    for upload in ("", "..", "0" * 32):
        answer = await client.delete(f"{PACKAGE}?action=mpu-abort&uploadId={upload}", headers=STORE)
        assert answer.status_code == 404
    assert (await client.delete(f"{PACKAGE}?action=mpu-abort&uploadId={begun}", headers=STORE)).status_code == 200
    assert (await client.delete(f"{PACKAGE}?action=delete", headers=STORE)).status_code == 404
    await yard.upload(b"x" * (1 << 19))
    assert (await client.delete(f"{PACKAGE}?action=delete", headers=STORE)).status_code == 200


async def test_abandoned_uploads_are_swept(yard: Yard) -> None:
    begun = (await yard.client.post(f"{PACKAGE}?action=mpu-create", headers=STORE)).json()["uploadId"]
    await yard.farm.tidy(datetime.now(UTC), timedelta(days=7))
    assert list(yard.directory.glob(f"farm/*/*/uploads/{begun}"))
    await yard.farm.tidy(datetime.now(UTC) + timedelta(days=4), timedelta(days=7))
    assert not list(yard.directory.glob(f"farm/*/*/uploads/{begun}"))


async def test_a_body_that_is_cut_leaves_nothing(yard: Yard) -> None:
    def half() -> list[Path]:
        return list(yard.directory.glob("farm/*/*/.new-*"))

    async def body() -> AsyncIterator[bytes]:
        yield b"BLENDER"
        while not half():
            await asyncio.sleep(0.01)
        raise ConnectionError

    with pytest.raises(ConnectionError):
        await yard.client.put(
            f"{PACKAGE}?action=single-upload", content=body(), headers={**STORE, "content-length": "100"}
        )
    async with asyncio.timeout(PATIENCE):
        while half():
            await asyncio.sleep(0.01)
    assert (await yard.client.get(PACKAGE, headers=STORE)).status_code == 404


async def test_with_a_real_blender(scratch: Path) -> None:
    found = blender.candidates(Path("/nonexistent"))
    if not found:
        pytest.skip(f"Blender is not tested: {blender.available(Path('/nonexistent'))}")
    script = Path(__file__).parents[2] / "render" / "scene_script.py"
    done = subprocess.run(found[0].command(str(script), str(scratch / "shot.blend")), capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    with zipfile.ZipFile(scratch / "package.zip", "w") as archive:
        archive.write(scratch / "shot.blend", "shot.blend")
        archive.writestr("enabled_addons.json", "[]")
    content = package_of(scratch)
    images = ImageStore(scratch / "images")
    async with render_lab.opened(scratch, found[0], images=images) as workers, farm_of(scratch, workers) as yard:
        await workers.recover(())
        await workers.start("w", queue="ann")
        await yard.upload(content)
        release = "blender{}{}".format(*found[0].release)
        data = {"start": 1, "end": 2, "batch_size": 1, "frame_step": 4, "blender_version": release}
        accepted = await yard.node_job(**data, archive_size=len(content))
        assert accepted["status"] == "success", accepted
        (job,) = await workers.jobs("ann")
        ended = await render_lab.finished(workers, job.id)
        assert ended.state == "finished", (await workers.log(job.id)).decode()
        for frame in ("0001.png", "0005.png"):
            answer = await yard.client.get(f"/{JOB}/output/{frame}", headers=STORE)
            assert pixels(answer.content)[:2] == (64, 64)
