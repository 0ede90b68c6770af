"""What the island tells renters by itself, and how often it lets itself be asked."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from skerry.errors import InvalidRequestError, RateLimitedError
from skerry.island.clock import SystemClock
from skerry.island.faces.dc1.renters import deliveries
from skerry.island.island import Island
from skerry.island.settings import DC1
from skerry.networks.dc1 import verify_callback
from tests.conformance.dc1 import PATIENCE, Skipping, ended, eventually, renting, script
from tests.loopback import Handler, serving

SECRET = "a secret of sixteen characters"


class Receiver:
    """A renter's server: refuses the first callback it gets, and keeps the rest."""

    def __init__(self, refuse: int = 1) -> None:
        self.got: list[tuple[dict[str, str], bytes]] = []
        self.refused = 0
        receiver = self

        class Answering(Handler):
            def do_POST(self) -> None:
                body = self.content()
                if receiver.refused < refuse:
                    receiver.refused += 1
                    self.send_error(503)
                    return
                receiver.got.append((self.fields(), body))
                self.send_response(204)
                self.end_headers()

        self.url = ""
        self.handler = Answering


class Still(Skipping):
    """A clock that only stands ahead: what is asked to be waited for is then no matter of how long the asking took."""

    def __init__(self) -> None:
        super().__init__()
        self._begun = SystemClock().now(), SystemClock().monotonic()

    def now(self) -> datetime:
        return self._begun[0] + timedelta(seconds=self.ahead)

    def monotonic(self) -> float:
        return self._begun[1] + self.ahead


@contextmanager
def receiving(refuse: int = 1) -> Iterator[Receiver]:
    receiver = Receiver(refuse)
    with serving(receiver.handler) as url:
        receiver.url = f"{url}/hook"
        yield receiver


def test_callbacks_are_signed_and_repeated_until_they_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    # An answer that comes late is none, and the callback comes again.
    monkeypatch.setattr(deliveries, "SECONDS", PATIENCE)
    with (
        Island(dc1=DC1(allow_private_webhooks=True, rates=(("all", None),))) as island,
        receiving() as receiver,
        renting(island, "sync") as client,
    ):
        key = island.key("dc1")
        client.renters.settings(webhook_url=receiver.url)
        renter = client.me()
        hook = client.webhooks.create(renter.id, url=receiver.url, secret=SECRET, events=["job.failed"])
        assert hook
        done = script(client, "print('done')")
        failed = script(client, "raise SystemExit('no luck')")
        assert ended(client, done).ok
        assert not ended(client, failed).ok
        eventually(lambda: len(receiver.got) == 3, "three callbacks")
        told: dict[tuple[str, str], int] = {}
        for headers, body in receiver.got:
            event = json.loads(body)
            registered = verify_callback(SECRET, body, headers["x-dcp-signature"])
            assert registered or verify_callback(key, body, headers["x-dcp-signature"])
            assert not verify_callback("another key", body, headers["x-dcp-signature"])
            name = "webhook" if registered else "url"
            told[name, event["event"]] = told.get((name, event["event"]), 0) + 1
            assert event["job"]["job_id"] == (done if event["event"] == "job.completed" else failed)
        assert told == {("url", "job.completed"): 1, ("url", "job.failed"): 1, ("webhook", "job.failed"): 1}


def test_callbacks_do_not_reach_this_machine_unless_its_owner_says_so() -> None:
    with Island(dc1=DC1(local_provider=False)) as island, renting(island, "sync") as client:
        for url in ("https://127.0.0.1/hook", "http://example.com/hook", "https://localhost/hook", "https://10.0.0.1/"):
            with pytest.raises(InvalidRequestError):
                client.renters.settings(webhook_url=url)


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_waiting_takes_as_long_as_a_rate_limit_asks(tmp_path: Path, kind: str) -> None:
    clock = Still()
    asked: list[float] = []

    def wait(seconds: float, _: Any = None) -> None:
        asked.append(seconds)
        clock.ahead += seconds

    async def later(seconds: float, _: Any = None) -> None:
        wait(seconds)

    limits = DC1(rates=(("all", 4), ("submit", 1)), local_provider=False)
    with Island(data_dir=tmp_path / "data", dc1=limits, clock=clock) as island:
        sleeper = later if kind == "async" else wait
        with renting(island, kind, sleeper=sleeper) as client:
            job_id = client.jobs.create(job_type="benchmark", duration_minutes=1, params={}).job.id
            with pytest.raises(RateLimitedError) as refused:
                client.jobs.create(job_type="benchmark", duration_minutes=1, params={})
            assert 0 < refused.value.retry_after <= 60
            looks: list[str] = []
            # The key has no request left but two; the cancellation, in the next window, takes one more.
            with renting(island, "sync") as other:

                def seen(output: Any) -> None:
                    looks.append(output.status)
                    if len(looks) == 3:
                        other.cancel_job(job_id)

                begun = clock.ahead
                output = client.jobs.wait(job_id, poll_interval=0.5, on_progress=seen)
    assert (output.status, looks) == ("cancelled", ["queued", "queued", "queued", "cancelled"])
    assert max(asked) > 50
    assert clock.ahead - begun < 130
