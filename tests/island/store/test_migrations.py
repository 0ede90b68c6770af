"""A database that an earlier Skerry has worked with is brought to this schema with what it holds."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, Engine, create_engine, inspect, make_url, text

from skerry.island.store import leases, migrate


@pytest.fixture
def engine(url: str) -> Iterator[Engine]:
    """Connections to an empty database."""
    parsed = make_url(url)
    opened = create_engine(parsed.set(drivername="postgresql+psycopg") if parsed.drivername == "postgresql" else parsed)
    yield opened
    opened.dispose()


def bring(connection: Connection, revision: str) -> None:
    """Apply the migrations up to one."""
    config = Config()
    config.set_main_option("script_location", str(Path(migrate.__file__).parent / "migrations"))
    config.attributes["connection"] = connection
    command.upgrade(config, revision)


def test_leases_that_are_open_stay_and_those_that_were_closed_go(engine: Engine) -> None:
    with engine.begin() as connection:
        bring(connection, "0005")
        connection.execute(text("INSERT INTO accounts VALUES ('acc', 'somebody', 1)"))
        connection.execute(text("INSERT INTO nodes VALUES ('here', 'here', 'ready', '{}')"))
        for id, closed, captured in (("open", None, None), ("over", 7, "12")):
            connection.execute(
                text(
                    "INSERT INTO leases VALUES"
                    " (:id, 'acc', 'here', 'box', 'run x', 1000, 2, 0, 'USD', '500', 3, 4, :closed, :captured)"
                ),
                {"id": id, "closed": closed, "captured": captured},
            )
    migrate.upgrade(engine)
    with engine.connect() as connection:
        ((lease, seen),) = leases.every(connection)
        assert (lease.id, lease.purpose, str(lease.held), seen) == ("open", "run x", "0.000500 USD", 4)
        assert leases.opened(lease) == 3


def test_every_index_of_runs_serves_a_question(engine: Engine) -> None:
    migrate.upgrade(engine)
    with engine.connect() as connection:
        assert {index["name"] for index in inspect(connection).get_indexes("runs")} - {"uq_runs_id"} == {
            "ix_runs_sandbox_id_seq",
            "ix_runs_ended_at",
        }
        if connection.dialect.name != "sqlite":
            return
        for question, index in (
            ("SELECT id FROM runs WHERE ended_at < 5 LIMIT 500", "ix_runs_ended_at"),
            ("SELECT * FROM runs WHERE account_id = 'a' AND sandbox_id = 'b' ORDER BY seq DESC", "ix_runs_sandbox_id"),
            ("DELETE FROM runs WHERE sandbox_id = 'b'", "ix_runs_sandbox_id_seq"),
        ):
            plan = connection.execute(text(f"EXPLAIN QUERY PLAN {question}")).all()
            assert any(index in row[3] for row in plan), (question, plan)
            assert not any("TEMP B-TREE" in row[3] for row in plan), (question, plan)


def test_a_new_database_is_what_every_revision_makes(engine: Engine, tmp_path: Path) -> None:
    grown = create_engine(f"sqlite:///{tmp_path / 'grown.db'}") if engine.dialect.name == "sqlite" else engine
    with grown.begin() as connection:
        bring(connection, "head")
        assert migrate.current(connection) == migrate.latest()
        wanted = shape(connection)
    grown.dispose()
    migrate.upgrade(engine)
    with engine.connect() as connection:
        assert migrate.current(connection) == migrate.latest()
        assert shape(connection) == wanted


def shape(connection: Connection) -> dict[str, Any]:
    """Everything that a database says of its tables."""
    inspector = inspect(connection)
    return {
        table: (
            [(column["name"], str(column["type"]), column["nullable"], column["default"]) for column in columns],
            inspector.get_pk_constraint(table),
            sorted(map(str, inspector.get_foreign_keys(table))),
            sorted(map(str, inspector.get_unique_constraints(table))),
            sorted(str({**index, "dialect_options": options(index)}) for index in inspector.get_indexes(table)),
            inspector.get_table_options(table),
        )
        for (_, table), columns in inspector.get_multi_columns().items()
    }


def options(index: Any) -> dict[str, str]:
    """What an index is limited to, as text."""
    return {name: str(value) for name, value in index.get("dialect_options", {}).items()}
