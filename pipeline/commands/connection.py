"""Where a command reads and writes: the running demo of this directory if there is one, else what is configured."""

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

from pipeline.embedded.connection_file import DEFAULT_PATH, read_connection_file
from pipeline.kafka_connection import KafkaConnection
from pipeline.reaching import reach
from pipeline.settings import load_settings
from schemas.errors import DependencyError
from sinks.clickhouse.client import Client, connect, connect_as_set
from sinks.clickhouse.errors import ClickHouseError

CONNECT_SECONDS = 3.0
KAFKA_SECONDS = 15.0


def reading_client() -> AbstractContextManager[Client]:
    """A ClickHouse client. Settings in the environment win over a demo that runs here."""
    return _client(is_writer=False)


def writing_client() -> AbstractContextManager[Client]:
    """The same, of a user who may write; the settings name one user for both."""
    return _client(is_writer=True)


@contextmanager
def _client(*, is_writer: bool) -> Iterator[Client]:
    url, hint, client = "", "", None
    try:
        if DEFAULT_PATH.exists() and "AFTERMATH_CLICKHOUSE_URL" not in os.environ:
            demo = read_connection_file()
            url, hint = demo.clickhouse_url, f"is the demo of {DEFAULT_PATH} still running? If not, delete that file"
            user, password = (demo.user, demo.password) if is_writer else (demo.analyst, demo.analyst_password)
            client = connect(url, user, password, connect_timeout=CONNECT_SECONDS)
        else:
            settings = load_settings()
            url, hint = settings.clickhouse_url, "start `aftermath demo`, or set AFTERMATH_CLICKHOUSE_URL"
            client = connect_as_set(settings, connect_timeout=CONNECT_SECONDS)
    except ClickHouseError as error:
        raise DependencyError(f"ClickHouse does not answer at {url} ({error}); {hint}.") from error
    try:
        yield client
    except ClickHouseError as error:
        raise DependencyError(f"ClickHouse refused the query ({error}); `aftermath doctor` says more.") from error
    finally:
        client.close()


def kafka_to_use() -> KafkaConnection:
    """The demo's broker, or the configured one if the environment names one; asked, so that a refusal is said at once.

    Raises DependencyError where it does not answer.
    """
    if DEFAULT_PATH.exists() and "AFTERMATH_KAFKA" not in os.environ:
        connection = KafkaConnection(servers=read_connection_file().kafka)
    else:
        connection = load_settings().kafka_connection
    reach(connection, KAFKA_SECONDS)
    return connection
