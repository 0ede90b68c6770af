"""One island per module, and raw conversations with it."""

from __future__ import annotations

import http.client
import json
import secrets
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeVar
from urllib.parse import urlsplit

import pytest

from skerry.island.island import Island
from tests.answers import Answer

T = TypeVar("T")
PATIENCE = 60


@dataclass
class Raw:
    """Plain HTTP to one base URL, with a key on every request; knows nothing of any SDK."""

    base_url: str
    key: str | None
    made: list[str] = field(default_factory=list)

    def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        headers: dict[str, str] | None = None,
        key: str | None = "",
        raw: bytes | None = None,
        timeout: float = 60.0,
    ) -> Answer:
        """One exchange on a connection of its own; `path` may be an absolute URL."""
        url = urlsplit(path if "://" in path else self.base_url + path)
        assert url.hostname
        connection = http.client.HTTPConnection(url.hostname, url.port, timeout=timeout)
        fields = dict(headers or {})
        token = self.key if key == "" else key
        if token is not None:
            fields.setdefault("authorization", f"Bearer {token}")
        data = raw
        if body is not None:
            data = json.dumps(body).encode()
            fields.setdefault("content-type", "application/json")
        try:
            connection.request(method, url.path + (f"?{url.query}" if url.query else ""), body=data, headers=fields)
            response = connection.getresponse()
            content = response.read()
            return Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, content)
        finally:
            connection.close()

    def ok(self, method: str, path: str, body: Any = None, **options: Any) -> Any:
        """The parsed answer, which must be a success."""
        answer = self.request(method, path, body, **options)
        assert answer.status == 200, (answer.status, answer.body[:500])
        assert answer.headers["content-type"] == "application/json"
        return answer.json

    def fails(self, status: int, code: str, method: str, path: str, body: Any = None, **options: Any) -> str:
        """The message of the flat error envelope, which must be the answer."""
        answer = self.request(method, path, body, **options)
        assert answer.status == status, (answer.status, answer.body[:500])
        assert set(answer.json) == {"code", "message"}
        assert answer.json["code"] == code
        assert isinstance(answer.json["message"], str)
        assert answer.json["message"]
        message: str = answer.json["message"]
        return message

    def fork(self, source: str = "ubuntu", **body: Any) -> str:
        """A new VM; deleted at the end of the test."""
        vm_id: str = self.ok("POST", f"/v1/vms/{source}/fork", body)["vm_id"]
        self.made.append(vm_id)
        return vm_id

    def run(self, vm_id: str, command: str, **body: Any) -> Any:
        """The answer to a run."""
        return self.ok("POST", f"/v1/vms/{vm_id}/run", {"command": command, **body})

    def out(self, vm_id: str, command: str, **body: Any) -> str:
        """The standard output of a run that must succeed."""
        answer = self.run(vm_id, command, **body)
        assert answer["exit_code"] == 0, answer
        text: str = answer["stdout"]
        return text

    @staticmethod
    def until(condition: Callable[[], T], what: str) -> T:
        """The first true value of a condition, asked again and again for at most `PATIENCE` seconds."""
        deadline = time.monotonic() + PATIENCE
        while not (value := condition()):
            if time.monotonic() > deadline:
                pytest.fail(f"{what}: not within {PATIENCE} s")
            time.sleep(0.005)
        return value

    def ended(self, vm_id: str, run_id: str) -> dict[str, Any]:
        """The status of a run once it is over."""

        def over() -> dict[str, Any] | None:
            status: dict[str, Any] = self.ok("GET", f"/v1/vms/{vm_id}/runs/{run_id}")
            assert status["completed"] or status["exit_code"] is None
            return status if status["completed"] else None

        return self.until(over, f"the end of run {run_id}") or {}

    def shows(self, vm_id: str, run_id: str, stdout: str) -> dict[str, Any]:
        """The status of a run once its output is this."""

        def there() -> dict[str, Any] | None:
            status: dict[str, Any] = self.ok("GET", f"/v1/vms/{vm_id}/runs/{run_id}")
            assert stdout.startswith(status["stdout"]), status
            assert not status["completed"] or status["stdout"] == stdout, status
            return status if status["stdout"] == stdout else None

        return self.until(there, f"{stdout!r} from run {run_id}") or {}

    def appears(self, vm_id: str, name: str) -> None:
        """Wait, in a session of its own, until a file is in the home directory."""
        session = self.ok("POST", f"/v1/vms/{vm_id}/sessions", {})["session_id"]
        self.out(vm_id, f"until [ -e {name} ]; do sleep 0.02; done", session_id=session, timeout=PATIENCE * 1000)

    @staticmethod
    def unique() -> str:
        """A text that is nowhere else."""
        return f"skerry-{secrets.token_hex(8)}"

    def sync(self, vm_id: str, **body: Any) -> Any:
        """The answer of sync."""
        return self.ok("POST", f"/v1/vms/{vm_id}/sync", body)


@pytest.fixture(scope="module")
def island() -> Iterator[Island]:
    with Island() as island:
        yield island


@pytest.fixture
def raw(island: Island) -> Iterator[Raw]:
    """The island's first account at its normal endpoint."""
    raw = Raw(island.base_url("arker"), island.key("arker"))
    yield raw
    for vm_id in raw.made:
        raw.request("DELETE", f"/v1/vms/{vm_id}")


@pytest.fixture
def stranger(island: Island) -> Iterator[Raw]:
    """Another account of the same island, with money to spend."""

    async def make() -> str:
        from skerry.money import Money

        account = await island.engine.accounts.create("stranger")
        await island.engine.ledger.grant(account.id, Money(1_000_000, "USD"), f"test-{account.id}")
        _, key = await island.engine.accounts.create_key(account.id, "arker")
        return key

    raw = Raw(island.base_url("arker"), island.call(make()))
    yield raw
    for vm_id in raw.made:
        raw.request("DELETE", f"/v1/vms/{vm_id}")
