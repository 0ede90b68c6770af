"""What a new SQLite database begins with, as the migrations make it: so that a first start needs none of them.

    python tools/schema.py            print it
    python tools/schema.py --write    keep it as src/skerry/island/store/migrations/schema.sql

To be written anew with each migration; until then a new database is brought from that file's revision to the newest.
"""

from __future__ import annotations

import sys
import tempfile

from sqlalchemy import Connection, create_engine

from skerry.island.store import migrate


def described(connection: Connection) -> str:
    """The statements that make an empty database what this one is."""
    made = connection.exec_driver_sql(
        "SELECT sql FROM sqlite_master WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite_%' ORDER BY rowid"
    )
    statements = [str(statement) for (statement,) in made]
    statements.append(f"INSERT INTO alembic_version VALUES ('{migrate.current(connection)}')")
    return migrate.SEPARATOR.join(statements) + "\n"


def main() -> None:
    """Print or keep them."""
    with tempfile.TemporaryDirectory() as directory:
        engine = create_engine(f"sqlite:///{directory}/new.db")
        with engine.begin() as connection:
            migrate.apply(connection)
            text = described(connection)
        engine.dispose()
    if "--write" in sys.argv[1:]:
        migrate.SCHEMA.write_text(text)
    else:
        sys.stdout.write(text)


if __name__ == "__main__":
    main()
