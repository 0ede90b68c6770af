"""Who sent a request: the checks of section 2.5 in their order, the cheapest refusals first."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass

from sqlalchemy.exc import IntegrityError

from skerry.island.asgi import BodyTooLarge, Receive, Scope, read_body
from skerry.island.engine.engine import Engine
from skerry.island.faces.dispersed import admission
from skerry.island.faces.dispersed.account import key_pairs
from skerry.island.faces.dispersed.account.key_pairs import LONGEST_PUBLIC_KEY, StoredKey
from skerry.island.faces.dispersed.callers import ApiKey
from skerry.island.faces.dispersed.errors import Fault, bad_request
from skerry.island.faces.dispersed.wire import MOST_BODY_BYTES
from skerry.island.ground.windows import PerMinute
from skerry.island.store.values import micros
from skerry.networks.dispersed.signing import AUTH_HEADERS
from skerry.networks.dispersed.verification import Credentials, read_credentials, signature_matches

LONGEST_TARGET = 16_384
BIG_BYTES = 4096
"""Larger requests are taken apart in a thread, one at a time, so that nobody can keep the loop busy with them."""

_MOST_KNOWN = 4096
_SIGNATURE = re.compile(r"[0-9a-f]{64}")
_REFUSALS = {
    "MISSING_AUTH_HEADERS": "Send X-API-Key, X-Time, X-Nonce and X-Signature, each exactly once",
    "INVALID_TIMESTAMP": "X-Time must be Unix time in milliseconds",
    "TIMESTAMP_OUT_OF_RANGE": "X-Time is more than five minutes from this server's clock; see the Date header",
    "INVALID_NONCE": "X-Nonce must be 16 to 128 letters, digits, - or _",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Admitted:
    """A request whose sender is known.

    Args:
        key: what it was signed with.
        body: its bytes.
        now: when it was judged, microseconds since 1970.
    """

    key: ApiKey
    body: bytes
    now: int


class Authentication:
    """Judges requests.

    Args:
        engine: has the keys, the nonces and the clock.
        limit: of requests per key.
    """

    def __init__(self, engine: Engine, limit: PerMinute) -> None:
        self._engine = engine
        self._limit = limit
        # Only what never changes is remembered; whether a key is still good is asked of the database every time.
        self._known: dict[str, StoredKey] = {}
        self._big = asyncio.Semaphore(1)

    async def admit(self, scope: Scope, receive: Receive) -> Admitted:
        """The sender of a request, and its body; the nonce is used up.

        Raises:
            Fault: the first check that failed; or 413, 429.
            ClientGone: the client left in the middle.
        """
        now = micros(self._engine.clock.now())
        credentials = _credentials(scope, now // 1000)
        stored = await self._find(credentials.public_key)
        if not _SIGNATURE.fullmatch(credentials.signature):
            raise _invalid_signature()
        target = _target(scope)
        try:
            body = await read_body(scope, receive, MOST_BODY_BYTES)
        except BodyTooLarge:
            raise Fault(413, "PAYLOAD_TOO_LARGE", f"A body has at most {MOST_BODY_BYTES} bytes") from None
        if not await self._proven(credentials, stored.secret_key, scope, target, body):
            raise _invalid_signature()
        self._limit.take(stored.key.uuid)
        client = scope.get("client")
        try:
            await self._engine.store.run(
                admission.admit, stored.key, credentials.nonce, client[0] if client else None, now
            )
        except IntegrityError:
            # Another island on the same database was quicker with the same nonce.
            raise Fault(401, "NONCE_REUSED", "This nonce was used before") from None
        except Fault:
            self._limit.give_back(stored.key.uuid)
            raise
        return Admitted(key=stored.key, body=body, now=now)

    async def _find(self, public_key: str) -> StoredKey:
        found = self._known.get(public_key)
        if found is not None:
            return found
        if len(public_key) <= LONGEST_PUBLIC_KEY and public_key.isascii():
            found = await self._engine.store.read(key_pairs.find, self._engine.vault, public_key)
        if found is None:
            raise Fault(401, "INVALID_API_KEY", "This API key is not known here")
        if len(self._known) >= _MOST_KNOWN:
            self._known.clear()
        self._known[public_key] = found
        return found

    async def _proven(self, credentials: Credentials, secret_key: str, scope: Scope, target: str, body: bytes) -> bool:
        def work() -> bool:
            return signature_matches(
                credentials,
                secret_key,
                method=scope["method"],
                target=target,
                body=body,
                prefix=scope.get("root_path", ""),
            )

        if len(target) + len(body) <= BIG_BYTES:
            return work()
        async with self._big:
            return await asyncio.to_thread(work)


def _credentials(scope: Scope, now_ms: int) -> Credentials:
    headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"]]
    names = [name for name, _ in headers if name in AUTH_HEADERS]
    # Of two headers nobody can say which one was meant, and different readers would take different ones.
    found = "MISSING_AUTH_HEADERS" if len(names) != len(set(names)) else read_credentials(headers, now_ms)
    if isinstance(found, str):
        raise Fault(401, found, _REFUSALS[found])
    return found


def _target(scope: Scope) -> str:
    path, query = scope["raw_path"].split(b"?")[0], scope.get("query_string", b"")
    target: str = (path + b"?" + query if query else path).decode("latin-1")
    if len(target) > LONGEST_TARGET:
        raise bad_request(f"A path and its query have at most {LONGEST_TARGET} bytes")
    return target


def _invalid_signature() -> Fault:
    return Fault(401, "INVALID_SIGNATURE", "X-Signature is not the signature of this request by this key")
