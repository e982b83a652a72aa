"""A Kafka broker in this process: librdkafka's mock cluster, driven by ctypes, that can be told to fail.

It is a real TCP broker that other clients and other processes reach, and it lives in the shared library that comes with
confluent-kafka, so there is nothing to install. It has no administration (topics are made here), no compaction, no
retention, no transactions, and keeps about 5 MB a partition. Close every client before it.
"""

import ctypes as c
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import confluent_kafka

from schemas.errors import ConfigurationError, DependencyError
from schemas.topics import ALL, Topic

PTR, STR, INT, I16, I32, I64, SIZE = c.c_void_p, c.c_char_p, c.c_int, c.c_int16, c.c_int32, c.c_int64, c.c_size_t
# Function without `rd_kafka_` -> its result and its arguments.
SIGNATURES: dict[str, tuple[Any, list[Any]]] = {
    "conf_new": (PTR, []),
    "conf_set": (INT, [PTR, STR, STR, STR, SIZE]),
    "new": (PTR, [INT, PTR, STR, SIZE]),
    "destroy": (None, [PTR]),
    "mock_cluster_new": (PTR, [PTR, INT]),
    "mock_cluster_destroy": (None, [PTR]),
    "mock_cluster_bootstraps": (STR, [PTR]),
    "mock_topic_create": (INT, [PTR, STR, INT, INT]),
    "mock_topic_set_error": (None, [PTR, STR, INT]),
    "mock_broker_set_down": (INT, [PTR, I32]),
    "mock_broker_set_up": (INT, [PTR, I32]),
    "mock_broker_set_rtt": (INT, [PTR, I32, INT]),
    "mock_push_request_errors_array": (None, [PTR, I16, SIZE, c.POINTER(INT)]),
    "mock_clear_request_errors": (None, [PTR, I16]),
    "mock_partition_set_leader": (INT, [PTR, STR, I32, I32]),
    "mock_coordinator_set": (INT, [PTR, STR, STR, I32]),
    "mock_group_initial_rebalance_delay_ms": (None, [PTR, I32]),
    "mock_set_apiversion": (INT, [PTR, I16, I16, I16]),
}
PAUSE_SECONDS = 0.0005  # before a command: one that comes while the cluster still ends the last one waits up to 1 s
BROKER = 1  # brokers are numbered from 1, and mostly there is one
PRODUCE, FETCH, METADATA, OFFSET_COMMIT, OFFSET_FETCH = 0, 1, 3, 8, 9
FIND_COORDINATOR, JOIN_GROUP, HEARTBEAT, LEAVE_GROUP, SYNC_GROUP = 10, 11, 12, 13, 14


def library_path(packages: Path | None = None) -> Path:
    """Where the wheel of confluent-kafka keeps librdkafka: beside the package on Linux, in `.dylibs` on macOS."""
    packages = packages or Path(confluent_kafka.__file__).parent.parent
    patterns = (
        ("confluent_kafka/.dylibs/librdkafka*.dylib",)
        if sys.platform == "darwin"
        else ("confluent_kafka.libs/librdkafka*.so*",)
    )
    for pattern in patterns:
        for path in sorted(packages.glob(pattern)):
            return path
    raise ConfigurationError(
        f"The embedded broker needs the librdkafka of the confluent-kafka wheel, and there is none below {packages}: "
        "reinstall confluent-kafka from its wheel, or set AFTERMATH_KAFKA to a real broker."
    )


@cache
def _library() -> c.CDLL:
    library = c.CDLL(str(library_path()))
    for name, (result, arguments) in SIGNATURES.items():
        function = getattr(library, f"rd_kafka_{name}")
        function.restype, function.argtypes = result, arguments
    return library


class MockKafka:
    """A cluster. Call it with the name of a mock function and its arguments: `kafka("broker_set_down", 1)`."""

    def __init__(self, topics: Sequence[Topic] = ALL, brokers: int = 1) -> None:
        self._library = _library()
        why = c.create_string_buffer(512)
        conf = self._library.rd_kafka_conf_new()
        self._library.rd_kafka_conf_set(conf, b"log_level", b"0", why, len(why))  # it warns that it has no broker
        self._owner = self._library.rd_kafka_new(0, conf, why, len(why))
        if not self._owner:
            raise DependencyError(f"The embedded broker did not start: {why.value.decode(errors='replace')}.")
        self._cluster = self._library.rd_kafka_mock_cluster_new(self._owner, brokers)
        if not self._cluster:
            self._library.rd_kafka_destroy(self._owner)
            raise DependencyError("The embedded broker did not start: is 127.0.0.1 reachable and a port free?")
        self.bootstrap: str = self._library.rd_kafka_mock_cluster_bootstraps(self._cluster).decode()
        self("group_initial_rebalance_delay_ms", 0)  # else the first assignment takes 3 s
        for topic in topics:
            self.create_topic(topic.name, topic.partitions)

    def __call__(self, command: str, *arguments: Any) -> None:
        if not self._cluster:
            raise RuntimeError(f"{command}: the embedded broker is closed")
        time.sleep(PAUSE_SECONDS)
        if code := getattr(self._library, f"rd_kafka_mock_{command}")(self._cluster, *arguments):
            raise RuntimeError(f"the embedded broker answered {code} to {command}{arguments}")

    def create_topic(self, name: str, partitions: int) -> None:
        """Must come before its first use: a topic that a client touches first gets four partitions."""
        self("topic_create", name.encode(), partitions, 1)

    def fail(self, api: int, *codes: int) -> None:
        """The next requests of this API are answered with these error codes; -195 drops the connection instead."""
        self("push_request_errors_array", api, len(codes), (INT * len(codes))(*codes))

    def stop_failing(self, api: int) -> None:
        """Take back what `fail` has left."""
        self("clear_request_errors", api)

    def set_down(self) -> None:
        """Close all connections and refuse new ones, until `set_up`."""
        self("broker_set_down", BROKER)

    def set_up(self) -> None:
        self("broker_set_up", BROKER)

    def close(self) -> None:
        """Safe to call twice."""
        if self._cluster:
            self._library.rd_kafka_mock_cluster_destroy(self._cluster)
            self._library.rd_kafka_destroy(self._owner)
            self._cluster = self._owner = None


@contextmanager
def embedded_broker(topics: Sequence[Topic] = ALL) -> Iterator[str]:
    """A broker with these topics; gives the bootstrap address, `127.0.0.1:port`."""
    kafka = MockKafka(topics)
    try:
        yield kafka.bootstrap
    finally:
        kafka.close()
