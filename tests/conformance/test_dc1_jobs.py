"""Jobs of an island over real sockets, by the library's own client: followed, stopped, tried again, paid for."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from skerry.island.island import Island
from skerry.island.settings import DC1 as Choices
from skerry.networks.dc1 import DC1
from skerry.networks.dc1.errors import APIError
from skerry.networks.dc1.outputs import TextResult

SLOW = "import time\nfor number in range(3):\n    print('line', number, flush=True)\n    time.sleep(0.2)\n"
ENDLESS = "import time\nprint('begun', flush=True)\ntime.sleep(600)\n"


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Island]:
    choices = Choices(rates=(("all", None),))
    with Island(data_dir=tmp_path_factory.mktemp("jobs") / "data", dc1=choices) as island:
        yield island


@pytest.fixture
def client(here: Island) -> Iterator[DC1]:
    with DC1(here.key("dc1"), base_url=here.base_url("dc1")) as found:
        yield found


def submit(client: DC1, script: str, minutes: float = 5) -> str:
    made = client.jobs.create(job_type="custom_container", duration_minutes=minutes, params={"script": script})
    return made.name


def test_followed_to_its_end(client: DC1) -> None:
    job = submit(client, SLOW + "print('DC1_RESULT_JSON:{\"sum\": 3}')\n")
    lines = [line.message for line in client.jobs.stream_logs(job)]
    assert [line for line in lines if line.startswith("line")] == ["line 0", "line 1", "line 2"]
    found = client.jobs.output(job)
    assert found.ok
    assert isinstance(found.result, TextResult)
    assert found.result.data == {"sum": 3}
    kinds = [event.event_type for event in client.jobs.stream_lifecycle(job)]
    assert (kinds[0], kinds[-1]) == ("job.submitted", "job.completed")
    assert next(event.status for event in client.jobs.stream(job)) == "completed"
    invoice = client.jobs.invoice(job)
    assert invoice.gross == found.cost
    assert client.jobs.invoice_pdf(job).startswith(b"%PDF-1.4")
    (tried,) = client.jobs.executions(job).executions
    assert tried.exit_code == 0


def test_stopped_while_it_is_followed(client: DC1) -> None:
    before = client.wallet.balance().balance_halala
    job = submit(client, ENDLESS)
    seen: list[str] = []

    def follow() -> None:
        seen.extend(line.message for line in client.jobs.stream_logs(job))

    follower = threading.Thread(target=follow)
    follower.start()
    deadline = time.monotonic() + 60
    while "begun" not in seen_so_far(client, job):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    cancelled = client.jobs.cancel(job)
    assert (cancelled.status, cancelled.refunded_halala) == ("cancelled", 50)
    follower.join(60)
    assert not follower.is_alive()
    assert "begun" in seen
    assert client.wallet.balance().balance_halala == before
    with pytest.raises(APIError, match="Cannot cancel job with status: cancelled"):
        client.jobs.cancel(job)


def seen_so_far(client: DC1, job: str) -> list[str]:
    return [line.message for line in client.jobs.logs(job).logs]


def test_tried_again(client: DC1) -> None:
    job = submit(client, "raise SystemExit('no')\n")
    assert client.jobs.wait(job, timeout=60).status == "failed"
    again = client.jobs.retry(job)
    assert again.name != job
    assert client.jobs.wait(again.name, timeout=60).status == "failed"
    assert client.jobs.describe(again.name).error == client.jobs.describe(job).error


def test_paid_for_when_it_is_stopped(client: DC1) -> None:
    job = submit(client, ENDLESS)
    deadline = time.monotonic() + 60
    while client.jobs.describe(job).status != "running":
        assert time.monotonic() < deadline
        time.sleep(0.05)
    settled = client.jobs.complete(job)
    assert settled.job is not None
    assert settled.job.status == "completed"
    assert client.jobs.output(job).ok


def test_a_client_that_hangs_up(client: DC1, here: Island) -> None:
    job = submit(client, ENDLESS)
    for _ in range(3):
        lines = client.jobs.stream_logs(job)
        assert next(lines).message
        lines.close()
    assert client.jobs.cancel(job).status == "cancelled"
