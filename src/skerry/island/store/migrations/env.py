"""Alembic's entry point; `skerry.island.store.migrate` runs it with a connection of the store."""

from __future__ import annotations

from alembic import context

from skerry.island.store.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,
    transactional_ddl=True,
)
context.run_migrations()
