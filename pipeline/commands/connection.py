"""Where a reading command reads: the running demo of this directory if there is one, else the configured ClickHouse."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from pipeline.embedded.connection_file import DEFAULT_PATH, read_connection_file
from pipeline.settings import load_settings
from schemas.errors import DependencyError
from sinks.clickhouse.client import Client, connect
from sinks.clickhouse.errors import ClickHouseError


@contextmanager
def reading_client() -> Iterator[Client]:
    """A ClickHouse client. Settings in the environment win over a demo that runs here."""
    if DEFAULT_PATH.exists() and "AFTERMATH_CLICKHOUSE_URL" not in os.environ:
        demo = read_connection_file()
        url, user, password, database = demo.clickhouse_url, demo.analyst, demo.analyst_password, "aftermath"
        hint = f"is the demo of {DEFAULT_PATH} still running? If not, delete that file"
    else:
        settings = load_settings()
        url, user = settings.clickhouse_url, settings.clickhouse_user
        password, database = settings.clickhouse_password.get_secret_value(), settings.clickhouse_database
        hint = "start `aftermath demo`, or set AFTERMATH_CLICKHOUSE_URL"
    try:
        client = connect(url, user, password, database, connect_timeout=3.0)
    except ClickHouseError as error:
        raise DependencyError(f"ClickHouse does not answer at {url} ({error}); {hint}.") from error
    try:
        yield client
    except ClickHouseError as error:
        raise DependencyError(f"ClickHouse refused the query ({error}); `aftermath doctor` says more.") from error
    finally:
        client.close()
