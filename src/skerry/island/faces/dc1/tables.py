"""The DC1 face's tables.

Moments are microseconds since 1970, amounts whole halala, structures JSON text, flags 0 or 1. What is secret is sealed
where it must be read again, and kept as a digest where it need not.
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

# A renter is an account of the engine that this network has seen; the master key is one of the engine's.
renters = Table(
    "dc1_renters",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("account_id", ForeignKey("accounts.id"), nullable=False, unique=True),
    Column("name", String(200), nullable=False),
    Column("email", String(320), nullable=False, unique=True),
    Column("organization", String(160)),
    Column("use_case", String(120)),
    Column("phone", String(40)),
    Column("webhook_url", Text),
    Column("status", String(16), nullable=False),
    Column("status_reason", Text),
    Column("sealed_key", LargeBinary),
    Column("total_jobs", BigInteger, nullable=False, default=0),
    Column("total_spent", BigInteger, nullable=False, default=0),
    Column("daily_jobs", BigInteger),
    Column("monthly_spend", BigInteger),
    Column("deleted_at", BigInteger),
    *stamps(),
)

# `node_id` names the engine's own node; providers that speak the protocol from outside have none. `profile` is what
# heartbeats said last, `preferences` what the owner chose.
providers = Table(
    "dc1_providers",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("node_id", ForeignKey("nodes.id"), unique=True),
    Column("name", String(100), nullable=False),
    Column("email", String(320), nullable=False, unique=True),
    Column("gpu_model", String(200), nullable=False),
    Column("os", String(16), nullable=False),
    Column("phone", String(40)),
    Column("location", String(200)),
    Column("resource_spec", Text),
    Column("status", String(16), nullable=False),
    Column("approval", String(16), nullable=False),
    Column("approved_at", BigInteger),
    Column("rejected_reason", Text),
    Column("paused", Integer, nullable=False, default=0),
    Column("suspended", Integer, nullable=False, default=0),
    Column("slots", Integer, nullable=False, default=1),
    Column("rate_per_minute", BigInteger),
    Column("vram_mib", BigInteger, nullable=False, default=0),
    Column("gpu_count", Integer, nullable=False, default=1),
    Column("compute_types", Text, nullable=False),
    Column("profile", Text, nullable=False),
    Column("preferences", Text, nullable=False),
    Column("readiness", String(16)),
    Column("preload_model", String(256)),
    Column("preload_status", String(16), nullable=False, default="none"),
    Column("endpoint_url", Text),
    Column("wallet_address", String(64)),
    Column("wallet_updated_at", BigInteger),
    Column("sealed_key", LargeBinary),
    Column("total_jobs", BigInteger, nullable=False, default=0),
    Column("failed_jobs", BigInteger, nullable=False, default=0),
    Column("total_earned", BigInteger, nullable=False, default=0),
    Column("last_heartbeat", BigInteger),
    Column("online_ms", BigInteger, nullable=False, default=0),
    *stamps(),
)

# Every key but the renters' master keys.
keys = Table(
    "dc1_keys",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("kind", String(16), nullable=False),
    Column("owner_id", Integer, nullable=False),
    Column("digest", String(64), nullable=False, unique=True),
    Column("hint", String(32), nullable=False),
    Column("label", String(120)),
    Column("scopes", Text, nullable=False),
    Column("expires_at", BigInteger),
    Column("last_used_at", BigInteger),
    Column("revoked_at", BigInteger),
    Column("created_at", BigInteger, nullable=False),
    Index(None, "kind", "owner_id"),
)

# `rank` and `turn` order the queue: pricing class first, then priority as documented, then age.
jobs = Table(
    "dc1_jobs",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("job_id", String(64), nullable=False, unique=True),
    Column("renter_id", ForeignKey("dc1_renters.id")),
    Column("account_id", ForeignKey("accounts.id")),
    Column("provider_id", ForeignKey("dc1_providers.id")),
    Column("job_type", String(64), nullable=False),
    Column("model", String(256)),
    Column("status", String(16), nullable=False),
    Column("params", Text, nullable=False),
    Column("task_spec", Text, nullable=False),
    Column("task_spec_hmac", String(64)),
    Column("container_spec", Text, nullable=False),
    Column("gpu_requirements", Text),
    Column("template_id", String(128)),
    Column("bundle_id", String(128)),
    Column("duration_minutes", String(24), nullable=False),
    Column("max_duration_seconds", Integer, nullable=False),
    Column("timeout_at", BigInteger),
    Column("quote", BigInteger, nullable=False),
    Column("rate_per_minute", BigInteger, nullable=False),
    Column("rate_snapshot", Text),
    Column("charged", BigInteger),
    Column("provider_earned", BigInteger),
    Column("fee", BigInteger),
    Column("refunded_at", BigInteger),
    Column("pricing_class", String(32), nullable=False),
    Column("rank", Integer, nullable=False),
    Column("priority", Integer, nullable=False),
    Column("turn", Integer, nullable=False),
    Column("vram_required_mb", BigInteger, nullable=False),
    Column("gpu_count", Integer, nullable=False),
    Column("compute_type", String(16), nullable=False),
    Column("prewarm", Integer, nullable=False, default=0),
    Column("checkpoint", Integer, nullable=False, default=0),
    Column("attempt", Integer, nullable=False, default=0),
    Column("retry_count", Integer, nullable=False, default=0),
    Column("restart_count", Integer, nullable=False, default=0),
    Column("retried_from", Integer),
    Column("retry_reason", Text),
    Column("progress_phase", String(32)),
    Column("progress_updated_at", BigInteger),
    Column("endpoint_url", Text),
    Column("serve_port", Integer),
    Column("result", Text),
    Column("error", Text),
    Column("last_error", Text),
    Column("exit_code", Integer),
    Column("gpu_ms", BigInteger, nullable=False, default=0),
    Column("prompt_tokens", BigInteger),
    Column("completion_tokens", BigInteger),
    Column("submitted_at", BigInteger, nullable=False),
    Column("assigned_at", BigInteger),
    Column("picked_up_at", BigInteger),
    Column("started_at", BigInteger),
    Column("first_token_at", BigInteger),
    Column("completed_at", BigInteger),
    Column("webhook_status", String(16)),
    Column("webhook_attempts", Integer, nullable=False, default=0),
    Column("webhook_notified_at", BigInteger),
    *stamps(),
    Index(None, "renter_id", "id"),
    Index(None, "provider_id", "id"),
    Index(None, "status", "provider_id"),
)

executions = Table(
    "dc1_executions",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("job", ForeignKey("dc1_jobs.id"), nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("provider_id", ForeignKey("dc1_providers.id"), nullable=False),
    Column("started_at", BigInteger, nullable=False),
    Column("ended_at", BigInteger),
    Column("exit_code", Integer),
    Column("gpu_ms", BigInteger, nullable=False, default=0),
    Column("cost", BigInteger),
    UniqueConstraint("job", "attempt"),
)

logs = Table(
    "dc1_logs",
    metadata,
    Column("job", ForeignKey("dc1_jobs.id"), primary_key=True),
    Column("line_no", Integer, primary_key=True),
    Column("attempt", Integer, nullable=False),
    Column("level", String(8), nullable=False),
    Column("message", Text, nullable=False),
    Column("logged_at", BigInteger, nullable=False),
)

events = Table(
    "dc1_events",
    metadata,
    Column("job", ForeignKey("dc1_jobs.id"), primary_key=True),
    Column("sequence_no", Integer, primary_key=True),
    Column("event_type", String(32), nullable=False),
    Column("status", String(16), nullable=False),
    Column("source", String(16), nullable=False),
    Column("error_category", String(64)),
    Column("error_code", String(64)),
    Column("message", Text),
    Column("payload", Text),
    Column("occurred_at", BigInteger, nullable=False),
)

# The answer to a keyed submission, written in the transaction that made the job.
replays = Table(
    "dc1_replays",
    metadata,
    Column("renter_id", ForeignKey("dc1_renters.id"), primary_key=True),
    Column("route", String(16), primary_key=True),
    Column("key", String(128), primary_key=True),
    Column("body_digest", String(64), nullable=False),
    Column("status", Integer, nullable=False),
    Column("answer", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False, index=True),
)

webhooks = Table(
    "dc1_webhooks",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("renter_id", ForeignKey("dc1_renters.id"), nullable=False, index=True),
    Column("url", Text, nullable=False),
    Column("sealed_secret", LargeBinary, nullable=False),
    Column("events", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
)

# What must still be told to somebody's server, and what came of it.
deliveries = Table(
    "dc1_deliveries",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("renter_id", ForeignKey("dc1_renters.id"), nullable=False),
    Column("job", ForeignKey("dc1_jobs.id"), index=True),
    Column("webhook_id", String(36)),
    Column("event", String(32), nullable=False),
    Column("body", Text, nullable=False),
    Column("attempts", Integer, nullable=False, default=0),
    Column("next_at", BigInteger, index=True),
    Column("outcome", String(200)),
    *stamps(),
)

presets = Table(
    "dc1_presets",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("renter_id", ForeignKey("dc1_renters.id"), nullable=False, index=True),
    Column("name", String(120), nullable=False),
    Column("body", Text, nullable=False),
    *stamps(),
)

payments = Table(
    "dc1_payments",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("renter_id", ForeignKey("dc1_renters.id"), nullable=False, index=True),
    Column("amount", BigInteger, nullable=False),
    Column("method", String(32), nullable=False),
    Column("status", String(16), nullable=False),
    Column("memo", Text),
    Column("paid_at", BigInteger),
    *stamps(),
)

withdrawals = Table(
    "dc1_withdrawals",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("provider_id", ForeignKey("dc1_providers.id"), nullable=False, index=True),
    Column("amount", BigInteger, nullable=False),
    Column("method", String(32), nullable=False),
    Column("sealed_details", LargeBinary, nullable=False),
    Column("hint", String(32), nullable=False),
    Column("status", String(16), nullable=False),
    Column("processed_at", BigInteger),
    *stamps(),
)

provider_events = Table(
    "dc1_provider_events",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("provider_id", ForeignKey("dc1_providers.id"), nullable=False, index=True),
    Column("event_type", String(64), nullable=False),
    Column("severity", String(16), nullable=False),
    Column("details", Text),
    Column("job_id", String(64)),
    Column("occurred_at", BigInteger, nullable=False),
)

# Signatures of events that providers sent, so that none counts twice; kept for as long as a job can be told of.
seen_events = Table(
    "dc1_seen_events",
    metadata,
    Column("digest", String(64), primary_key=True),
    Column("seen_at", BigInteger, nullable=False, index=True),
)

# What providers are asked to prove of their GPUs, and what they answered.
challenges = Table(
    "dc1_challenges",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("provider_id", ForeignKey("dc1_providers.id"), nullable=False, index=True),
    Column("nonce", String(64), nullable=False),
    Column("rounds", Integer, nullable=False),
    Column("status", String(16), nullable=False),
    Column("score", Integer),
    Column("flags", Text),
    Column("expires_at", BigInteger, nullable=False),
    Column("answered_at", BigInteger),
    Column("created_at", BigInteger, nullable=False),
)

# Images that jobs may name beside the built-in ones.
images = Table(
    "dc1_images",
    metadata,
    Column("image_ref", String(255), primary_key=True),
    Column("image_type", String(64), nullable=False),
    Column("description", Text),
    Column("digest", String(80)),
    Column("approved_at", BigInteger, nullable=False),
)

TABLES = (
    renters,
    providers,
    keys,
    jobs,
    executions,
    logs,
    events,
    replays,
    webhooks,
    deliveries,
    presets,
    payments,
    withdrawals,
    provider_events,
    seen_events,
    challenges,
    images,
)
