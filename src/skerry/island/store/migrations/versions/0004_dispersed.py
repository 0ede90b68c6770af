"""The Dispersed face's tables."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create them."""
    op.create_table(
        "dispersed_gpu_registry",
        sa.Column("uuid", sa.String(length=36), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("vendor", sa.String(length=64), nullable=False),
        sa.Column("vram_gb", sa.Integer(), nullable=False),
        sa.Column("cuda_cores", sa.Integer(), nullable=True),
        sa.Column("hourly_rate", sa.BigInteger(), nullable=False),
        sa.Column("multiplier_millis", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("uuid", name=op.f("pk_dispersed_gpu_registry")),
        sa.UniqueConstraint("name", name=op.f("uq_dispersed_gpu_registry_name")),
    )
    op.create_table(
        "dispersed_nonces",
        sa.Column("public_key", sa.String(length=128), nullable=False),
        sa.Column("nonce", sa.String(length=128), nullable=False),
        sa.Column("seen_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("public_key", "nonce", name=op.f("pk_dispersed_nonces")),
    )
    op.create_index(op.f("ix_dispersed_nonces_seen_at"), "dispersed_nonces", ["seen_at"], unique=False)
    op.create_table(
        "dispersed_api_keys",
        sa.Column("uuid", sa.String(length=36), nullable=False),
        sa.Column("account_id", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("public_key", sa.String(length=128), nullable=False),
        sa.Column("secret", sa.LargeBinary(), nullable=False),
        sa.Column("preset", sa.String(length=32), nullable=False),
        sa.Column("node_uuid", sa.String(length=36), nullable=True),
        sa.Column("allowed_ips", sa.Text(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=True),
        sa.Column("last_used_at", sa.BigInteger(), nullable=True),
        sa.Column("revoked_at", sa.BigInteger(), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name=op.f("fk_dispersed_api_keys_account_id")),
        sa.PrimaryKeyConstraint("uuid", name=op.f("pk_dispersed_api_keys")),
        sa.UniqueConstraint("public_key", name=op.f("uq_dispersed_api_keys_public_key")),
    )
    op.create_index(op.f("ix_dispersed_api_keys_account_id"), "dispersed_api_keys", ["account_id"], unique=False)
    op.create_table(
        "dispersed_authorizations",
        sa.Column("uuid", sa.String(length=36), nullable=False),
        sa.Column("account_id", sa.String(length=64), nullable=False),
        sa.Column("job_run_uuid", sa.String(length=36), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.Column("approved", sa.Integer(), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("status_reason", sa.Text(), nullable=True),
        sa.Column("opened_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.Column("closed_at", sa.BigInteger(), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name=op.f("fk_dispersed_authorizations_account_id")),
        sa.PrimaryKeyConstraint("uuid", name=op.f("pk_dispersed_authorizations")),
    )
    op.create_index(
        op.f("ix_dispersed_authorizations_account_id_created_at"),
        "dispersed_authorizations",
        ["account_id", "created_at"],
        unique=False,
    )
    op.create_index(
        op.f("ix_dispersed_authorizations_job_run_uuid"), "dispersed_authorizations", ["job_run_uuid"], unique=False
    )
    op.create_index(op.f("ix_dispersed_authorizations_status"), "dispersed_authorizations", ["status"], unique=False)
    op.create_table(
        "dispersed_jobs",
        sa.Column("uuid", sa.String(length=36), nullable=False),
        sa.Column("account_id", sa.String(length=64), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("status_reason", sa.Text(), nullable=True),
        sa.Column("task", sa.String(length=16), nullable=False),
        sa.Column("title", sa.String(length=255), nullable=False),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("cpu_count", sa.BigInteger(), nullable=False),
        sa.Column("gpu_count", sa.BigInteger(), nullable=False),
        sa.Column("min_ram_gb", sa.BigInteger(), nullable=False),
        sa.Column("min_vram_gb", sa.BigInteger(), nullable=False),
        sa.Column("min_storage_gb", sa.BigInteger(), nullable=False),
        sa.Column("gpu_name", sa.String(length=255), nullable=True),
        sa.Column("gpu_registry_uuid", sa.String(length=36), nullable=True),
        sa.Column("parameters", sa.Text(), nullable=False),
        sa.Column("secrets", sa.LargeBinary(), nullable=False),
        sa.Column("region_codes", sa.Text(), nullable=False),
        sa.Column("assign_by_ms", sa.BigInteger(), nullable=True),
        sa.Column("max_timeout_assign_ms", sa.BigInteger(), nullable=False),
        sa.Column("max_timeout_start_ms", sa.BigInteger(), nullable=False),
        sa.Column("max_timeout_run_ms", sa.BigInteger(), nullable=True),
        sa.Column("max_retry_count", sa.BigInteger(), nullable=False),
        sa.Column("max_node_count", sa.BigInteger(), nullable=False),
        sa.Column("retries", sa.BigInteger(), nullable=False),
        sa.Column("image_size_bytes", sa.BigInteger(), nullable=True),
        sa.Column("source_recipe_uuid", sa.String(length=36), nullable=True),
        sa.Column("started_at", sa.BigInteger(), nullable=True),
        sa.Column("completed_at", sa.BigInteger(), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name=op.f("fk_dispersed_jobs_account_id")),
        sa.PrimaryKeyConstraint("uuid", name=op.f("pk_dispersed_jobs")),
    )
    op.create_index(
        op.f("ix_dispersed_jobs_account_id_created_at"), "dispersed_jobs", ["account_id", "created_at"], unique=False
    )
    op.create_index(
        op.f("ix_dispersed_jobs_status_created_at"), "dispersed_jobs", ["status", "created_at"], unique=False
    )
    op.create_table(
        "dispersed_nodes",
        sa.Column("uuid", sa.String(length=36), nullable=False),
        sa.Column("account_id", sa.String(length=64), nullable=False),
        sa.Column("node_id", sa.String(length=64), nullable=True),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("region_code", sa.String(length=32), nullable=True),
        sa.Column("reputation", sa.Integer(), nullable=False),
        sa.Column("hardware", sa.Text(), nullable=False),
        sa.Column("event", sa.Text(), nullable=True),
        sa.Column("last_seen_at", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name=op.f("fk_dispersed_nodes_account_id")),
        sa.ForeignKeyConstraint(["node_id"], ["nodes.id"], name=op.f("fk_dispersed_nodes_node_id")),
        sa.PrimaryKeyConstraint("uuid", name=op.f("pk_dispersed_nodes")),
        sa.UniqueConstraint("node_id", name=op.f("uq_dispersed_nodes_node_id")),
    )
    op.create_index(op.f("ix_dispersed_nodes_account_id"), "dispersed_nodes", ["account_id"], unique=False)
    op.create_table(
        "dispersed_profiles",
        sa.Column("account_id", sa.String(length=64), nullable=False),
        sa.Column("uuid", sa.String(length=36), nullable=False),
        sa.Column("email", sa.String(length=200), nullable=True),
        sa.Column("render_user_id", sa.String(length=36), nullable=False),
        sa.Column("consumer_profile_uuid", sa.String(length=36), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name=op.f("fk_dispersed_profiles_account_id")),
        sa.PrimaryKeyConstraint("account_id", name=op.f("pk_dispersed_profiles")),
        sa.UniqueConstraint("uuid", name=op.f("uq_dispersed_profiles_uuid")),
    )
    op.create_table(
        "dispersed_recipes",
        sa.Column("uuid", sa.String(length=36), nullable=False),
        sa.Column("account_id", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("visibility", sa.String(length=16), nullable=False),
        sa.Column("payload", sa.Text(), nullable=False),
        sa.Column("secrets", sa.LargeBinary(), nullable=False),
        sa.Column("is_official", sa.Integer(), nullable=False),
        sa.Column("input_schema", sa.Text(), nullable=False),
        sa.Column("quickstart_md", sa.Text(), nullable=True),
        sa.Column("thumbnail_url", sa.Text(), nullable=True),
        sa.Column("forked_from", sa.String(length=36), nullable=True),
        sa.Column("last_used_at", sa.BigInteger(), nullable=True),
        sa.Column("deleted_at", sa.BigInteger(), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name=op.f("fk_dispersed_recipes_account_id")),
        sa.PrimaryKeyConstraint("uuid", name=op.f("pk_dispersed_recipes")),
    )
    op.create_index(op.f("ix_dispersed_recipes_account_id"), "dispersed_recipes", ["account_id"], unique=False)
    op.create_index(op.f("ix_dispersed_recipes_visibility"), "dispersed_recipes", ["visibility"], unique=False)
    op.create_table(
        "dispersed_replays",
        sa.Column("account_id", sa.String(length=64), nullable=False),
        sa.Column("method", sa.String(length=8), nullable=False),
        sa.Column("path_digest", sa.String(length=64), nullable=False),
        sa.Column("key", sa.String(length=255), nullable=False),
        sa.Column("body_digest", sa.String(length=64), nullable=False),
        sa.Column("status", sa.Integer(), nullable=False),
        sa.Column("answer", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name=op.f("fk_dispersed_replays_account_id")),
        sa.PrimaryKeyConstraint("account_id", "method", "path_digest", "key", name=op.f("pk_dispersed_replays")),
    )
    op.create_index(op.f("ix_dispersed_replays_created_at"), "dispersed_replays", ["created_at"], unique=False)
    op.create_table(
        "dispersed_ssh_public_keys",
        sa.Column("uuid", sa.String(length=36), nullable=False),
        sa.Column("account_id", sa.String(length=64), nullable=False),
        sa.Column("public_key", sa.Text(), nullable=False),
        sa.Column("fingerprint", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=100), nullable=True),
        sa.Column("is_default", sa.Integer(), nullable=False),
        sa.Column("last_used_at", sa.BigInteger(), nullable=True),
        sa.Column("deleted_at", sa.BigInteger(), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name=op.f("fk_dispersed_ssh_public_keys_account_id")),
        sa.PrimaryKeyConstraint("uuid", name=op.f("pk_dispersed_ssh_public_keys")),
    )
    op.create_index(
        op.f("ix_dispersed_ssh_public_keys_account_id"), "dispersed_ssh_public_keys", ["account_id"], unique=False
    )
    op.create_table(
        "dispersed_transactions",
        sa.Column("uuid", sa.String(length=36), nullable=False),
        sa.Column("account_id", sa.String(length=64), nullable=False),
        sa.Column("type", sa.String(length=16), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.Column("job_run_uuid", sa.String(length=36), nullable=True),
        sa.Column("authorization_uuid", sa.String(length=36), nullable=True),
        sa.Column("memo", sa.Text(), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name=op.f("fk_dispersed_transactions_account_id")),
        sa.PrimaryKeyConstraint("uuid", name=op.f("pk_dispersed_transactions")),
    )
    op.create_index(
        op.f("ix_dispersed_transactions_account_id_created_at"),
        "dispersed_transactions",
        ["account_id", "created_at"],
        unique=False,
    )
    op.create_index(
        op.f("ix_dispersed_transactions_job_run_uuid"), "dispersed_transactions", ["job_run_uuid"], unique=False
    )
    op.create_table(
        "dispersed_job_runs",
        sa.Column("uuid", sa.String(length=36), nullable=False),
        sa.Column("job_uuid", sa.String(length=36), nullable=False),
        sa.Column("account_id", sa.String(length=64), nullable=False),
        sa.Column("node_uuid", sa.String(length=36), nullable=False),
        sa.Column("slot", sa.Integer(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("status_reason", sa.Text(), nullable=True),
        sa.Column("snapshot", sa.Text(), nullable=False),
        sa.Column("sandbox_id", sa.String(length=64), nullable=True),
        sa.Column("engine_run_id", sa.String(length=64), nullable=True),
        sa.Column("node_urls", sa.Text(), nullable=False),
        sa.Column("hourly_rate", sa.BigInteger(), nullable=False),
        sa.Column("gpu_name", sa.String(length=255), nullable=True),
        sa.Column("gpu_count", sa.BigInteger(), nullable=False),
        sa.Column("authorization_uuid", sa.String(length=36), nullable=True),
        sa.Column("billed_ms", sa.BigInteger(), nullable=False),
        sa.Column("start_by", sa.BigInteger(), nullable=False),
        sa.Column("run_by", sa.BigInteger(), nullable=True),
        sa.Column("started_at", sa.BigInteger(), nullable=True),
        sa.Column("completed_at", sa.BigInteger(), nullable=True),
        sa.Column("exit_code", sa.Integer(), nullable=True),
        sa.Column("logs", sa.LargeBinary(), nullable=True),
        sa.Column("logs_bytes", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name=op.f("fk_dispersed_job_runs_account_id")),
        sa.ForeignKeyConstraint(["job_uuid"], ["dispersed_jobs.uuid"], name=op.f("fk_dispersed_job_runs_job_uuid")),
        sa.PrimaryKeyConstraint("uuid", name=op.f("pk_dispersed_job_runs")),
    )
    op.create_index(
        op.f("ix_dispersed_job_runs_account_id_created_at"),
        "dispersed_job_runs",
        ["account_id", "created_at"],
        unique=False,
    )
    op.create_index(op.f("ix_dispersed_job_runs_job_uuid"), "dispersed_job_runs", ["job_uuid"], unique=False)
    op.create_index(
        op.f("ix_dispersed_job_runs_status_created_at"), "dispersed_job_runs", ["status", "created_at"], unique=False
    )
    op.create_table(
        "dispersed_rewards",
        sa.Column("uuid", sa.String(length=36), nullable=False),
        sa.Column("account_id", sa.String(length=64), nullable=False),
        sa.Column("node_uuid", sa.String(length=36), nullable=False),
        sa.Column("epoch_start", sa.BigInteger(), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("multiplier_millis", sa.Integer(), nullable=False),
        sa.Column("assignable_ms", sa.BigInteger(), nullable=False),
        sa.Column("worked_ms", sa.BigInteger(), nullable=False),
        sa.Column("prep_ms", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name=op.f("fk_dispersed_rewards_account_id")),
        sa.ForeignKeyConstraint(["node_uuid"], ["dispersed_nodes.uuid"], name=op.f("fk_dispersed_rewards_node_uuid")),
        sa.PrimaryKeyConstraint("uuid", name=op.f("pk_dispersed_rewards")),
        sa.UniqueConstraint("node_uuid", "epoch_start", name=op.f("uq_dispersed_rewards_node_uuid_epoch_start")),
    )
    op.create_index(op.f("ix_dispersed_rewards_account_id"), "dispersed_rewards", ["account_id"], unique=False)
