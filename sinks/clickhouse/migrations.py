"""Brings the database to the shape the code wants: numbered files, forward only, each applied once.

Two workers may do it at once: every statement can meet its own result, and the row that says "applied" is the same row.

ClickHouse has no transaction over statements, so every statement can be run again (IF NOT EXISTS) and a file counts as
applied only after its last one. `schema_migrations` keeps each file's checksum: a file that was changed after it was
applied is refused, because nobody could say any more what the database looks like.
"""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from schemas.errors import ConfigurationError
from sinks.clickhouse.client import Client
from sinks.clickhouse.cluster import on_cluster
from sinks.clickhouse.errors import ClickHouseError

FOLDER = Path(__file__).parent / "migrations"
FILE_NAME = re.compile(r"(\d{4})_[a-z0-9_]+\.sql")
MADE = re.compile(r"(?m)^CREATE (?:OR REPLACE )?(?:TABLE|VIEW) (?:IF NOT EXISTS )?(\w+)")
TABLE = """
CREATE TABLE IF NOT EXISTS schema_migrations
(
    number UInt32 COMMENT 'number of the file',
    name String COMMENT 'its name',
    checksum String COMMENT 'SHA-256 of its bytes',
    applied_at DateTime('UTC') DEFAULT now() COMMENT 'when its last statement was done'
)
ENGINE = ReplacingMergeTree
ORDER BY number
COMMENT 'Which migrations were applied.'
"""


@dataclass(frozen=True, slots=True)
class Migration:
    """One file."""

    number: int
    name: str
    text: str

    @property
    def checksum(self) -> str:
        return hashlib.sha256(self.text.encode()).hexdigest()

    @property
    def statements(self) -> list[str]:
        """A statement ends with a line that ends in a semicolon."""
        found = (part.strip() for part in re.split(r";[ \t]*(?:\r?\n|\Z)", self.text))
        return [part for part in found if re.sub(r"(?m)^\s*--.*$", "", part).strip()]


def load(folder: Path = FOLDER) -> list[Migration]:
    """All files, in order. Raises ConfigurationError where a number is missing or there twice."""
    found = []
    for path in sorted(folder.glob("*.sql")):
        name = FILE_NAME.fullmatch(path.name)
        if name is None:
            raise ConfigurationError(f"{path} is not named like 0001_what_it_does.sql; rename it.")
        found.append(Migration(int(name[1]), path.name, path.read_text()))
    numbers = [migration.number for migration in found]
    if not found or numbers != list(range(1, len(found) + 1)):
        raise ConfigurationError(f"The migrations in {folder} must be numbered 1, 2, 3 without gaps, not {numbers}.")
    return found


def migrate(client: Client, migrations: list[Migration] | None = None, *, cluster: str = "") -> list[str]:
    """Create the database where it is missing and apply what is not applied yet; returns the names of those.

    Where a table or view is gone, its file and those after it are applied again: what is there is left as it is.
    cluster: name of a ClickHouse cluster (of replicas, one shard); every statement then runs on all of it.
    """
    migrations = load() if migrations is None else migrations
    client.command(on_cluster(f"CREATE DATABASE IF NOT EXISTS {client.database}", cluster), use_database=False)
    client.command(on_cluster(TABLE, cluster))
    missing = _missing(client, migrations)
    gone = _gone(client, [migration for migration in migrations if migration not in missing])
    again = next((at for at, migration in enumerate(migrations) if migration.name in gone.values()), len(migrations))
    missing = [each for at, each in enumerate(migrations) if at >= again or each in missing]
    for migration in missing:
        for statement in migration.statements:
            client.command(on_cluster(statement, cluster))
        row = {"number": migration.number, "name": migration.name, "checksum": migration.checksum}
        frame = pl.DataFrame([row], schema={"number": pl.UInt32, "name": pl.String, "checksum": pl.String})
        client.insert_frame("schema_migrations", frame, f"migration:{migration.name}:{migration.checksum}")
    return [migration.name for migration in missing]


def check(client: Client, migrations: list[Migration] | None = None) -> list[str]:
    """The names of the files that are not applied yet, and what is gone although its file was applied; changes nothing.

    Raises as `migrate` does.
    """
    migrations = load() if migrations is None else migrations
    try:
        missing = _missing(client, migrations)
        gone = _gone(client, [migration for migration in migrations if migration not in missing])
    except ClickHouseError as error:
        if error.code in (60, 81):  # no such table, no such database: nothing is applied
            return [migration.name for migration in migrations]
        raise
    return [migration.name for migration in missing] + [f"{made} is gone ({name})" for made, name in gone.items()]


def _gone(client: Client, applied: list[Migration]) -> dict[str, str]:
    """Tables and views that these files made and that are not there, with the file of each."""
    rows = client.query("SELECT name FROM system.tables WHERE database = {d:String}", {"d": client.database})
    there = {row["name"] for row in rows}
    made = {name: migration.name for migration in reversed(applied) for name in MADE.findall(migration.text)}
    return {name: by for name, by in sorted(made.items()) if name not in there}


def _missing(client: Client, migrations: list[Migration]) -> list[Migration]:
    rows = client.query("SELECT number, name, checksum FROM schema_migrations FINAL ORDER BY number")
    applied = {row["number"]: row for row in rows}
    for migration in migrations:
        row = applied.get(migration.number)
        if row and row["checksum"] != migration.checksum:
            raise ConfigurationError(
                f"{migration.name} was changed after it was applied to {client.database} (as {row['name']}): put it "
                "back as it was, and make the change in a new file."
            )
    newest = max(applied, default=0)
    if newest > len(migrations):
        raise ConfigurationError(
            f"The database {client.database} has migration {newest}, and this version knows {len(migrations)}: it is "
            "older than the database; install the newer version."
        )
    return [migration for migration in migrations if migration.number not in applied]
