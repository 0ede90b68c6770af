"""The OctaSpace face's tables.

Moments are microseconds since 1970, durations seconds, sizes bytes. Amounts of Wei are decimal text, because they do
not fit in 64 bits; prices in dollars are whole numbers of 1/10,000 USD, as on the wire. Structures are JSON text. What
is secret is sealed.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    String,
    Table,
    Text,
    UniqueConstraint,
)

from skerry.island.ground.columns import stamps
from skerry.island.store.tables import metadata

_UUID = String(36)
_WEI = String(80)


# The network's words for an account of the engine, made when the account is first seen here. `ssh_public_keys` are
# OpenSSH lines; `wallet` is the deposit address that counts now.
profiles = Table(
    "octaspace_profiles",
    metadata,
    Column("uid", Integer, primary_key=True),
    Column("account_id", ForeignKey("accounts.id"), nullable=False, unique=True),
    Column("uuid", _UUID, nullable=False, unique=True),
    Column("email", String(200), nullable=False),
    Column("ref_code", String(16), nullable=False, unique=True),
    Column("wallet", String(42), nullable=False),
    Column("ssh_public_keys", Text, nullable=False),
    *stamps(),
)

wallets = Table(
    "octaspace_wallets",
    metadata,
    Column("address", String(42), primary_key=True),
    Column("account_id", ForeignKey("accounts.id"), nullable=False, index=True),
    Column("private_key", LargeBinary, nullable=False),
    Column("created_at", BigInteger, nullable=False),
)

# Templates that accounts made for themselves (or, without an account, that the operator made for all); those that the
# island ships are code.
apps = Table(
    "octaspace_apps",
    metadata,
    Column("uuid", _UUID, primary_key=True),
    Column("account_id", ForeignKey("accounts.id"), index=True),
    Column("name", String(200), nullable=False),
    Column("category", String(100), nullable=False),
    Column("description", Text, nullable=False),
    Column("image", Text, nullable=False),
    Column("envs", Text, nullable=False),
    Column("extra", Text, nullable=False),
    Column("ports", Text, nullable=False),
    Column("http_ports", Text, nullable=False),
    Column("start_command", Text, nullable=False),
    *stamps(),
)

# `node_id` is the engine's machine, `slot` which share of it. `ident` is the sealed token of the node's ident file.
# `booted_at` begins its uptime; a reboot that is asked for and not done yet is `reboot_at`.
nodes = Table(
    "octaspace_nodes",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("account_id", ForeignKey("accounts.id"), nullable=False, index=True),
    Column("node_id", ForeignKey("nodes.id"), nullable=False),
    Column("slot", Integer, nullable=False),
    Column("enabled", Integer, nullable=False),
    Column("mr", Integer, nullable=False),
    Column("render", Integer, nullable=False),
    Column("vpn", Integer, nullable=False),
    Column("currency_usd", Integer, nullable=False),
    Column("base", _WEI, nullable=False),
    Column("storage", _WEI, nullable=False),
    Column("traffic", _WEI, nullable=False),
    Column("ident", LargeBinary, nullable=False),
    Column("verified_at", BigInteger),
    Column("booted_at", BigInteger, nullable=False),
    Column("reboot_at", BigInteger),
    Column("scores", Text, nullable=False),
    *stamps(),
    UniqueConstraint("node_id", "slot"),
)

# One run of a service on a node. `request` holds what was asked for, `envs` its sealed environment; prices are frozen
# as they were at the start: Wei, beside them the dollars they came from, and the dollar price of OCTA in micros.
# `started_at` is the acceptance, `ready_at` begins the bill, `seen_at` is when it was last known to live.
# `ending` is the reason for which it is being ended, `reason` the one for which it has ended.
sessions = Table(
    "octaspace_sessions",
    metadata,
    Column("uuid", _UUID, primary_key=True),
    Column("account_id", ForeignKey("accounts.id"), nullable=False),
    Column("node_id", ForeignKey("octaspace_nodes.id"), nullable=False, index=True),
    Column("service", String(8), nullable=False),
    Column("kind", String(16), nullable=False),
    Column("protocol", String(16)),
    Column("state", String(16), nullable=False),
    Column("app_uuid", _UUID),
    Column("app_name", String(200)),
    Column("app_logo", Text),
    Column("image", Text, nullable=False),
    Column("disk_gb", BigInteger, nullable=False),
    Column("request", Text, nullable=False),
    Column("envs", LargeBinary, nullable=False),
    Column("label", String(63), nullable=False, unique=True),
    Column("secret", LargeBinary, nullable=False),
    Column("sandbox_id", String(64)),
    Column("run_id", String(64)),
    Column("base", _WEI, nullable=False),
    Column("storage", _WEI, nullable=False),
    Column("traffic", _WEI, nullable=False),
    Column("currency_usd", Integer, nullable=False),
    Column("base_usd", BigInteger, nullable=False),
    Column("market_price", BigInteger, nullable=False),
    Column("hardware", Text, nullable=False),
    Column("config", LargeBinary),
    Column("exit_ip", String(45)),
    Column("tx", BigInteger, nullable=False, default=0),
    Column("rx", BigInteger, nullable=False, default=0),
    Column("billed_seconds", BigInteger, nullable=False, default=0),
    Column("charged", _WEI, nullable=False, default="0"),
    Column("bills", Integer, nullable=False, default=0),
    Column("started_at", BigInteger, nullable=False),
    Column("ready_at", BigInteger),
    Column("seen_at", BigInteger, nullable=False),
    Column("finished_at", BigInteger),
    Column("ending", Integer),
    Column("reason", Integer),
    Column("score", Integer),
    Column("log", LargeBinary),
    *stamps(),
    Index(None, "account_id", "finished_at"),
    Index(None, "finished_at"),
)

# What the platform did for a session, shown as its system log.
events = Table(
    "octaspace_events",
    metadata,
    Column("id", BigInteger().with_variant(Integer(), "sqlite"), primary_key=True),
    Column("session_uuid", ForeignKey("octaspace_sessions.uuid"), nullable=False, index=True),
    Column("message", Text, nullable=False),
    Column("at", BigInteger, nullable=False),
)

# Background containers of operators. `run_id` is the attempt that was begun and is not over, `up_since` when its
# program began to run; `error` is why it was down last, in words.
idle_jobs = Table(
    "octaspace_idle_jobs",
    metadata,
    Column("node_id", ForeignKey("octaspace_nodes.id"), primary_key=True),
    Column("job_id", Integer, primary_key=True),
    Column("account_id", ForeignKey("accounts.id"), nullable=False),
    Column("image", Text, nullable=False),
    Column("command", Text, nullable=False),
    Column("entrypoint", Text, nullable=False),
    Column("envs", LargeBinary, nullable=False),
    Column("state", String(16), nullable=False),
    Column("error", Text),
    Column("sandbox_id", String(64)),
    Column("run_id", String(64)),
    Column("attempt", Integer, nullable=False, default=0),
    Column("up_since", BigInteger),
    Column("deleted_at", BigInteger),
    *stamps(),
)

TABLES = (profiles, wallets, apps, nodes, sessions, events, idle_jobs)
