"""A ClickHouse inside the process: chDB, reached over HTTP exactly as a server is. For trying out and for tests.

Each request has an engine connection of its own (a millisecond), so that nothing a request sets (a database, a setting,
a temporary table, read-only mode) reaches the next, as on a server without a session; and requests run side by side.
Rows go from the request's body through a file in memory into the engine's own INSERT, which parses every input format.

Two users, each with a password made at start: `default` may write, `analyst` only reads: the engine's own `readonly`
holds that, and the statement is looked at as well (statements.py). An engine takes one directory per process: there is
one embedded database at a time.
"""

import os
import re
import secrets
import shutil
import tempfile
import threading
import urllib.parse
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline.embedded.http import EmbeddedServer
from pipeline.embedded.statements import READING, REFUSED_SETTINGS, Engine, RefusedError, Statement, parse
from schemas.errors import ConfigurationError, UsageError

HOME = "home"  # what a client gets that asks for `default`, which is a view of the file system in chDB
AT_ONCE = 4  # statements; more wait
WAIT_SECONDS = 120.0
# Parameters of the interface that are no settings of the engine, or that make no sense on one machine.
NOT_SETTINGS = frozenset(
    {
        *("query", "database", "default_format", "query_id", "role", "stacktrace", "quota_key", "readonly"),
        *("session_id", "session_timeout", "session_check", "close_session"),
        *("compress", "decompress", "enable_http_compression", "http_zlib_compression_level"),
        *("buffer_size", "wait_end_of_query", "client_protocol_version"),
        *("send_progress_in_http_headers", "http_headers_progress_interval_ms"),
        *("cancel_http_readonly_queries_on_client_close", "http_write_exception_in_output_format"),
    }
)
CODE = re.compile(r"Code: (\d+)")
FORMAT_AT_END = re.compile(r"\bFORMAT\s+(\w+)\s*(?:SETTINGS\b.*)?$", re.IGNORECASE | re.DOTALL)
_running = threading.Lock()


@dataclass(frozen=True, slots=True)
class Database:
    """Where the database is, and the passwords of this run."""

    url: str
    password: str = field(repr=False)
    analyst_password: str = field(repr=False)
    user: str = "default"
    analyst: str = "analyst"

    @property
    def host(self) -> str:
        return urllib.parse.urlsplit(self.url).hostname or ""

    @property
    def port(self) -> int:
        return urllib.parse.urlsplit(self.url).port or 0


@dataclass(frozen=True, slots=True)
class Result:
    """What came of a statement."""

    data: bytes
    format: str
    read_rows: int
    written_rows: int


@contextmanager
def embedded_database(kept_in: Path | None = None) -> Iterator[Database]:
    """A fresh database; its port, its threads and its files are gone when the context ends.

    kept_in: the folder for its files, which stay; what an earlier run left there is there again.
    """
    if not _running.acquire(blocking=False):
        raise UsageError("This process has an embedded database already; use that one, or end it first.")
    scratch = tempfile.mkdtemp(prefix="aftermath-", dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None)  # noqa: S108
    try:
        engine = _Engine(str(kept_in or scratch), scratch)
        try:
            database = Database("", secrets.token_urlsafe(18), secrets.token_urlsafe(18))
            passwords = {database.user: database.password, database.analyst: database.analyst_password}
            server = EmbeddedServer(engine, passwords, writer=database.user)
            server.start()
            try:
                yield Database(server.url, database.password, database.analyst_password)
            finally:
                server.close()
        finally:
            engine.close()
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
        _running.release()


class _Engine:
    """chDB on one directory. `run` may be called from several threads."""

    def __init__(self, folder: str, scratch: str) -> None:
        try:
            from chdb import _chdb  # type: ignore[attr-defined, unused-ignore]
        except ImportError:
            raise ConfigurationError(
                "The embedded ClickHouse is not installed: run `pip install 'aftermath[embedded]'`, "
                "or set AFTERMATH_CLICKHOUSE_URL to a server."
            ) from None
        chdb: Any = _chdb
        self._connect: Callable[[], Any] = lambda: chdb.connect(folder)
        self._scratch = scratch
        self._root = self._connect()  # the engine lives as long as one connection does
        self._free = threading.BoundedSemaphore(AT_ONCE)
        self._root.query(f"CREATE DATABASE IF NOT EXISTS {HOME}", "Null", params={})
        self._names = Engine(
            *(self._known(table) for table in ("table_functions", "table_engines", "database_engines"))
        )

    def _known(self, table: str) -> frozenset[str]:
        found = self._root.query(f"SELECT lower(name) FROM system.{table}", "TabSeparated", params={})  # noqa: S608
        return frozenset(bytes(found.bytes()).decode().split())

    def close(self) -> None:
        """Wait for what is running, then let the engine go."""
        for _ in range(AT_ONCE):
            if not self._free.acquire(timeout=WAIT_SECONDS):
                break  # a statement hangs: its connection keeps the engine, the files go all the same
        self._root.close()

    def run(self, body: bytes, options: Mapping[str, str], *, is_read_only: bool) -> Result:
        """Run one statement. Raises RefusedError with ClickHouse's code and message."""
        parameters = {name[6:]: value for name, value in options.items() if name.startswith("param_")}
        statement = parse(body, self._names, parameters)
        if is_read_only and statement.keyword not in READING and statement.keyword not in ("SET", "USE"):
            raise RefusedError(
                164, "READONLY", "Cannot execute query in readonly mode: this user, or a GET request, only reads."
            )
        if not self._free.acquire(timeout=WAIT_SECONDS):
            raise RefusedError(202, "TOO_MANY_SIMULTANEOUS_QUERIES", "The embedded database is busy; try again.")
        try:
            connection = self._connect()
            try:
                self._prepare(connection, options, is_read_only)
                if statement.format is not None:
                    return _insert(connection, statement, self._scratch)
                wanted = options.get("default_format", "TabSeparated")
                given = FORMAT_AT_END.search(statement.sql)
                found = connection.query(statement.sql, wanted, params=parameters)
                shown = given[1] if given else wanted
                return Result(bytes(found.bytes()), shown, found.storage_rows_read(), found.rows_written())
            finally:
                connection.close()
        except RuntimeError as error:  # what chDB raises, whatever the cause
            raise _refusal(error) from None
        finally:
            self._free.release()

    def _prepare(self, connection: Any, options: Mapping[str, str], is_read_only: bool) -> None:
        database = options.get("database", HOME)
        name = HOME if database in ("", "default") else database
        connection.query(f"USE `{_quoted(name)}`", "Null", params={})
        for setting, value in options.items():
            if setting in NOT_SETTINGS or setting.startswith("param_"):
                continue
            if not setting.isidentifier() or REFUSED_SETTINGS.fullmatch(setting):
                raise RefusedError(164, "READONLY", f"The setting {setting[:60]!r} cannot be changed here.")
            connection.query(f"SET {setting} = '{_quoted(value)}'", "Null", params={})
        if is_read_only:
            connection.query("SET readonly = 2", "Null", params={})


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace("'", "\\'").replace("`", "\\`")


def _insert(connection: Any, statement: Statement, scratch: str) -> Result:
    """Not the engine's streaming INSERT: that answers "written" for rows it could not store, on a full disk say."""
    with tempfile.NamedTemporaryFile(prefix="rows-", dir=scratch) as file:
        try:
            file.write(statement.data)
            file.flush()
        except OSError as error:
            raise RefusedError(243, "NOT_ENOUGH_SPACE", f"There is no room for the rows: {error.strerror}.") from None
        source = f"FROM INFILE '{_quoted(file.name)}' COMPRESSION 'none' FORMAT {statement.format}"
        found = connection.query(f"{statement.sql} {source}", "Null", params={})
    return Result(b"", "Null", 0, found.rows_written())


def _refusal(error: RuntimeError) -> RefusedError:
    text = str(error)
    code = CODE.search(text)
    refused = RefusedError(int(code[1]) if code else 1002, "UNKNOWN_EXCEPTION", "")
    refused.args = (text[text.index("Code: ") :] if code else f"Code: 1002. DB::Exception: {text}",)
    return refused
