"""Brings a database to this version's schema. Revisions are files `NNNN_name.py`, applied in the order of numbers."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Connection, Engine, inspect, text

from skerry.island.store.errors import StoreError

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
        # Loaded only when there is something to do: it is slow to import.
        from alembic import command
        from alembic.config import Config

        config = Config()
        config.set_main_option("script_location", str(_FOLDER).replace("%", "%%"))
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def _known() -> set[str]:
    return {path.name.partition("_")[0] for path in (_FOLDER / "versions").glob("[0-9]*_*.py")}
