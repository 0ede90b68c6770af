"""Brings a database to this version's schema. Revisions are files `NNNN_name.py`, applied in the order of numbers.

An empty SQLite database is given at once what all of them together would make of it, because alembic takes longer to
load and to work than everything else an island does when it starts for the first time.
"""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Connection, Engine, inspect, text

from skerry.island.store.errors import StoreError

SCHEMA = Path(__file__).parent / "schema.sql"
_FOLDER = Path(__file__).parent / "migrations"


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
        revision = current(connection)
        if revision is not None and revision not in _known():
            raise StoreError(
                "newer",
                f"the database was made by a later Skerry (schema {revision}, this one knows {latest()});"
                " upgrade Skerry or choose another --data-dir",
            )
        if revision == latest():
            return
        if connection.dialect.name == "sqlite" and not inspect(connection).get_table_names():
            _create(connection)
        else:
            revise(connection)


def revise(connection: Connection) -> None:
    """Apply every revision that is missing, one after the other, in the transaction that goes on."""
    # Loaded only when there is something to do: it is slow to import.
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(_FOLDER).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def _create(connection: Connection) -> None:
    for statement in SCHEMA.read_text(encoding="utf-8").split(";\n"):
        connection.exec_driver_sql(statement)
    connection.execute(text("INSERT INTO alembic_version VALUES (:latest)"), {"latest": latest()})


def _known() -> set[str]:
    return {path.name.partition("_")[0] for path in (_FOLDER / "versions").glob("[0-9]*_*.py")}
