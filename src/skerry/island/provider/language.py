"""The island's language models as serving jobs need them: a server for each job, on a port that renters can reach."""

from __future__ import annotations

import errno
import logging
import socket
from collections.abc import Container, Iterable
from typing import TYPE_CHECKING

from skerry.island.engine.errors import EngineError, NoCapacity, Unavailable
from skerry.island.provider.records import Endpoint
from skerry.island.provider.results import OnPhase

if TYPE_CHECKING:
    from skerry.island.workers.llm import LlmWorkers, ModelStore, Serving

PORTS = range(8100, 8200)
"""Where the network's daemons serve (section 5.7)."""

_HEALTH_SECONDS = 10.0

log = logging.getLogger("skerry.provider")


class ModelsHere(Container[str]):
    """Models that may be asked for: some by name, and whichever are on this machine.

    Args:
        store: of this machine.
        names: beside those.
    """

    def __init__(self, store: ModelStore, names: Container[str]) -> None:
        self._store = store
        self._names = names

    def __contains__(self, name: object) -> bool:
        if name in self._names:
            return True
        try:
            return isinstance(name, str) and self._store.find(name) is not None
        except EngineError:
            return False


class ModelServers:
    """Servers of models.

    Args:
        workers: open.
        host: address that they listen on, for everybody who reaches it; None for loopback ports that ask for a key,
            for a platform on this machine that passes requests on.
        ports: to choose from, where there is a host.
    """

    def __init__(self, workers: LlmWorkers, *, host: str | None = None, ports: Iterable[int] = PORTS) -> None:
        self._workers = workers
        self._host = host
        self._ports = tuple(ports)
        self._taken: dict[str, int] = {}

    async def serve(
        self, key: str, model: str, *, max_model_len: int, dtype: str, on_phase: OnPhase
    ) -> tuple[Endpoint, str]:
        """Serve a model for a job, and return when it answers: where, and which model it really is."""
        if self._host is None:
            found = await self._workers.serve(key, model, max_model_len=max_model_len, dtype=dtype, on_phase=on_phase)
        else:
            port = self._taken.get(key) or self._free_port()
            self._taken[key] = port
            try:
                found = await self._workers.open_serving(
                    key,
                    model,
                    host=self._host,
                    port=port,
                    max_model_len=max_model_len,
                    dtype=dtype,
                    on_phase=on_phase,
                )
            except BaseException:
                self._taken.pop(key, None)
                raise
        return Endpoint(found.port, found.host), found.used_model

    async def well(self, key: str) -> bool:
        """Whether a server answers."""
        try:
            serving = self._workers.serving(key)
        except EngineError as error:
            log.warning("a served model is gone: %s", error.message)
            return False
        return await _answers(serving)

    async def end(self, key: str) -> None:
        """End a server; nothing happens where there is none."""
        await self._workers.stop(key)
        self._taken.pop(key, None)

    def serving(self, key: str) -> Serving | None:
        """Where a job's model is served, with the key that it asks for; None while it is not."""
        try:
            return self._workers.serving(key)
        except EngineError:
            return None

    def _free_port(self) -> int:
        """A port of the range that nobody listens on.

        Raises:
            NoCapacity: none is left. Unavailable: the address is not this machine's.
        """
        assert self._host is not None
        family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
        for port in self._ports:
            if port in self._taken.values():
                continue
            with socket.socket(family, socket.SOCK_STREAM) as trial:
                trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    trial.bind((self._host, port))
                except PermissionError:
                    continue
                except OSError as error:
                    if error.errno in _NOT_OURS:
                        raise Unavailable(f"{self._host} is no address of this machine") from None
                    continue
                return port
        raise NoCapacity(f"no port of {self._ports[0]} to {self._ports[-1]} is free for another server")


_NOT_OURS = (errno.EADDRNOTAVAIL,)


async def _answers(serving: Serving) -> bool:
    import httpx2

    headers = {} if serving.api_key is None else {"authorization": f"Bearer {serving.api_key}"}
    try:
        async with httpx2.AsyncClient(trust_env=False, timeout=_HEALTH_SECONDS) as http:
            answer = await http.get(f"{serving.base_url}/models", headers=headers)
    except httpx2.HTTPError:
        return False
    return answer.status_code == 200
