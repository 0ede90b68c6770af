"""A node's operator by the network's own client, over real sockets."""

from __future__ import annotations

import io
import json
import tarfile
import time
from collections.abc import Callable, Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from skerry.errors import NotFoundError
from skerry.island.admin.auth import owner_key
from skerry.island.faces.octaspace.nodes.erlang_terms import term_to_binary
from skerry.island.island import Island
from skerry.networks.octaspace import OctaSpace

PATIENCE = 60.0


@pytest.fixture(scope="module")
def island() -> Iterator[Island]:
    with Island() as it:
        yield it


@pytest.fixture(scope="module")
def client(island: Island) -> Iterator[OctaSpace]:
    with island.octaspace() as octa:
        yield octa


@pytest.fixture(scope="module")
def node(client: OctaSpace) -> int:
    found = client.nodes.list()[0].id
    assert found is not None
    return found


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def operate(island: Island, method: str, path: str, body: Any = None) -> Any:
    parts = urlsplit(island.base_url("octaspace"))
    connection = HTTPConnection(parts.netloc, timeout=PATIENCE)
    try:
        headers = {"authorization": f"Bearer {owner_key(island.data_dir)}"}
        connection.request(method, f"{parts.path}/admin{path}", json.dumps(body) if body else None, headers)
        answer = connection.getresponse()
        content = answer.read()
        assert answer.status < 300, content
        return json.loads(content)
    finally:
        connection.close()


def test_ident_and_logs_arrive_whole(client: OctaSpace, node: int, tmp_path: Path) -> None:
    content = client.nodes.download_ident(node)
    assert content[0] == 0x83
    assert 40 < len(content) <= len(term_to_binary({"token": "0" * 64}))
    saved = tmp_path / "logs.tar.gz"
    client.nodes.save_logs(node, saved)
    with tarfile.open(fileobj=io.BytesIO(saved.read_bytes()), mode="r:gz") as tar:
        assert {"logs/node.json", "logs/system.log"} <= set(tar.getnames())
    with pytest.raises(NotFoundError):
        client.nodes.download_ident(999)


def test_prices_and_a_reboot(client: OctaSpace, node: int) -> None:
    client.nodes.update_prices(node, base=7, storage=8, traffic=9)
    (listed,) = [one for one in client.nodes.list() if one.id == node]
    assert listed.prices is not None
    assert (listed.prices.base, listed.prices.storage, listed.prices.traffic) == (7, 8, 9)
    session = client.services.mr.start(node, disk_size=1, image="host")
    session.wait_ready(timeout=PATIENCE, poll=0.02)
    client.nodes.reboot(node)
    client.nodes.reboot(node)
    ended = session.wait_finished(timeout=PATIENCE, poll=0.02)
    assert ended.termination == "node lost"
    until(lambda: client.nodes.get(node).state == "idle")


def test_an_idle_job_makes_way(island: Island, client: OctaSpace, node: int) -> None:
    line = "sh -c 'echo working; while :; do sleep 0.05; done'"
    operate(island, "POST", "/idle_jobs", {"node_id": node, "image": "host", "start_command": line})
    until(lambda: client.idle_jobs.get(node, 1).is_up is True)
    until(lambda: client.idle_jobs.logs(node, 1) == "working\n")
    session = client.services.mr.start(node, disk_size=1, image="host")
    until(lambda: client.idle_jobs.get(node, 1).is_up is False)
    session.stop()
    until(lambda: client.idle_jobs.get(node, 1).is_up is True)
    operate(island, "DELETE", f"/idle_jobs/{node}/1")
    with pytest.raises(NotFoundError):
        client.idle_jobs.get(node, 1)
