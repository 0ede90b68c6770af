"""The OctaSpace face's tables, and published ports that carry UDP too."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create them."""
    op.create_table(
        "octaspace_apps",
        sa.Column("uuid", sa.String(length=36), nullable=False),
        sa.Column("account_id", sa.String(length=64), nullable=True),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("category", sa.String(length=100), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("image", sa.Text(), nullable=False),
        sa.Column("envs", sa.Text(), nullable=False),
        sa.Column("extra", sa.Text(), nullable=False),
        sa.Column("ports", sa.Text(), nullable=False),
        sa.Column("http_ports", sa.Text(), nullable=False),
        sa.Column("start_command", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name=op.f("fk_octaspace_apps_account_id")),
        sa.PrimaryKeyConstraint("uuid", name=op.f("pk_octaspace_apps")),
    )
    op.create_index(op.f("ix_octaspace_apps_account_id"), "octaspace_apps", ["account_id"], unique=False)
    op.create_table(
        "octaspace_nodes",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("account_id", sa.String(length=64), nullable=False),
        sa.Column("node_id", sa.String(length=64), nullable=False),
        sa.Column("slot", sa.Integer(), nullable=False),
        sa.Column("enabled", sa.Integer(), nullable=False),
        sa.Column("mr", sa.Integer(), nullable=False),
        sa.Column("render", sa.Integer(), nullable=False),
        sa.Column("vpn", sa.Integer(), nullable=False),
        sa.Column("currency_usd", sa.Integer(), nullable=False),
        sa.Column("base", sa.String(length=80), nullable=False),
        sa.Column("storage", sa.String(length=80), nullable=False),
        sa.Column("traffic", sa.String(length=80), nullable=False),
        sa.Column("ident", sa.LargeBinary(), nullable=False),
        sa.Column("verified_at", sa.BigInteger(), nullable=True),
        sa.Column("booted_at", sa.BigInteger(), nullable=False),
        sa.Column("reboot_at", sa.BigInteger(), nullable=True),
        sa.Column("scores", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name=op.f("fk_octaspace_nodes_account_id")),
        sa.ForeignKeyConstraint(["node_id"], ["nodes.id"], name=op.f("fk_octaspace_nodes_node_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_octaspace_nodes")),
        sa.UniqueConstraint("node_id", "slot", name=op.f("uq_octaspace_nodes_node_id_slot")),
    )
    op.create_index(op.f("ix_octaspace_nodes_account_id"), "octaspace_nodes", ["account_id"], unique=False)
    op.create_table(
        "octaspace_profiles",
        sa.Column("uid", sa.Integer(), nullable=False),
        sa.Column("account_id", sa.String(length=64), nullable=False),
        sa.Column("uuid", sa.String(length=36), nullable=False),
        sa.Column("email", sa.String(length=200), nullable=False),
        sa.Column("ref_code", sa.String(length=16), nullable=False),
        sa.Column("wallet", sa.String(length=42), nullable=False),
        sa.Column("ssh_public_keys", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name=op.f("fk_octaspace_profiles_account_id")),
        sa.PrimaryKeyConstraint("uid", name=op.f("pk_octaspace_profiles")),
        sa.UniqueConstraint("account_id", name=op.f("uq_octaspace_profiles_account_id")),
        sa.UniqueConstraint("ref_code", name=op.f("uq_octaspace_profiles_ref_code")),
        sa.UniqueConstraint("uuid", name=op.f("uq_octaspace_profiles_uuid")),
    )
    op.create_table(
        "octaspace_wallets",
        sa.Column("address", sa.String(length=42), nullable=False),
        sa.Column("account_id", sa.String(length=64), nullable=False),
        sa.Column("private_key", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name=op.f("fk_octaspace_wallets_account_id")),
        sa.PrimaryKeyConstraint("address", name=op.f("pk_octaspace_wallets")),
    )
    op.create_index(op.f("ix_octaspace_wallets_account_id"), "octaspace_wallets", ["account_id"], unique=False)
    op.create_table(
        "octaspace_idle_jobs",
        sa.Column("node_id", sa.Integer(), nullable=False),
        sa.Column("job_id", sa.Integer(), nullable=False),
        sa.Column("account_id", sa.String(length=64), nullable=False),
        sa.Column("image", sa.Text(), nullable=False),
        sa.Column("command", sa.Text(), nullable=False),
        sa.Column("entrypoint", sa.Text(), nullable=False),
        sa.Column("envs", sa.LargeBinary(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("sandbox_id", sa.String(length=64), nullable=True),
        sa.Column("run_id", sa.String(length=64), nullable=True),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("up_since", sa.BigInteger(), nullable=True),
        sa.Column("deleted_at", sa.BigInteger(), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name=op.f("fk_octaspace_idle_jobs_account_id")),
        sa.ForeignKeyConstraint(["node_id"], ["octaspace_nodes.id"], name=op.f("fk_octaspace_idle_jobs_node_id")),
        sa.PrimaryKeyConstraint("node_id", "job_id", name=op.f("pk_octaspace_idle_jobs")),
    )
    op.create_table(
        "octaspace_sessions",
        sa.Column("uuid", sa.String(length=36), nullable=False),
        sa.Column("account_id", sa.String(length=64), nullable=False),
        sa.Column("node_id", sa.Integer(), nullable=False),
        sa.Column("service", sa.String(length=8), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("protocol", sa.String(length=16), nullable=True),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("app_uuid", sa.String(length=36), nullable=True),
        sa.Column("app_name", sa.String(length=200), nullable=True),
        sa.Column("app_logo", sa.Text(), nullable=True),
        sa.Column("image", sa.Text(), nullable=False),
        sa.Column("disk_gb", sa.BigInteger(), nullable=False),
        sa.Column("request", sa.Text(), nullable=False),
        sa.Column("envs", sa.LargeBinary(), nullable=False),
        sa.Column("label", sa.String(length=63), nullable=False),
        sa.Column("secret", sa.LargeBinary(), nullable=False),
        sa.Column("sandbox_id", sa.String(length=64), nullable=True),
        sa.Column("run_id", sa.String(length=64), nullable=True),
        sa.Column("base", sa.String(length=80), nullable=False),
        sa.Column("storage", sa.String(length=80), nullable=False),
        sa.Column("traffic", sa.String(length=80), nullable=False),
        sa.Column("currency_usd", sa.Integer(), nullable=False),
        sa.Column("base_usd", sa.BigInteger(), nullable=False),
        sa.Column("market_price", sa.BigInteger(), nullable=False),
        sa.Column("hardware", sa.Text(), nullable=False),
        sa.Column("config", sa.LargeBinary(), nullable=True),
        sa.Column("exit_ip", sa.String(length=45), nullable=True),
        sa.Column("tx", sa.BigInteger(), nullable=False),
        sa.Column("rx", sa.BigInteger(), nullable=False),
        sa.Column("billed_seconds", sa.BigInteger(), nullable=False),
        sa.Column("charged", sa.String(length=80), nullable=False),
        sa.Column("bills", sa.Integer(), nullable=False),
        sa.Column("started_at", sa.BigInteger(), nullable=False),
        sa.Column("ready_at", sa.BigInteger(), nullable=True),
        sa.Column("seen_at", sa.BigInteger(), nullable=False),
        sa.Column("finished_at", sa.BigInteger(), nullable=True),
        sa.Column("ending", sa.Integer(), nullable=True),
        sa.Column("reason", sa.Integer(), nullable=True),
        sa.Column("score", sa.Integer(), nullable=True),
        sa.Column("log", sa.LargeBinary(), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name=op.f("fk_octaspace_sessions_account_id")),
        sa.ForeignKeyConstraint(["node_id"], ["octaspace_nodes.id"], name=op.f("fk_octaspace_sessions_node_id")),
        sa.PrimaryKeyConstraint("uuid", name=op.f("pk_octaspace_sessions")),
        sa.UniqueConstraint("label", name=op.f("uq_octaspace_sessions_label")),
    )
    op.create_index(
        op.f("ix_octaspace_sessions_account_id_finished_at"),
        "octaspace_sessions",
        ["account_id", "finished_at"],
        unique=False,
    )
    op.create_index(op.f("ix_octaspace_sessions_finished_at"), "octaspace_sessions", ["finished_at"], unique=False)
    op.create_index(op.f("ix_octaspace_sessions_node_id"), "octaspace_sessions", ["node_id"], unique=False)
    op.create_table(
        "octaspace_events",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("session_uuid", sa.String(length=36), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["session_uuid"], ["octaspace_sessions.uuid"], name=op.f("fk_octaspace_events_session_uuid")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_octaspace_events")),
    )
    op.create_index(op.f("ix_octaspace_events_session_uuid"), "octaspace_events", ["session_uuid"], unique=False)
    op.add_column("published_ports", sa.Column("udp", sa.Integer(), server_default="0", nullable=False))
