"""One connection pool to ClickHouse: SQL out, frames in. The only place that knows the client library.

A frame goes as one Arrow stream in one INSERT, with a token: ClickHouse drops a second INSERT with a token it knows, so
a retry after an unknown answer does not double the rows. Safe to share between threads.
"""

import io
import random
import re
import threading
import time
import urllib.parse
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import clickhouse_connect
import polars as pl
from clickhouse_connect.driver.exceptions import ClickHouseError as DriverError
from clickhouse_connect.driver.exceptions import Error as CodedError
from clickhouse_connect.driver.httputil import check_env_proxy, get_pool_manager

from schemas.errors import ConfigurationError
from sinks.clickhouse.errors import NO_TLS, UNTRUSTED, ClickHouseError
from sinks.clickhouse.listening import ListeningPool
from sinks.clickhouse.writer import Writer

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")
CONNECT_SECONDS = 5.0
ANSWER_SECONDS = 30.0
INSERT_SETTINGS = {"async_insert": 0, "insert_deduplicate": 1, "input_format_allow_errors_num": 0}
SERVER_TEXT = re.compile(r"DB::Exception: (.*?)(?: \(version [^)]*\)+)?(?: \(for url .*)?$", re.DOTALL)

PLAINER = {  # what a long chain of network errors comes down to
    "Connection refused": "connection refused",
    "CERTIFICATE_VERIFY_FAILED": UNTRUSTED,
    "WRONG_VERSION_NUMBER": NO_TLS,
}

ACKNOWLEDGED = frozenset({"incidents", "acknowledgements"})
IS_ACKNOWLEDGED = "SELECT count() FROM acknowledgements WHERE has({ids:Array(String)}, incident_id)"
ACKNOWLEDGE = """INSERT INTO incidents SETTINGS insert_deduplicate = 0
SELECT i.* REPLACE (a.acknowledged_at AS acknowledged_at, a.acknowledged_by AS acknowledged_by)
FROM (SELECT * FROM incidents FINAL WHERE has({ids:Array(String)}, incident_id)) AS i
INNER JOIN (SELECT * FROM acknowledgements FINAL WHERE has({ids:Array(String)}, incident_id)) AS a
    ON a.tenant = i.tenant AND a.incident_id = i.incident_id
WHERE i.acknowledged_at IS NULL OR i.acknowledged_at != a.acknowledged_at"""


class Client:
    """Made by `connect`. Every method raises ClickHouseError with a verdict."""

    def __init__(self, driver: Any, database: str, pool: ListeningPool) -> None:
        self._driver, self.database, self._pool = driver, database, pool

    def is_ready(self) -> bool:
        """Whether it answers now. Does not raise."""
        return bool(self._driver.ping())

    def query(self, sql: str, parameters: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
        """Rows as dicts. Values go in as `{name:Type}`, never by building text."""
        try:
            found = self._driver.query(sql, parameters=dict(parameters or {}), tz_mode="aware")
            return list(found.named_results())
        except (DriverError, OSError) as error:
            raise _error("the query failed", error) from error

    def ask(self, sql: str, seconds: float, most_rows: int) -> list[dict[str, Any]]:
        """Rows of somebody's question, which the server ends after so many seconds.

        Nothing can be written by it: it is asked as a subquery, read-only, whatever user asks.
        """
        whole = f"SELECT * FROM (\n{sql}\n)"  # noqa: S608 - the text is what is asked
        bounds = {"readonly": 2, "max_execution_time": seconds, "max_result_rows": most_rows}
        try:
            found = self._driver.query(whole, settings={**bounds, "result_overflow_mode": "break"}, tz_mode="aware")
            return list(found.named_results())
        except (DriverError, OSError) as error:
            raise _error("the question failed", error) from error

    def frame(self, sql: str, parameters: Mapping[str, Any]) -> pl.DataFrame:
        """Rows as columns, by Arrow; times come as Datetime of microseconds in UTC."""
        try:
            body = self._driver.raw_query(sql, parameters=dict(parameters), fmt="ArrowStream")
        except (DriverError, OSError) as error:
            raise _error("the query failed", error) from error
        return pl.read_ipc_stream(io.BytesIO(body))

    def command(self, sql: str, *, use_database: bool = True) -> None:
        """A statement without rows."""
        try:
            self._driver.command(sql, use_database=use_database)
        except (DriverError, OSError) as error:
            raise _error("the statement failed", error) from error

    def insert_frame(self, table: str, frame: pl.DataFrame, token: str) -> None:
        """Insert all rows of the frame, or raise. Its columns are columns of the table, by name."""
        if frame.is_empty():
            return
        body = io.BytesIO()
        frame.write_ipc_stream(body, compat_level=pl.CompatLevel.oldest())
        names = ", ".join(_name(column) for column in frame.columns)
        settings = {**INSERT_SETTINGS, "insert_deduplication_token": token}
        try:
            self._driver.raw_insert(
                f"{_name(table)} ({names})", insert_block=body.getvalue(), settings=settings, fmt="ArrowStream"
            )
        except (DriverError, OSError) as error:
            raise self._refused(f"an INSERT into {table} failed", error) from error
        if table in ACKNOWLEDGED:
            self._acknowledge(frame["incident_id"].unique().to_list())

    def _acknowledge(self, ids: list[str]) -> None:
        """Put into rows of `incidents` who has them in hand, whichever of the two was written last.

        The one is found in the log, the other is said by people, and they come by different topics. Most incidents
        nobody has in hand when they are written: to ask that costs a tenth of the statement.
        """
        try:
            if int(self._driver.command(IS_ACKNOWLEDGED, parameters={"ids": ids})):
                self._driver.command(ACKNOWLEDGE, parameters={"ids": ids})
        except (DriverError, OSError) as error:
            raise self._refused("incidents could not be marked as acknowledged", error) from error

    def _refused(self, what: str, error: Exception) -> ClickHouseError:
        """With what was asked for, where the answer to this thread asked to be left alone for a while."""
        refused = _error(what, error)
        refused.retry_after = self._pool.retry_after
        return refused

    def close(self) -> None:
        """Give the connections back."""
        self._driver.close()
        self._pool.clear()


def connect(
    url: str,
    user: str = "default",
    password: str = "",
    database: str = "aftermath",
    *,
    ca_file: Path | None = None,
    connect_timeout: float = CONNECT_SECONDS,
    timeout: float = ANSWER_SECONDS,
) -> Client:
    """Connect to `http://host:port` or `https://host:port`. The database need not exist yet: the migrations make it.

    Over https the certificate must be for this host, and signed by an authority in ca_file, or else of the system.
    No answer in `timeout` seconds means: unknown, try again with the same token.
    """
    parts = urllib.parse.urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.password:
        raise ConfigurationError(
            f"AFTERMATH_CLICKHOUSE_URL must be http://host:port or https://host:port, not {_shown(parts)!r}; user and "
            "password have settings of their own."
        )
    if not NAME.fullmatch(database):
        raise ConfigurationError(f"The database {database[:80]!r} is not a plain name: letters, digits and _ only.")
    port = parts.port or (8443 if parts.scheme == "https" else 8123)
    try:
        proxy = {f"{parts.scheme}_proxy": check_env_proxy(parts.scheme, parts.hostname, port)}
        pool = ListeningPool(get_pool_manager(ca_cert=str(ca_file) if ca_file else None, **proxy))
        driver = clickhouse_connect.get_client(
            host=parts.hostname,
            port=port,
            username=user,
            password=password,
            secure=parts.scheme == "https",
            verify=True,
            pool_mgr=pool,
            connect_timeout=connect_timeout,
            send_receive_timeout=timeout,
            autogenerate_session_id=False,  # else two threads cannot ask at once
            compress=False,
            query_retries=0,  # retrying is the writer's
        )
    except (DriverError, OSError) as error:
        raise _error(f"no connection to {parts.hostname}", error) from error
    driver.database = database  # only now: the greeting fails where it does not exist
    return Client(driver, database, pool)


class Secret(Protocol):
    """A password that does not print itself."""

    def get_secret_value(self) -> str: ...


class ConnectionSettings(Protocol):
    """Where ClickHouse is: the part of a worker's settings that matters here."""

    @property
    def clickhouse_url(self) -> str: ...
    @property
    def clickhouse_ca_file(self) -> Path | None: ...
    @property
    def clickhouse_user(self) -> str: ...
    @property
    def clickhouse_password(self) -> Secret: ...
    @property
    def clickhouse_database(self) -> str: ...


def connect_as_set(
    at: ConnectionSettings, *, connect_timeout: float = CONNECT_SECONDS, timeout: float = ANSWER_SECONDS
) -> Client:
    """`connect`, to where the settings say."""
    return connect(
        at.clickhouse_url,
        at.clickhouse_user,
        at.clickhouse_password.get_secret_value(),
        at.clickhouse_database,
        ca_file=at.clickhouse_ca_file,
        connect_timeout=connect_timeout,
        timeout=timeout,
    )


class LateClient:
    """Connects at the first insert and not before: a ClickHouse that is down must not keep a worker from starting."""

    def __init__(self, settings: ConnectionSettings, timeout: float = ANSWER_SECONDS) -> None:
        self._settings = settings
        self._timeout = timeout
        self._client: Client | None = None
        self._lock = threading.Lock()

    def insert_frame(self, table: str, frame: pl.DataFrame, token: str) -> None:
        """As `Client.insert_frame`."""
        with self._lock:
            if self._client is None:
                self._client = connect_as_set(self._settings, timeout=self._timeout)
            client = self._client
        client.insert_frame(table, frame, token)


def connect_writer(settings: ConnectionSettings, attempts: int = 1) -> Writer:
    """The writer of a stage. With one attempt, it raises what is transient: the stage waits and calls again."""
    return Writer(LateClient(settings), time.sleep, random.random, attempts=attempts)


def _name(name: str) -> str:
    """Tables and columns are ours; what is not a plain name is a mistake of ours."""
    if not NAME.fullmatch(name):
        raise ValueError(f"not a plain name: {name[:80]!r}")
    return name


def _shown(parts: urllib.parse.SplitResult) -> str:
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()


def _error(what: str, error: Exception) -> ClickHouseError:
    code = error.code if isinstance(error, CodedError) else None
    found = SERVER_TEXT.search(str(error))
    text = next((said for sign, said in PLAINER.items() if sign in str(error)), str(error))
    detail = (found[1] if found else text).strip().rstrip(".")
    return ClickHouseError(what, detail.split("\n")[0][:400], code)
