"""A broker and a database inside the process, to try Aftermath out and for tests: nothing to install.

Both listen on 127.0.0.1 and on free ports only. They are the real things (librdkafka's mock cluster, chDB), but not for
production: one tenant, no durability beyond the process.
"""

from typing import Any

from pipeline.embedded.broker import MockKafka, embedded_broker
from pipeline.embedded.connection_file import (
    Connection,
    read_connection_file,
    remove_connection_file,
    write_connection_file,
)
from pipeline.embedded.database import Database, embedded_database
from pipeline.settings import Settings

__all__ = [
    "Connection",
    "Database",
    "MockKafka",
    "embedded_broker",
    "embedded_database",
    "embedded_settings",
    "read_connection_file",
    "remove_connection_file",
    "write_connection_file",
]


def embedded_settings(kafka: str, database: Database) -> dict[str, Any]:
    """What to set for these two, whatever is set for others: they speak no TLS, and the broker knows no login."""
    fields = Settings.model_fields
    others = {name: fields[name].default for name in fields if name.startswith("kafka_")}
    return others | {
        "kafka": kafka,
        "clickhouse_url": database.url,
        "clickhouse_ca_file": None,
        "clickhouse_user": database.user,
        "clickhouse_password": database.password,
        "clickhouse_database": "aftermath",
    }
