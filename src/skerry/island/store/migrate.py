"""Brings a database to this version's schema. Revisions are files `NNNN_name.py`, applied in the order of numbers.

A new SQLite database gets what they come to at once, from `schema.sql` (written by `make schema`): Alembic takes longer
to load than all else of a first start, and most databases of tests are new.
"""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Connection, Engine, inspect, text

from skerry.island.store.errors import StoreError

_FOLDER = Path(__file__).parent / "migrations"
SCHEMA = _FOLDER / "schema.sql"
SEPARATOR = ";\n\n"


def latest() -> str:
    """The newest revision that this Skerry knows."""
    return max(_known())


def current(connection: Connection) -> str | None:
    """The revision of a database; None for an empty one."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    found: str | None = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    return found


def upgrade(engine: Engine) -> None:
    """Apply every revision that is missing, all in one transaction.

    Raises:
        StoreError: the database was made by a later Skerry.
    """
    with engine.begin() as connection:
        if _is_new(connection):
            for statement in SCHEMA.read_text().split(SEPARATOR):
                connection.exec_driver_sql(statement)
        revision = current(connection)
        if revision is not None and revision not in _known():
            raise StoreError(
                "newer",
                f"the database was made by a later Skerry (schema {revision}, this one knows {latest()});"
                " upgrade Skerry or choose another --data-dir",
            )
        if revision != latest():
            apply(connection)


def apply(connection: Connection) -> None:
    """Run Alembic over every revision that is missing."""
    # Loaded only when there is something to do: it is slow to import.
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(_FOLDER).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def _is_new(connection: Connection) -> bool:
    if connection.dialect.name != "sqlite":
        return False
    return connection.exec_driver_sql("SELECT COUNT(*) FROM sqlite_master").scalar() == 0


def _known() -> set[str]:
    return {path.name.partition("_")[0] for path in (_FOLDER / "versions").glob("[0-9]*_*.py")}
