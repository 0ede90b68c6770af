"""Every recorded `verify` case against the face itself, with the case's clock, keys and used nonces."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Connection

from skerry.island.faces.dispersed import tables
from skerry.island.faces.dispersed.account.key_pairs import KeyPair
from tests.island.faces.dispersed.stage import Stage
from tests.vectors.cases import find
from tests.vectors.dispersed_cases import SignedCase, load

pytestmark = pytest.mark.anyio

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    files = find("dispersed", metafunc.config.getoption("--vectors"))
    cases = [case for file in files for case in load(file) if case.kind == "verify"]
    metafunc.parametrize("case", cases, ids=[case.name for case in cases])


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
async def shared(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
    """One face for all cases; each begins without keys and nonces."""
    it = Stage(tmp_path_factory.mktemp("vectors"))
    await it.open()
    # The cases sign the path as a service at the root of its own host has it.
    it.mount, it.host = "", "dispersed.localhost"
    yield it
    it.mount = "/dispersed"
    await it.close()


@pytest.mark.parametrize("mount", ["host", "prefix"])
async def test_verdict_of_the_face(shared: Stage, case: SignedCase, mount: str) -> None:
    shared.mount, shared.host = ("", "dispersed.localhost:4242") if mount == "host" else ("/dispersed", "127.0.0.1")
    inputs, expected = case.inputs, case.content["expect"]
    request = inputs["request"]
    now = _EPOCH + timedelta(milliseconds=inputs["now_ms"])
    shared.clock.jump((now - shared.clock.now()).total_seconds())
    await shared.lab.engine.store.run(_clear)
    # The database was changed behind the face's back.
    shared.face._authentication._known.clear()
    for public_key, secret_key in inputs["known_keys"].items():
        await shared.grant(pair=KeyPair(public_key, secret_key))
    for nonce in inputs["used_nonces"]:
        key = next(iter(inputs["known_keys"]))
        await shared.insert(tables.nonces, public_key=key, nonce=nonce, seen_at=shared.now - 1)
    body = (request.get("body_text") or "").encode()
    answer = await shared.send(request["method"], request["target"], request["headers"], body)
    if expected["accept"]:
        assert answer.status not in (401, 403), answer.body
    else:
        assert (answer.status, answer.code) == (expected["status"], expected["code"])


def _clear(connection: Connection) -> None:
    connection.execute(tables.nonces.delete())
    connection.execute(tables.api_keys.delete())
