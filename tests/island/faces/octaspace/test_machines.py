"""Machine rental from the start to the bill."""

from __future__ import annotations

import pytest

from tests.island.faces.octaspace.stage import Stage

pytestmark = pytest.mark.anyio


async def test_a_session_from_start_to_stop(stage: Stage) -> None:
    node, *_ = await stage.nodes()
    uuid = await stage.rent(node, ports=[22, 3000], http_ports=[8080], envs={"MY_VAR": "hello"})
    info = await stage.ready(uuid)
    print(info)
    await stage.ok("POST", f"/services/{uuid}/stop", {"score": 5})
    print(await stage.finished(uuid))
    print(await stage.ok("GET", f"/services/{uuid}/logs?recent=true"))
