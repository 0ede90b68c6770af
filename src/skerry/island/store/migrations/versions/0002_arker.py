"""The Arker face's tables."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create them."""
    op.create_table(
        "arker_uploads",
        sa.Column("vm_id", sa.String(length=64), nullable=False),
        sa.Column("upload_id", sa.String(length=128), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("presigned", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("secret", sa.Integer(), nullable=False),
        sa.Column("expected", sa.String(length=64), nullable=True),
        sa.Column("digest", sa.String(length=64), nullable=True),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("vm_id", "upload_id", name=op.f("pk_arker_uploads")),
    )
    op.create_index(op.f("ix_arker_uploads_digest"), "arker_uploads", ["digest"], unique=False)
    op.create_index(op.f("ix_arker_uploads_expires_at"), "arker_uploads", ["expires_at"], unique=False)
    op.create_table(
        "arker_chunks",
        sa.Column("vm_id", sa.String(length=64), nullable=False),
        sa.Column("upload_id", sa.String(length=128), nullable=False),
        sa.Column("start", sa.BigInteger(), nullable=False),
        sa.Column("end", sa.BigInteger(), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.ForeignKeyConstraint(
            ["vm_id", "upload_id"],
            ["arker_uploads.vm_id", "arker_uploads.upload_id"],
            name=op.f("fk_arker_chunks_vm_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("vm_id", "upload_id", "start", "end", name=op.f("pk_arker_chunks")),
    )
    op.create_index(op.f("ix_arker_chunks_digest"), "arker_chunks", ["digest"], unique=False)
    op.create_table(
        "arker_tunnels",
        sa.Column("vm_id", sa.String(length=64), nullable=False),
        sa.Column("port", sa.Integer(), nullable=False),
        sa.Column("account_id", sa.String(length=64), nullable=False),
        sa.Column("label", sa.String(length=64), nullable=False),
        sa.Column("visibility", sa.String(length=16), nullable=False),
        sa.Column("protocol", sa.String(length=16), nullable=False),
        sa.Column("run_id", sa.String(length=64), nullable=False),
        sa.Column("host_port", sa.Integer(), nullable=True),
        sa.PrimaryKeyConstraint("vm_id", "port", name=op.f("pk_arker_tunnels")),
    )
    op.create_index(op.f("ix_arker_tunnels_label"), "arker_tunnels", ["label"], unique=False)
    op.create_index(op.f("ix_arker_tunnels_run_id"), "arker_tunnels", ["run_id"], unique=False)
    op.create_table(
        "arker_tickets",
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("account_id", sa.String(length=64), nullable=False),
        sa.Column("vm_id", sa.String(length=64), nullable=False),
        sa.Column("session_id", sa.String(length=64), nullable=False),
        sa.Column("command", sa.Text(), nullable=True),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_arker_tickets")),
    )
    op.create_index(op.f("ix_arker_tickets_expires_at"), "arker_tickets", ["expires_at"], unique=False)
    op.create_table(
        "arker_named_sessions",
        sa.Column("vm_id", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=128), nullable=False),
        sa.Column("session_id", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("vm_id", "name", name=op.f("pk_arker_named_sessions")),
    )
    op.create_table(
        "arker_secrets",
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("value", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_arker_secrets")),
    )
