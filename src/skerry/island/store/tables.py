"""The engine's tables. Faces add theirs to the same `metadata`, each in a migration of its own.

Only integers, text and bytes are stored: moments are microseconds since 1970 in UTC, structures are JSON text, and
amounts of money are decimal text, because wei do not fit in 64 bits.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)

_Sequence = BigInteger().with_variant(Integer(), "sqlite")

accounts = Table(
    "accounts",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("name", String(200), nullable=False),
    Column("created_at", BigInteger, nullable=False),
)

keys = Table(
    "keys",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("account_id", ForeignKey("accounts.id"), nullable=False, index=True),
    Column("network", String(32), nullable=False),
    Column("digest", String(64), nullable=False),
    Column("hint", String(32), nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("revoked_at", BigInteger),
    UniqueConstraint("network", "digest"),
)

nodes = Table(
    "nodes",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("name", String(200), nullable=False),
    Column("state", String(16), nullable=False),
    Column("detail", Text, nullable=False),
)

sandboxes = Table(
    "sandboxes",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("account_id", ForeignKey("accounts.id"), nullable=False, index=True),
    Column("network", String(32), nullable=False),
    Column("name", String(200)),
    Column("image", String(128), nullable=False),
    Column("parent_id", String(64)),
    Column("node_id", ForeignKey("nodes.id"), nullable=False),
    Column("suspended", Integer, nullable=False, default=0),
    Column("durable", Integer, nullable=False, default=0),
    Column("limits", Text, nullable=False),
    Column("policy", Text, nullable=False),
    Column("labels", Text, nullable=False),
    Column("volumes", Text, nullable=False, server_default="[]"),
    Column("gpus", Text, nullable=False, server_default="[]"),
    Column("created_at", BigInteger, nullable=False),
    Column("last_active_at", BigInteger, nullable=False),
    Column("deleted_at", BigInteger, index=True),
)

sessions = Table(
    "sessions",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("sandbox_id", ForeignKey("sandboxes.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("is_default", Integer, nullable=False),
    Column("cwd", Text, nullable=False),
    Column("env", Text, nullable=False),
    Column("script", LargeBinary, nullable=False),
    Column("created_at", BigInteger, nullable=False),
)

runs = Table(
    "runs",
    metadata,
    Column("seq", _Sequence, primary_key=True, autoincrement=True),
    Column("id", String(64), nullable=False, unique=True),
    Column("account_id", ForeignKey("accounts.id"), nullable=False),
    Column("sandbox_id", ForeignKey("sandboxes.id", ondelete="CASCADE"), nullable=False),
    Column("session_id", String(64)),
    Column("command", Text, nullable=False),
    Column("request", LargeBinary, nullable=False),
    Column("background", Integer, nullable=False),
    Column("state", String(16), nullable=False),
    Column("cancelling", Integer, nullable=False, default=0),
    Column("cause", String(32)),
    Column("exit_code", Integer),
    Column("attempts", Integer, nullable=False),
    Column("labels", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("started_at", BigInteger),
    Column("ended_at", BigInteger),
    Column("cpu_ns", BigInteger, nullable=False, default=0),
    Column("max_rss_bytes", BigInteger, nullable=False, default=0),
    Column("stdout_bytes", BigInteger, nullable=False, default=0),
    Column("stderr_bytes", BigInteger, nullable=False, default=0),
    Column("dropped_bytes", BigInteger, nullable=False, default=0),
    Column("currency", String(8), nullable=False),
    Column("cost", String(80)),
    Index(None, "sandbox_id", "seq"),
    # A run enters it once, at its end.
    # In Postgres too, by its migration; to say so here would load that dialect with every start.
    Index(None, "ended_at", sqlite_where=text("ended_at IS NOT NULL")),
)

attempts = Table(
    "attempts",
    metadata,
    Column("run_id", ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("cause", String(32), nullable=False),
    Column("exit_code", Integer, nullable=False),
    Column("started_at", BigInteger),
    Column("ended_at", BigInteger, nullable=False),
)

# Only those that are open: what a closed one took is in the ledger.
leases = Table(
    "leases",
    metadata,
    Column("id", String(80), primary_key=True),
    Column("account_id", ForeignKey("accounts.id"), nullable=False),
    Column("node_id", ForeignKey("nodes.id"), nullable=False),
    Column("sandbox_id", String(64), nullable=False),
    Column("purpose", String(100), nullable=False),
    Column("cpu_millis", Integer, nullable=False),
    Column("memory_bytes", BigInteger, nullable=False),
    Column("gpus", Integer, nullable=False),
    Column("currency", String(8), nullable=False),
    Column("held", String(80), nullable=False),
    Column("opened_at", BigInteger, nullable=False),
    Column("seen_at", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

postings = Table(
    "postings",
    metadata,
    Column("id", _Sequence, primary_key=True, autoincrement=True),
    Column("transfer_id", String(160), nullable=False),
    Column("account", String(100), nullable=False),
    Column("currency", String(8), nullable=False),
    Column("amount", String(80), nullable=False),
    Column("memo", String(200), nullable=False),
    Column("created_at", BigInteger, nullable=False),
    UniqueConstraint("transfer_id", "account", "currency"),
    Index(None, "account", "id"),
)

# The running sum of the postings of one account, kept in the same transaction as they are.
balances = Table(
    "balances",
    metadata,
    Column("account", String(100), primary_key=True),
    Column("currency", String(8), primary_key=True),
    Column("amount", String(80), nullable=False),
)

idempotency = Table(
    "idempotency",
    metadata,
    Column("scope", String(200), primary_key=True),
    Column("key", String(200), primary_key=True),
    Column("fingerprint", String(128), nullable=False),
    Column("target", String(200), nullable=False),
    Column("created_at", BigInteger, nullable=False, index=True),
)

published_ports = Table(
    "published_ports",
    metadata,
    Column("sandbox_id", ForeignKey("sandboxes.id", ondelete="CASCADE"), primary_key=True),
    Column("port", Integer, primary_key=True),
    Column("account_id", ForeignKey("accounts.id"), nullable=False),
    Column("host_port", Integer, nullable=False),
    Column("allowed", Text),
    Column("ssh", Integer, nullable=False, default=0),
    Column("udp", Integer, nullable=False, server_default="0"),
    Column("created_at", BigInteger, nullable=False),
)

# Who may log in to a sandbox through the island's SSH server, one OpenSSH public key a line.
ssh_grants = Table(
    "ssh_grants",
    metadata,
    Column("sandbox_id", ForeignKey("sandboxes.id", ondelete="CASCADE"), primary_key=True),
    Column("fingerprint", String(64), primary_key=True),
    Column("public_key", Text, nullable=False),
    Column("metered", Integer, nullable=False, default=1),
    Column("env", Text, nullable=False, default="{}"),
    Column("created_at", BigInteger, nullable=False),
)

# Parts of a node set aside for work that asked for them, from its assignment to its end.
allocations = Table(
    "allocations",
    metadata,
    Column("id", String(80), primary_key=True),
    Column("account_id", ForeignKey("accounts.id"), nullable=False),
    Column("node_id", ForeignKey("nodes.id"), nullable=False, index=True),
    Column("cpu_millis", Integer, nullable=False),
    Column("memory_bytes", BigInteger, nullable=False),
    Column("disk_bytes", BigInteger, nullable=False),
    Column("gpus", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
)
