"""How Dispersed's recorded cases (section 2.9) are put to a client and to the functions of a verifier."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from skerry._kernel.effects import Effects
from skerry._kernel.request import Request, Response
from skerry.networks.dispersed.verification import read_credentials, signature_matches
from tests.io.script import answer

BASE = "https://api.test"
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_LISTS = ("list", "rewards", "ledger_authorizations", "ledger_transactions")


@dataclass(frozen=True)
class SignedCase:
    """One recorded case.

    Attributes:
        name: unique in its file.
        kind: `sign` or `verify`.
        inputs: what is given.
        call: the upstream call that leads to it, if there is one.
        content: the whole record, for what is expected.
    """

    name: str
    kind: str
    inputs: dict[str, Any]
    call: dict[str, Any] | None
    content: dict[str, Any] = field(repr=False)


def load(path: Path) -> list[SignedCase]:
    """All cases of a file."""
    records = json.loads(path.read_text(encoding="utf-8"))
    return [
        SignedCase(record["case"], record["kind"], record["inputs"], record.get("call"), record) for record in records
    ]


def effects_of(case: SignedCase) -> Effects:
    """The recorded time and nonce as clock and chance."""
    nonce = case.inputs["nonce"]
    return Effects(
        monotonic=lambda: 0.0,
        unix_ms=lambda: int(case.inputs["timestamp_ms"]),
        random=lambda: 0.0,
        entropy=lambda count: _Nonce(nonce),
    )


class _Nonce(bytes):
    """Stands for the random bytes whose hex text is the recorded nonce, which need not be hex at all."""

    def __new__(cls, text: str) -> _Nonce:
        nonce = super().__new__(cls)
        nonce.text = text
        return nonce

    text: str

    def hex(self, *arguments: Any) -> str:  # type: ignore[override]
        return self.text


def answer_to(request: Request) -> Response:
    """An empty page for lists and an object for everything else, whichever the client can use."""
    return answer(200, {"object": "any", "data": [], "page": 1, "limit": 20, "total": 0})


def invoke(client: Any, case: SignedCase) -> Any:
    """Make the recorded call, or the bare request where no call is recorded; may return something to be awaited."""
    if case.call is not None:
        target = client
        for name in case.call["method"].split("."):
            target = getattr(target, _CAMEL.sub("_", name).lower())
        return target(*case.call["args"])
    inputs = case.inputs
    query = inputs["query"]
    parameters = None if query is None else [(name, value) for name, value in query]
    body = {"body": inputs["body"]} if inputs["has_body"] else {}
    return client.request(inputs["method"], inputs["path"], parameters, **body)


def check_sent(case: SignedCase, sent: list[Request]) -> None:
    """Compare what was sent with what was recorded, byte for byte."""
    assert len(sent) == 1
    request, expected = sent[0], case.content
    parts = urlsplit(request.url)
    target = parts.path + (f"?{parts.query}" if parts.query else "")
    assert target == expected["wire_target"]
    assert parts.query == expected["canonical_query"]
    assert request.method == case.inputs["method"].upper()
    body = expected["canonical_body"]
    assert request.body == (None if body is None else body.encode())
    assert request.header("x-signature") == expected["signature"]
    for name, value in expected["headers"].items():
        assert request.header(name) == value, name
    if body is None:
        assert request.header("content-type") is None


def verdict(case: SignedCase) -> str | None:
    """What a verifier answers, in the order of section 2.5: the code of a refusal, None for acceptance.

    The functions are those of the package; the tables of keys and nonces, which are a server's, are the recorded ones.
    """
    inputs, request = case.inputs, case.inputs["request"]
    found = read_credentials(request["headers"].items(), inputs["now_ms"])
    if isinstance(found, str):
        return found
    secret = inputs["known_keys"].get(found.public_key)
    if secret is None:
        return "INVALID_API_KEY"
    body = (request.get("body_text") or "").encode()
    if not signature_matches(found, secret, method=request["method"], target=request["target"], body=body):
        return "INVALID_SIGNATURE"
    return "NONCE_REUSED" if found.nonce in inputs["used_nonces"] else None
