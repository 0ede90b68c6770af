"""The Dispersed face as an ASGI application: authentication, dispatch, idempotency, envelopes."""

from __future__ import annotations

import asyncio
import logging
import re
import secrets
from contextlib import AsyncExitStack
from email.utils import format_datetime

from sqlalchemy import Connection

from skerry.island.admin.auth import admits, owner_key
from skerry.island.asgi import ClientGone, Receive, Scope, Send, header, raw_path
from skerry.island.engine.engine import Engine
from skerry.island.faces.dispersed import admission, replays, routes, wire
from skerry.island.faces.dispersed.account import first_pair
from skerry.island.faces.dispersed.account.accounts import AccountViews
from skerry.island.faces.dispersed.account.api_keys import ApiKeys
from skerry.island.faces.dispersed.account.ledger import LedgerViews
from skerry.island.faces.dispersed.account.ssh_public_keys import SshPublicKeys
from skerry.island.faces.dispersed.authentication import Admitted, Authentication
from skerry.island.faces.dispersed.bodies import read_json
from skerry.island.faces.dispersed.call import Answer, Call, Route
from skerry.island.faces.dispersed.errors import Fault, bad_request, envelope, fault_of, too_many
from skerry.island.faces.dispersed.jobs.job_rows import any_live
from skerry.island.faces.dispersed.jobs.job_runs import JobRuns
from skerry.island.faces.dispersed.jobs.jobs import Jobs
from skerry.island.faces.dispersed.jobs.scheduler import Scheduler
from skerry.island.faces.dispersed.nodes import local_node
from skerry.island.faces.dispersed.nodes.gpu_registry import GpuRegistry
from skerry.island.faces.dispersed.nodes.node_protocol import NodeProtocol
from skerry.island.faces.dispersed.nodes.node_reports import NodeReports
from skerry.island.faces.dispersed.nodes.node_views import NodeViews
from skerry.island.faces.dispersed.nodes.offers import Offers
from skerry.island.faces.dispersed.nodes.reward_views import RewardViews
from skerry.island.faces.dispersed.operator import Operator
from skerry.island.faces.dispersed.recipes.recipes import Recipes
from skerry.island.faces.dispersed.writing import Done, carry_out
from skerry.island.gateway import Tunnel, refuse
from skerry.island.ground.answers import Header, reply
from skerry.island.ground.rounds import Rounds
from skerry.island.ground.routes import Router
from skerry.island.ground.texts import iso
from skerry.island.ground.windows import PerMinute
from skerry.island.store.values import micros
from skerry.networks.dispersed.verification import query_pairs

NETWORK = "dispersed"
_SIGNATURE = b"x-signature"
COLLECT_SECONDS = 600.0

_BAD_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_IDEMPOTENCY_KEY = re.compile(r"[\x21-\x7e]{1,255}")
_log = logging.getLogger("skerry.island.dispersed")


class DispersedFace:
    """Speaks Dispersed's protocol below `/v1`.

    Args:
        engine: open; the face keeps nothing it could not find again.
    """

    name = NETWORK

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._router: Router[Route]
        self._authentication: Authentication
        self._operator: Operator
        self._scheduler: Scheduler
        self._owner_key = ""
        trouble = "expired nonces and answers could not be collected"
        self._collecting = Rounds(self.collect_expired, engine.clock, COLLECT_SECONDS, _log, trouble)
        # Whatever comes of a start, what it had begun ends, the last first.
        self._begun = AsyncExitStack()

    async def start(self) -> None:
        """Have the first account's pair, the registry and this machine's node; take up jobs; collect what expired."""
        engine = self._engine
        await first_pair.ensure(engine)
        await local_node.register(engine)
        self._owner_key = await asyncio.to_thread(owner_key, engine.settings.data_dir)
        limit = PerMinute(engine.settings.requests_per_minute, engine.clock.monotonic, too_many)
        self._authentication = Authentication(engine, limit)
        registry = GpuRegistry(engine)
        await registry.start()
        self._scheduler = Scheduler(engine)
        jobs = Jobs(engine, self._scheduler)
        self._operator = Operator(engine)
        self._router = routes.build(
            [
                AccountViews(engine),
                ApiKeys(engine),
                SshPublicKeys(engine),
                jobs,
                JobRuns(engine, self._scheduler),
                Recipes(engine, jobs.cook),
                registry,
                Offers(engine),
                LedgerViews(engine),
                RewardViews(engine),
                NodeViews(engine),
                NodeProtocol(engine, self._scheduler),
                NodeReports(self._scheduler),
            ]
        )
        self._begun.push_async_callback(self._scheduler.stop)
        await self._scheduler.start()
        self._begun.push_async_callback(self._collecting.stop)
        self._collecting.start()

    async def stop(self) -> None:
        """End what was begun."""
        await self._begun.aclose()

    async def busy(self) -> bool:
        """Whether any job goes on, waits, or is being prepared."""
        return await self._engine.store.read(any_live)

    async def tunnel(self, label: str, port: int) -> Tunnel | None:
        """None: this network has no tunnels by host name."""
        return None

    def admits(self, tunnel: Tunnel, token: str) -> bool:
        """False, for the same reason."""
        return False

    async def collect_expired(self) -> None:
        """Forget nonces and kept answers that are a day old."""
        now = self._now()
        await self._engine.store.run(admission.forget_nonces, now - admission.NONCE_MICROS)
        await self._engine.store.run(replays.forget, now)

    def recognises(self, scope: Scope) -> bool:
        """A signed request, or what a browser asks before one: its own clients put their paths in a base URL's place.

        What they signed is what they sent.
        """
        announced = header(scope["headers"], b"access-control-request-headers") or ""
        signed = header(scope["headers"], _SIGNATURE) is not None or _SIGNATURE.decode() in announced.lower()
        return signed and raw_path(scope).startswith(b"/v1/")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] == "websocket":
            await refuse(scope, receive, send, 404, "There is nothing here.\n")
            return
        extra: list[Header] = []
        try:
            done = await self._answer(scope, receive)
            if done.replayed:
                extra = [(b"x-idempotent-replayed", b"true")]
        except ClientGone:
            return
        except Exception as error:
            fault = fault_of(error)
            done = Done(status=fault.status, body=wire.encode(envelope(fault, self._now())))
            extra = list(fault.headers)
        date = format_datetime(self._engine.clock.now(), usegmt=True).encode()
        headers = [(b"date", date), (b"x-request-id", secrets.token_hex(8).encode()), *extra]
        await reply(scope, send, done.status, headers, done.body)

    async def _answer(self, scope: Scope, receive: Receive) -> Done:
        raw = raw_path(scope)
        if raw == b"/health":
            return self._health(scope["method"])
        if raw.startswith(b"/v1/admin/"):
            return await self._operate(scope, receive, raw)
        admitted = await self._authentication.admit(scope, receive)
        query = query_pairs(scope.get("query_string", b"").decode("latin-1"))
        if query is None or _BAD_ESCAPE.search(raw) or not raw.isascii():
            raise bad_request("The path or the query is not valid percent-encoding of UTF-8")
        route, values = routes.find(self._router, scope["method"], raw)
        if route.preset not in ("ANY", admitted.key.preset):
            raise Fault(
                403,
                "INSUFFICIENT_PERMISSIONS",
                f"A key with the preset {admitted.key.preset} may not do this; it needs {route.preset}",
            )
        call = Call(
            method=scope["method"],
            path=raw.decode("latin-1"),
            key=admitted.key,
            query=query,
            now=admitted.now,
            operator=admits(self._owner_key, header(scope["headers"], b"authorization")),
        )
        if route.kind == "read":
            return Done(status=200, body=wire.encode(await route.handler(call, *values)))
        call.json, call.has_body = read_json(scope, admitted.body, required=route.body)
        return await self._write(scope, call, route, values, admitted)

    async def _write(self, scope: Scope, call: Call, route: Route, values: list[str], admitted: Admitted) -> Done:
        key = _idempotency_key(scope)
        bound = replays.binding(call.account_id, call.method, call.path, key, call.json, has_body=call.has_body)

        def work(connection: Connection) -> Answer:
            call.followers.clear()
            answer: Answer = route.handler(connection, call, *values)
            return answer

        def live(connection: Connection) -> int | None:
            return admission.check_live(connection, admitted.key, admitted.now)

        done = await self._engine.store.run(
            carry_out, work, vault=self._engine.vault, bound=bound, checks=[live], now=admitted.now
        )
        if not done.replayed and not done.refused:
            for follower in call.followers:
                follower()
        return done

    async def _operate(self, scope: Scope, receive: Receive, raw: bytes) -> Done:
        given = header(scope["headers"], b"authorization")
        if given is None:
            raise Fault(401, "MISSING_AUTH_HEADERS", "Send the key in owner.key as: authorization: Bearer <key>")
        if not admits(self._owner_key, given):
            raise Fault(401, "INVALID_API_KEY", "This is not the key of the island's owner")
        return await self._operator.answer(scope, receive, raw, _idempotency_key(scope))

    def _health(self, method: str) -> Done:
        if method not in ("GET", "HEAD"):
            headers = [(b"allow", b"GET, HEAD")]
            raise Fault(405, "METHOD_NOT_ALLOWED", "This path answers GET, HEAD", headers=headers)
        return Done(status=200, body=wire.encode({"status": "ok", "timestamp": iso(self._now())}))

    def _now(self) -> int:
        return micros(self._engine.clock.now())


def _idempotency_key(scope: Scope) -> str | None:
    given = [value.decode("latin-1") for name, value in scope["headers"] if name == b"x-idempotency-key"]
    if not given:
        return None
    if len(given) > 1 or not _IDEMPOTENCY_KEY.fullmatch(given[0]):
        raise bad_request("X-Idempotency-Key must be one text of 1 to 255 visible ASCII characters")
    key: str = given[0]
    return key
