"""Databases of tests in the one embedded ClickHouse of a session, with every migration in them.

The migrations run once, in a template; every database after it is a restored backup of that: a fifth of the work.
`tests/embedded/test_databases.py` holds that nothing of it differs from one that was migrated.
"""

import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pipeline.embedded import Database, embedded_database
from sinks.clickhouse import migrations
from sinks.clickhouse.client import Client, connect

TEMPLATE = "migrated_template"
BACKUP = f"Memory('{TEMPLATE}')"
_engines: dict[str, "Engine"] = {}  # by the address of its port


class Engine:
    """A connection to the engine itself: its port runs no BACKUP and no RESTORE, for good reasons."""

    def __init__(self, folder: Path, database: Database) -> None:
        from chdb import _chdb  # type: ignore[attr-defined]

        self._connection: Any = _chdb.connect(str(folder))
        self._database = database
        self._has_template = False

    def copy_template(self, name: str) -> None:
        """Make a database of this name, which must not be there yet."""
        if not self._has_template:
            client = connect(self._database.url, self._database.user, self._database.password, TEMPLATE)
            migrations.migrate(client)
            client.close()
            self._run(f"BACKUP DATABASE {TEMPLATE} TO {BACKUP}")
            self._run(f"DROP DATABASE {TEMPLATE}")
            self._has_template = True
        self._run(f"RESTORE DATABASE {TEMPLATE} AS {name} FROM {BACKUP}")

    def close(self) -> None:
        self._connection.close()

    def _run(self, sql: str) -> None:
        self._connection.query(sql, "Null", params={})


@contextmanager
def shared_database() -> Iterator[Database]:
    """The embedded ClickHouse of a session. A process can have one: tests use a database name each."""
    memory = Path("/dev/shm")
    with (
        tempfile.TemporaryDirectory(prefix="aftermath-tests-", dir=memory if memory.is_dir() else None) as folder,
        embedded_database(Path(folder)) as database,
    ):
        engine = _engines[database.url] = Engine(Path(folder), database)
        try:
            yield database
        finally:
            del _engines[database.url]
            engine.close()


def migrated(database: Database, name: str | None = None) -> Client:
    """A client of a new database with all tables and views; the caller drops the database and closes the client."""
    name = name or f"d_{uuid.uuid4().hex[:12]}"
    _engines[database.url].copy_template(name)
    return connect(database.url, database.user, database.password, name)


def drop(client: Client) -> None:
    """The database and the client of it are done with."""
    client.command(f"DROP DATABASE IF EXISTS {client.database}", use_database=False)
    client.close()
