"""Connecting to ports of the sandbox from inside it, without waiting. Standard library only."""

from __future__ import annotations

import errno
import os
import select
import socket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from skerry.island.sandbox.agent.agent import Agent
    from skerry.island.sandbox.agent.client import Client

_DIAL_SECONDS = 10.0


def dial(agent: Agent, client: Client, n: int, hosts: list[str], port: int) -> None:
    """Answer request `n` with a socket that is connected to the first of the hosts that listens, or with why not."""
    host = hosts.pop(0)
    connection = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    connection.setblocking(False)

    def done(code: int) -> None:
        if code == 0:
            client.reply(n, {}, [connection.detach()])
            return
        connection.close()
        if hosts:
            dial(agent, client, n, hosts, port)
        else:
            text = f"port {port} of the sandbox: {os.strerror(code)}"
            client.send({"n": n, "ok": False, "reason": "refused", "message": text}, [])

    def connected(_: int) -> None:
        agent.unwatch(connection.fileno())
        done(connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))

    def expired() -> None:
        if agent.watched(connection.fileno(), connected):
            agent.unwatch(connection.fileno())
            done(errno.ETIMEDOUT)

    try:
        code = connection.connect_ex((host, port))
    except (OSError, OverflowError):
        code = errno.EADDRNOTAVAIL
    if code != errno.EINPROGRESS:
        done(code)
        return
    agent.watch(connection.fileno(), connected)
    agent.change(connection.fileno(), select.EPOLLOUT)
    agent.after(_DIAL_SECONDS, expired)


def dial_datagrams(client: Client, n: int, host: str, port: int) -> None:
    """Answer request `n` with a socket that sends datagrams to a port; whether anybody listens only answers tell."""
    place = "127.0.0.1" if host == "localhost" else host
    connection = socket.socket(socket.AF_INET6 if ":" in place else socket.AF_INET, socket.SOCK_DGRAM)
    try:
        connection.connect((place, port))
    except (OSError, OverflowError) as error:
        connection.close()
        text = f"port {port} of the sandbox: {error}"
        client.send({"n": n, "ok": False, "reason": "refused", "message": text}, [])
        return
    client.reply(n, {}, [connection.detach()])
