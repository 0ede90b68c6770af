"""Recording and replaying."""

from __future__ import annotations

from pathlib import Path

import pytest

from skerry._io._async.recording import AsyncRecordingTransport, AsyncReplayTransport
from skerry._io.cassette import Cassette
from skerry._kernel.request import BodySource, Request, Response, TransportFailure
from skerry.errors import SkerryError
from tests.io.script import AsyncScripted, answer

pytestmark = pytest.mark.anyio

KEY = "ark_live_0123456789abcdef"


async def test_what_was_recorded_is_played(tmp_path: Path) -> None:
    steps = (
        answer(200, {"a": 1}, x_request_id="r"),
        Response(206, body=b"\xff\x00"),
        TransportFailure("cut", "timeout"),
    )
    script = AsyncScripted(*steps)
    recorder = AsyncRecordingTransport(script, Cassette())
    requests = [
        Request("POST", "https://h.test/x?signature=abc", (("authorization", f"Bearer {KEY}"),), b'{"k": "v"}'),
        Request("PUT", "https://h.test/y", body=BodySource(lambda: iter([b"\x00", b"\xff"]), 2)),
        Request("GET", f"https://h.test/{KEY}/z", secret=True),
    ]
    for request in requests[:2]:
        await recorder.send(request)
    with pytest.raises(TransportFailure):
        await recorder.send(requests[2])
    await recorder.aclose()
    assert script.closed == 1
    file = tmp_path / "tape.json"
    recorder.cassette.save(file)
    text = file.read_text()
    assert KEY not in text
    assert "abc" not in text
    player = AsyncReplayTransport(Cassette.load(file))
    first = await player.send(requests[0])
    assert (first.status, first.body, first.request_id) == (200, b'{"a": 1}', "r")
    async with player.stream(requests[1]) as streamed:
        assert (await streamed.aread()).body == b"\xff\x00"
    assert not player.cassette.finished
    with pytest.raises(TransportFailure, match="cut") as caught:
        await player.send(requests[2])
    assert caught.value.kind == "timeout"
    assert player.cassette.finished
    with pytest.raises(SkerryError, match="nothing more was recorded"):
        await player.send(requests[0])
    await player.aclose()


async def _read(transport: AsyncRecordingTransport, request: Request) -> Response:
    async with transport.stream(request) as streamed:
        return await streamed.aread()


async def test_streams_are_recorded_as_far_as_read() -> None:
    recorder = AsyncRecordingTransport(AsyncScripted(answer(200, "x"), TransportFailure("cut")), Cassette())
    request = Request("GET", "https://h.test/")
    assert (await _read(recorder, request)).body == b'"x"'
    with pytest.raises(TransportFailure):
        await _read(recorder, request)
    outcomes = [exchange.get("response", exchange.get("failure")) for exchange in recorder.cassette.exchanges]
    assert outcomes[0]["body"] == '"x"'
    assert outcomes[1] == {"message": "cut", "kind": "broken"}


@pytest.mark.parametrize(
    ("other", "part"),
    [
        (Request("PUT", "https://h.test/a", body=b"1"), "method"),
        (Request("POST", "https://h.test/b", body=b"1"), "url"),
        (Request("POST", "https://h.test/a", body=b"2"), "body"),
    ],
)
async def test_another_request_is_refused(other: Request, part: str) -> None:
    cassette = Cassette()
    cassette.record(Request("POST", "https://h.test/a", body=b"1"), Response(200))
    with pytest.raises(SkerryError, match=f"with {part}"):
        await AsyncReplayTransport(cassette).send(other)


async def test_other_files_are_no_cassettes(tmp_path: Path) -> None:
    file = tmp_path / "x.json"
    file.write_text("[]")
    with pytest.raises(SkerryError, match="not a cassette"):
        Cassette.load(file)
