"""The Dispersed face's tables.

Moments are microseconds since 1970, durations milliseconds as on the wire, amounts of money whole micros of a dollar,
structures JSON text. Identifiers are UUIDs as text, made in the order of time. What is secret is sealed.
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


# The network's words for an account of the engine, made when the account is first seen here.
profiles = Table(
    "dispersed_profiles",
    metadata,
    Column("account_id", ForeignKey("accounts.id"), primary_key=True),
    Column("uuid", _UUID, nullable=False, unique=True),
    Column("email", String(200)),
    Column("render_user_id", _UUID, nullable=False),
    Column("consumer_profile_uuid", _UUID, nullable=False),
    *stamps(),
)

api_keys = Table(
    "dispersed_api_keys",
    metadata,
    Column("uuid", _UUID, primary_key=True),
    Column("account_id", ForeignKey("accounts.id"), nullable=False, index=True),
    Column("name", String(255), nullable=False),
    Column("public_key", String(128), nullable=False, unique=True),
    Column("secret", LargeBinary, nullable=False),
    Column("preset", String(32), nullable=False),
    Column("node_uuid", _UUID),
    Column("allowed_ips", Text, nullable=False),
    Column("expires_at", BigInteger),
    Column("last_used_at", BigInteger),
    Column("revoked_at", BigInteger),
    *stamps(),
)

nonces = Table(
    "dispersed_nonces",
    metadata,
    Column("public_key", String(128), primary_key=True),
    Column("nonce", String(128), primary_key=True),
    Column("seen_at", BigInteger, nullable=False, index=True),
)

# The answer to a keyed request, written in the transaction that did what was asked.
replays = Table(
    "dispersed_replays",
    metadata,
    Column("account_id", ForeignKey("accounts.id"), primary_key=True),
    Column("method", String(8), primary_key=True),
    Column("path_digest", String(64), primary_key=True),
    Column("key", String(255), primary_key=True),
    Column("body_digest", String(64), nullable=False),
    Column("status", Integer, nullable=False),
    Column("answer", LargeBinary, nullable=False),
    Column("created_at", BigInteger, nullable=False, index=True),
)

jobs = Table(
    "dispersed_jobs",
    metadata,
    Column("uuid", _UUID, primary_key=True),
    Column("account_id", ForeignKey("accounts.id"), nullable=False),
    Column("status", String(16), nullable=False),
    Column("status_reason", Text),
    Column("task", String(16), nullable=False),
    Column("title", String(255), nullable=False),
    Column("description", Text),
    Column("cpu_count", BigInteger, nullable=False),
    Column("gpu_count", BigInteger, nullable=False),
    Column("min_ram_gb", BigInteger, nullable=False),
    Column("min_vram_gb", BigInteger, nullable=False),
    Column("min_storage_gb", BigInteger, nullable=False),
    Column("gpu_name", String(255)),
    Column("gpu_registry_uuid", _UUID),
    Column("parameters", Text, nullable=False),
    Column("secrets", LargeBinary, nullable=False),
    Column("region_codes", Text, nullable=False),
    Column("assign_by_ms", BigInteger),
    Column("max_timeout_assign_ms", BigInteger, nullable=False),
    Column("max_timeout_start_ms", BigInteger, nullable=False),
    Column("max_timeout_run_ms", BigInteger),
    Column("max_retry_count", BigInteger, nullable=False),
    Column("max_node_count", BigInteger, nullable=False),
    Column("retries", BigInteger, nullable=False, default=0),
    Column("image_size_bytes", BigInteger),
    Column("source_recipe_uuid", _UUID),
    Column("started_at", BigInteger),
    Column("completed_at", BigInteger),
    *stamps(),
    Index(None, "account_id", "created_at"),
    Index(None, "status", "created_at"),
)

job_runs = Table(
    "dispersed_job_runs",
    metadata,
    Column("uuid", _UUID, primary_key=True),
    Column("job_uuid", ForeignKey("dispersed_jobs.uuid"), nullable=False, index=True),
    Column("account_id", ForeignKey("accounts.id"), nullable=False),
    Column("node_uuid", _UUID, nullable=False),
    Column("slot", Integer, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("status", String(16), nullable=False),
    Column("status_reason", Text),
    Column("snapshot", Text, nullable=False),
    Column("sandbox_id", String(64)),
    Column("engine_run_id", String(64)),
    Column("node_urls", Text, nullable=False),
    Column("hourly_rate", BigInteger, nullable=False),
    Column("gpu_name", String(255)),
    Column("gpu_count", BigInteger, nullable=False),
    Column("authorization_uuid", _UUID),
    Column("billed_ms", BigInteger, nullable=False, default=0),
    Column("start_by", BigInteger, nullable=False),
    Column("run_by", BigInteger),
    Column("started_at", BigInteger),
    Column("completed_at", BigInteger),
    Column("exit_code", Integer),
    Column("logs", LargeBinary),
    Column("logs_bytes", BigInteger, nullable=False, default=0),
    *stamps(),
    Index(None, "account_id", "created_at"),
    Index(None, "status", "created_at"),
)

authorizations = Table(
    "dispersed_authorizations",
    metadata,
    Column("uuid", _UUID, primary_key=True),
    Column("account_id", ForeignKey("accounts.id"), nullable=False),
    Column("job_run_uuid", _UUID, nullable=False, index=True),
    Column("amount", BigInteger, nullable=False),
    Column("approved", Integer, nullable=False),
    Column("status", String(16), nullable=False),
    Column("status_reason", Text),
    Column("opened_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False),
    Column("closed_at", BigInteger),
    *stamps(),
    Index(None, "account_id", "created_at"),
    Index(None, "status"),
)

transactions = Table(
    "dispersed_transactions",
    metadata,
    Column("uuid", _UUID, primary_key=True),
    Column("account_id", ForeignKey("accounts.id"), nullable=False),
    Column("type", String(16), nullable=False),
    Column("amount", BigInteger, nullable=False),
    Column("job_run_uuid", _UUID, index=True),
    Column("authorization_uuid", _UUID),
    Column("memo", Text),
    *stamps(),
    Index(None, "account_id", "created_at"),
)

recipes = Table(
    "dispersed_recipes",
    metadata,
    Column("uuid", _UUID, primary_key=True),
    Column("account_id", ForeignKey("accounts.id"), nullable=False, index=True),
    Column("name", String(255), nullable=False),
    Column("description", Text),
    Column("visibility", String(16), nullable=False, index=True),
    Column("payload", Text, nullable=False),
    Column("secrets", LargeBinary, nullable=False),
    Column("is_official", Integer, nullable=False, default=0),
    Column("input_schema", Text, nullable=False),
    Column("quickstart_md", Text),
    Column("thumbnail_url", Text),
    Column("forked_from", _UUID),
    Column("last_used_at", BigInteger),
    Column("deleted_at", BigInteger),
    *stamps(),
)

ssh_public_keys = Table(
    "dispersed_ssh_public_keys",
    metadata,
    Column("uuid", _UUID, primary_key=True),
    Column("account_id", ForeignKey("accounts.id"), nullable=False, index=True),
    Column("public_key", Text, nullable=False),
    Column("fingerprint", String(64), nullable=False),
    Column("name", String(100)),
    Column("is_default", Integer, nullable=False, default=0),
    Column("last_used_at", BigInteger),
    Column("deleted_at", BigInteger),
    *stamps(),
)

gpu_registry = Table(
    "dispersed_gpu_registry",
    metadata,
    Column("uuid", _UUID, primary_key=True),
    Column("name", String(255), nullable=False, unique=True),
    Column("vendor", String(64), nullable=False),
    Column("vram_gb", Integer, nullable=False),
    Column("cuda_cores", Integer),
    Column("hourly_rate", BigInteger, nullable=False),
    Column("multiplier_millis", Integer, nullable=False),
    *stamps(),
)

# `node_id` names the engine's own node; nodes that speak the operators' protocol have none.
nodes = Table(
    "dispersed_nodes",
    metadata,
    Column("uuid", _UUID, primary_key=True),
    Column("account_id", ForeignKey("accounts.id"), nullable=False, index=True),
    Column("node_id", ForeignKey("nodes.id"), unique=True),
    Column("name", String(255), nullable=False),
    Column("region_code", String(32)),
    Column("reputation", Integer, nullable=False),
    Column("hardware", Text, nullable=False),
    Column("event", Text),
    Column("last_seen_at", BigInteger, nullable=False),
    *stamps(),
)

# What a node did in one week, in milliseconds; amounts are micros of a RENDER token, set when the week is finalized.
rewards = Table(
    "dispersed_rewards",
    metadata,
    Column("uuid", _UUID, primary_key=True),
    Column("account_id", ForeignKey("accounts.id"), nullable=False, index=True),
    Column("node_uuid", ForeignKey("dispersed_nodes.uuid"), nullable=False),
    Column("epoch_start", BigInteger, nullable=False),
    Column("status", String(16), nullable=False),
    Column("multiplier_millis", Integer, nullable=False),
    Column("assignable_ms", BigInteger, nullable=False),
    Column("worked_ms", BigInteger, nullable=False),
    Column("prep_ms", BigInteger, nullable=False),
    *stamps(),
    UniqueConstraint("node_uuid", "epoch_start"),
)

TABLES = (
    profiles,
    api_keys,
    nonces,
    replays,
    jobs,
    job_runs,
    authorizations,
    transactions,
    recipes,
    ssh_public_keys,
    gpu_registry,
    nodes,
    rewards,
)
