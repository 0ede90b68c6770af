"""What the Arker face keeps beside the engine: uploads, tunnels, tickets, named sessions, its signing key.

Plain functions over a connection; the store runs each in one transaction.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    ForeignKeyConstraint,
    Integer,
    LargeBinary,
    String,
    Table,
    Text,
    delete,
    insert,
    select,
    update,
)

from skerry.island.faces.arker.uploads import Chunk, Upload
from skerry.island.store.tables import metadata

uploads = Table(
    "arker_uploads",
    metadata,
    Column("vm_id", String(64), primary_key=True),
    Column("upload_id", String(128), primary_key=True),
    Column("path", Text, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("presigned", Integer, nullable=False),
    Column("state", String(16), nullable=False),
    Column("secret", Integer, nullable=False),
    Column("expected", String(64)),
    Column("digest", String(64), index=True),
    Column("expires_at", BigInteger, nullable=False, index=True),
)

chunks = Table(
    "arker_chunks",
    metadata,
    Column("vm_id", String(64), primary_key=True),
    Column("upload_id", String(128), primary_key=True),
    Column("start", BigInteger, primary_key=True),
    Column("end", BigInteger, primary_key=True),
    Column("digest", String(64), nullable=False, index=True),
    ForeignKeyConstraint(
        ["vm_id", "upload_id"], ["arker_uploads.vm_id", "arker_uploads.upload_id"], ondelete="CASCADE"
    ),
)

tunnels = Table(
    "arker_tunnels",
    metadata,
    Column("vm_id", String(64), primary_key=True),
    Column("port", Integer, primary_key=True),
    Column("account_id", String(64), nullable=False),
    Column("label", String(64), nullable=False, index=True),
    Column("visibility", String(16), nullable=False),
    Column("protocol", String(16), nullable=False),
    Column("run_id", String(64), nullable=False, index=True),
    Column("host_port", Integer),
)

tickets = Table(
    "arker_tickets",
    metadata,
    Column("digest", String(64), primary_key=True),
    Column("account_id", String(64), nullable=False),
    Column("vm_id", String(64), nullable=False),
    Column("session_id", String(64), nullable=False),
    Column("command", Text),
    Column("expires_at", BigInteger, nullable=False, index=True),
)

named_sessions = Table(
    "arker_named_sessions",
    metadata,
    Column("vm_id", String(64), primary_key=True),
    Column("name", String(128), primary_key=True),
    Column("session_id", String(64), nullable=False),
)

secret_values = Table(
    "arker_secrets",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("value", LargeBinary, nullable=False),
)

TABLES = (uploads, chunks, tunnels, tickets, named_sessions, secret_values)


@dataclass(frozen=True, slots=True, kw_only=True)
class TunnelRow:
    """An open inbound port; `host_port` is set for TCP tunnels."""

    vm_id: str
    port: int
    account_id: str
    label: str
    visibility: str
    protocol: str
    run_id: str
    host_port: int | None


def _micros(seconds: float) -> int:
    """Unix seconds as the store keeps moments."""
    return round(seconds * 1_000_000)


def signing_key(conn: Connection) -> bytes:
    """The face's own secret, made on first use."""
    value = conn.execute(select(secret_values.c.value).where(secret_values.c.name == "signing")).scalar()
    if value is None:
        value = secrets.token_bytes(32)
        conn.execute(insert(secret_values).values(name="signing", value=value))
    return bytes(value)


def get_upload(conn: Connection, vm_id: str, upload_id: str) -> tuple[Upload | None, list[Chunk]]:
    """An upload and what was received of it, in order of their starts."""
    row = conn.execute(select(uploads).where(uploads.c.vm_id == vm_id, uploads.c.upload_id == upload_id)).first()
    if row is None:
        return None, []
    upload = Upload(
        **{
            **row._mapping,
            "presigned": bool(row.presigned),
            "secret": bool(row.secret),
            "expires_at": row.expires_at / 1_000_000,
        }
    )
    found = conn.execute(
        select(chunks.c.start, chunks.c.end, chunks.c.digest)
        .where(chunks.c.vm_id == vm_id, chunks.c.upload_id == upload_id)
        .order_by(chunks.c.start, chunks.c.end)
    )
    return upload, [Chunk(start=row.start, end=row.end, digest=row.digest) for row in found]


def put_upload(conn: Connection, upload: Upload, received: Sequence[Chunk] = ()) -> None:
    """Record an upload as it stands now, and chunks that were not known before."""
    values = {
        "path": upload.path,
        "size": upload.size,
        "presigned": int(upload.presigned),
        "state": upload.state,
        "secret": int(upload.secret),
        "expected": upload.expected,
        "digest": upload.digest,
        "expires_at": _micros(upload.expires_at),
    }
    key = (uploads.c.vm_id == upload.vm_id, uploads.c.upload_id == upload.upload_id)
    if conn.execute(update(uploads).where(*key).values(**values)).rowcount == 0:
        conn.execute(insert(uploads).values(vm_id=upload.vm_id, upload_id=upload.upload_id, **values))
    for chunk in received:
        conn.execute(
            insert(chunks).values(
                vm_id=upload.vm_id,
                upload_id=upload.upload_id,
                start=chunk.start,
                end=chunk.end,
                digest=chunk.digest,
            )
        )


def drop_upload(conn: Connection, vm_id: str, upload_id: str) -> None:
    """Forget an upload and its chunks."""
    conn.execute(delete(chunks).where(chunks.c.vm_id == vm_id, chunks.c.upload_id == upload_id))
    conn.execute(delete(uploads).where(uploads.c.vm_id == vm_id, uploads.c.upload_id == upload_id))


def blobs_in_use(conn: Connection, digests: Sequence[str]) -> set[str]:
    """Which of these blobs an unfinished upload still needs."""
    pending = uploads.c.state != "written"
    staged = conn.execute(
        select(chunks.c.digest)
        .join(uploads, (uploads.c.vm_id == chunks.c.vm_id) & (uploads.c.upload_id == chunks.c.upload_id))
        .where(chunks.c.digest.in_(digests), pending)
    ).scalars()
    whole = conn.execute(select(uploads.c.digest).where(uploads.c.digest.in_(digests), pending)).scalars()
    return {digest for digest in (*staged, *whole) if digest is not None}


def expired_uploads(conn: Connection, now: float) -> list[tuple[str, str, list[str]]]:
    """Uploads past their time: VM, upload id, digests of their blobs."""
    rows = conn.execute(
        select(uploads.c.vm_id, uploads.c.upload_id, uploads.c.digest).where(uploads.c.expires_at < _micros(now))
    ).all()
    found = []
    for row in rows:
        digests = list(
            conn.execute(
                select(chunks.c.digest).where(chunks.c.vm_id == row.vm_id, chunks.c.upload_id == row.upload_id)
            ).scalars()
        )
        if row.digest is not None:
            digests.append(row.digest)
        found.append((row.vm_id, row.upload_id, digests))
    return found


def drop_vm(conn: Connection, vm_id: str) -> list[str]:
    """Forget everything of a deleted VM; returns the digests of blobs its uploads held."""
    digests = list(conn.execute(select(chunks.c.digest).where(chunks.c.vm_id == vm_id)).scalars())
    digests += [
        digest for digest in conn.execute(select(uploads.c.digest).where(uploads.c.vm_id == vm_id)).scalars() if digest
    ]
    for table in (chunks, uploads, tunnels, tickets, named_sessions):
        conn.execute(delete(table).where(table.c.vm_id == vm_id))
    return digests


def put_tunnel(conn: Connection, row: TunnelRow) -> None:
    """Open a tunnel, or change one that is open."""
    conn.execute(delete(tunnels).where(tunnels.c.vm_id == row.vm_id, tunnels.c.port == row.port))
    conn.execute(
        insert(tunnels).values(
            vm_id=row.vm_id,
            port=row.port,
            account_id=row.account_id,
            label=row.label,
            visibility=row.visibility,
            protocol=row.protocol,
            run_id=row.run_id,
            host_port=row.host_port,
        )
    )


def get_tunnel(conn: Connection, label: str, port: int) -> TunnelRow | None:
    """The open tunnel of a host label and port."""
    row = conn.execute(select(tunnels).where(tunnels.c.label == label, tunnels.c.port == port)).first()
    return None if row is None else TunnelRow(**row._mapping)


def list_tunnels(conn: Connection, *, vm_id: str | None = None, run_id: str | None = None) -> list[TunnelRow]:
    """Open tunnels, all or those of one VM or run, by port."""
    query = select(tunnels).order_by(tunnels.c.vm_id, tunnels.c.port)
    if vm_id is not None:
        query = query.where(tunnels.c.vm_id == vm_id)
    if run_id is not None:
        query = query.where(tunnels.c.run_id == run_id)
    return [TunnelRow(**row._mapping) for row in conn.execute(query)]


def put_ticket(
    conn: Connection,
    digest: str,
    *,
    account_id: str,
    vm_id: str,
    session_id: str,
    command: str | None,
    expires_at: float,
    now: float,
) -> None:
    """Keep a ticket, and forget those nobody used in time."""
    conn.execute(delete(tickets).where(tickets.c.expires_at < _micros(now)))
    conn.execute(
        insert(tickets).values(
            digest=digest,
            account_id=account_id,
            vm_id=vm_id,
            session_id=session_id,
            command=command,
            expires_at=_micros(expires_at),
        )
    )


def take_ticket(
    conn: Connection, digest: str, *, vm_id: str, session_id: str, now: float
) -> tuple[str, str | None] | None:
    """Use up a ticket; returns the account it admits and the command it asks for, or None for a useless one."""
    row = conn.execute(select(tickets).where(tickets.c.digest == digest)).first()
    if row is None or conn.execute(delete(tickets).where(tickets.c.digest == digest)).rowcount == 0:
        return None
    if row.vm_id != vm_id or row.session_id != session_id or row.expires_at < _micros(now):
        return None
    return row.account_id, row.command


def get_named_session(conn: Connection, vm_id: str, name: str) -> str | None:
    """The session that a 0.2.0 client calls by that name."""
    found: str | None = conn.execute(
        select(named_sessions.c.session_id).where(named_sessions.c.vm_id == vm_id, named_sessions.c.name == name)
    ).scalar()
    return found


def put_named_session(conn: Connection, vm_id: str, name: str, session_id: str) -> None:
    """Bind a name to a session."""
    conn.execute(delete(named_sessions).where(named_sessions.c.vm_id == vm_id, named_sessions.c.name == name))
    conn.execute(insert(named_sessions).values(vm_id=vm_id, name=name, session_id=session_id))
