"""A broker and a database inside the process, to try Aftermath out and for tests: nothing to install.

Both listen on 127.0.0.1 and on free ports only. They are the real things (librdkafka's mock cluster, chDB), but not for
production: one tenant, no durability beyond the process.
"""

from pipeline.embedded.broker import MockKafka, embedded_broker
from pipeline.embedded.connection_file import (
    Connection,
    read_connection_file,
    remove_connection_file,
    write_connection_file,
)
from pipeline.embedded.database import Database, embedded_database

__all__ = [
    "Connection",
    "Database",
    "MockKafka",
    "embedded_broker",
    "embedded_database",
    "read_connection_file",
    "remove_connection_file",
    "write_connection_file",
]
