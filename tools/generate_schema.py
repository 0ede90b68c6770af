"""Write down what all migrations together make of an empty SQLite database, so that a new island need not run them.

    python tools/generate_schema.py            write src/skerry/island/store/schema.sql
    python tools/generate_schema.py --check    fail when it is not what would be written

Constraints come out of alembic in any order; here they are sorted.
"""

from __future__ import annotations

import sys
from itertools import groupby
from pathlib import Path

from sqlalchemy import Engine, create_engine

from skerry.island.store import migrate

_STATEMENTS = "SELECT sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY rowid"


def schema() -> str:
    """The statements, in the order in which the migrations make things."""
    memory: Engine = create_engine("sqlite://")
    try:
        with memory.begin() as connection:
            migrate.revise(connection)
            made = [_tidy(str(statement)) for (statement,) in connection.exec_driver_sql(_STATEMENTS)]
    finally:
        memory.dispose()
    head = f"-- Made by tools/generate_schema.py of the revisions up to {migrate.latest()}; do not edit.\n"
    return head + "".join(f"{statement};\n" for statement in made)


def _tidy(statement: str) -> str:
    """The same without spaces at the ends of lines, and with sorted constraints."""
    lines: list[str] = []
    for constraints, group in groupby(statement.splitlines(), lambda line: line.startswith("\tCONSTRAINT ")):
        kept = [line.rstrip() for line in group]
        if constraints:
            bare = sorted(line.removesuffix(",") for line in kept)
            kept = [f"{line}," for line in bare[:-1]] + bare[-1:]
        lines += kept
    return "\n".join(line for line in lines if line)


def main(arguments: list[str]) -> int:
    """Write or check; returns the exit status."""
    path, wanted = Path(migrate.SCHEMA), schema()
    if arguments == ["--check"]:
        if path.read_text(encoding="utf-8") == wanted:
            return 0
        print(f"{path.name} is not what the migrations make; run `make sync`", file=sys.stderr)
        return 1
    path.write_text(wanted, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
