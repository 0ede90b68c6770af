"""Less to write in every run: leases are kept while they are open, runs are indexed by sandbox and, ended, by time."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Drop what is written and never asked for."""
    op.execute("DELETE FROM leases WHERE closed_at IS NOT NULL")
    op.drop_index("ix_leases_account_id", "leases")
    op.drop_index("ix_leases_closed_at", "leases")
    with op.batch_alter_table("leases", table_kwargs={"sqlite_with_rowid": False}) as leases:
        leases.drop_column("closed_at")
        leases.drop_column("captured")
    op.drop_index("ix_runs_account_id_seq", "runs")
    op.drop_index("ix_runs_ended_at", "runs")
    ended = sa.text("ended_at IS NOT NULL")
    op.create_index("ix_runs_ended_at", "runs", ["ended_at"], sqlite_where=ended, postgresql_where=ended)
