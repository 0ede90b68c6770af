"""A database that an earlier Skerry has worked with is brought to this schema with what it holds."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, Engine, create_engine, inspect, make_url, text
from tools.schema import described

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


def unordered(described: str) -> list[list[str]]:
    """Statements whose lines are sorted: Alembic writes the constraints of a table in any order."""
    statements = described.split(migrate.SEPARATOR)
    return [sorted(line.strip().rstrip(", ") for line in statement.splitlines()) for statement in statements]


@pytest.mark.parametrize("revision", ["0005", "head"])
def test_a_new_database_is_what_the_migrations_make(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, revision: str
) -> None:
    migrated, new = (create_engine(f"sqlite:///{tmp_path / name}") for name in ("migrated.db", "new.db"))
    with migrated.begin() as connection:
        bring(connection, revision)
        if revision != "head":
            # A file that was not written anew with the last migrations is no more than a beginning.
            monkeypatch.setattr(migrate, "SCHEMA", tmp_path / "older.sql")
            migrate.SCHEMA.write_text(described(connection))
            bring(connection, "head")
        wanted = described(connection)
    migrate.upgrade(new)
    with new.connect() as connection:
        assert unordered(described(connection)) == unordered(wanted), "run `make schema`"
    migrated.dispose()
    new.dispose()


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
