"""Whatever a body or a query says, it is answered, never with a defect, and money is never made of it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.island.faces.dc1.stage import Stage

BODIES = [
    ("POST", "/api/renters/register"),
    ("POST", "/api/renters/topup"),
    ("POST", "/api/renters/1/topup"),
    ("PATCH", "/api/renters/settings"),
    ("POST", "/api/renters/send-otp"),
    ("POST", "/api/renters/verify-otp"),
    ("POST", "/api/renters/login-email"),
    ("POST", "/api/renters/me/keys"),
    ("POST", "/api/renters/1/keys"),
    ("POST", "/api/renters/1/webhooks"),
    ("POST", "/api/renters/me/templates"),
    ("POST", "/api/payments/topup"),
    ("POST", "/api/payments/topup-sandbox"),
    ("DELETE", "/api/renters/me"),
    ("POST", "/api/admin/renters/1/credit"),
    ("POST", "/api/admin/renters/1/balance"),
    ("POST", "/api/admin/bulk/renters"),
    ("POST", "/api/admin/payments/x/refund"),
    ("POST", "/api/admin/payments/x/confirm-topup"),
    ("POST", "/api/admin/containers/approve-image"),
    ("POST", "/api/admin/containers/scan-image"),
    ("PATCH", "/api/admin/pricing"),
]
QUERIES = [
    "/api/renters/jobs",
    "/api/renters/me/jobs",
    "/api/renters/me/analytics",
    "/api/renters/me/invoices",
    "/api/renters/1/transactions",
    "/api/renters/1/ledger",
    "/api/payments/history",
    "/api/admin/renters",
    "/api/admin/payments",
    "/api/admin/finance/transactions",
]
NAMES = [
    *("name", "email", "organization", "use_case", "phone", "amount_halala", "amount_sar", "payment_method"),
    *("webhook_url", "url", "secret", "events", "label", "scopes", "permissions", "expires_at", "confirm", "reason"),
    *("ids", "action", "image_ref", "digest", "image_type", "token"),
]
WORDS = st.sampled_from(
    ["a@b.sa", "inference", "job.failed", "credit", "suspend", "bank_transfer", "https://203.0.114.5/", "acme/tool:1"]
)
PLAIN = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=40) | WORDS
VALUES = st.recursive(PLAIN, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner))
OBJECTS = st.dictionaries(st.sampled_from(NAMES), VALUES, max_size=6) | VALUES


@dataclass
class Open:
    """A face that is open for all of a module's examples."""

    loop: asyncio.AbstractEventLoop
    stage: Stage

    def ask(self, method: str, target: str, body: bytes = b"") -> Any:
        """One exchange as the first renter and the operator at once."""
        headers = {"content-type": "application/json", "x-renter-key": self.stage.key, "x-admin-token": self.token}
        return self.loop.run_until_complete(self.stage.send(method, target, headers, body))

    token: str = "admin-token-for-tests"


@pytest.fixture(scope="module")
def face(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Open]:
    directory: Path = tmp_path_factory.mktemp("any")
    loop = asyncio.new_event_loop()
    stage = Stage(directory)
    loop.run_until_complete(stage.open())
    yield Open(loop, stage)
    loop.run_until_complete(stage.audit())
    loop.run_until_complete(stage.close())
    loop.close()


@pytest.mark.parametrize(("method", "path"), BODIES)
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(body=OBJECTS)
def test_any_body(face: Open, method: str, path: str, body: Any) -> None:
    answer = face.ask(method, path, json.dumps(body).encode("utf-8", "surrogatepass"))
    assert answer.status < 500 or answer.status == 503, (answer.json, body)
    assert isinstance(answer.json, dict)
    assert face.loop.run_until_complete(face.stage.balance()).amount >= 0


@pytest.mark.parametrize("path", QUERIES)
@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    query=st.dictionaries(
        st.sampled_from(["page", "limit", "offset", "status", "search", "period"]), st.text(max_size=30), max_size=4
    )
)
def test_any_query(face: Open, path: str, query: dict[str, str]) -> None:
    text = "&".join(f"{name}={quote(value, errors='surrogatepass')}" for name, value in query.items())
    answer = face.ask("GET", f"{path}?{text}")
    assert answer.status in (200, 400), answer.json


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(riyals=st.integers(1, 100_000))
def test_riyals_are_exact(face: Open, riyals: int) -> None:
    body = f'{{"amount_sar": {riyals // 100}.{riyals % 100:02d}}}'.encode()
    answer = face.ask("POST", "/api/renters/topup", body)
    assert answer.json["topped_up_halala"] == riyals
