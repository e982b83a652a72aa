"""A ClickHouse for tests, from whatever this machine has.

The first that works: an address in AFTERMATH_TEST_CLICKHOUSE (http://user:password@host:8123), Docker, and where neither
is there the embedded one. That one is the same engine behind the same interface, but has no users, roles, policies or
replicated tables: tests that need those are marked `needs_server`.
"""

import secrets
import time
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from schemas.errors import AftermathError
from sinks.clickhouse.client import Client, connect
from tests.services.containers import Container, NoContainerError
from tests.services.kafka_server import free_ports

VARIABLE = "AFTERMATH_TEST_CLICKHOUSE"
IMAGE = "clickhouse/clickhouse-server:26.3"  # the one of docker-compose.yml; a test holds them equal
READY_SECONDS = 60.0


class NoClickHouseError(Exception):
    """What was asked for by name, or started, does not answer."""


@dataclass(frozen=True, slots=True)
class RealClickHouse:
    """One ClickHouse. `says`: what it is, for the summary of a test run."""

    says: str
    url: str
    user: str
    password: str = field(repr=False)
    is_server: bool  # has users, roles and policies

    def connect(self, database: str, user: str | None = None, password: str | None = None) -> Client:
        """A client of its own; as another user where one is named."""
        if user is None:
            return connect(self.url, self.user, self.password, database)
        return connect(self.url, user, password or "", database)

    def wait_until_it_answers(self) -> None:
        """Raises NoClickHouseError after READY_SECONDS."""
        end = time.monotonic() + READY_SECONDS
        while True:
            try:
                client = self.connect("default")
            except AftermathError as error:
                if time.monotonic() > end:
                    raise NoClickHouseError(
                        f"{self.says} does not answer after {READY_SECONDS:.0f} s: {error}"
                    ) from None
                time.sleep(0.1)
            else:
                client.close()
                return


def given(address: str) -> RealClickHouse:
    """The one at an address. Raises NoClickHouseError where it is none."""
    parts = urllib.parse.urlsplit(address)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise NoClickHouseError(f"{VARIABLE} must be http://user:password@host:port")
    place = f"{parts.hostname}:{parts.port or (8443 if parts.scheme == 'https' else 8123)}"
    return RealClickHouse(
        says=f"ClickHouse at {place} ({VARIABLE})",
        url=f"{parts.scheme}://{place}",
        user=urllib.parse.unquote(parts.username or "default"),
        password=urllib.parse.unquote(parts.password or ""),
        is_server=True,
    )


@contextmanager
def in_docker() -> Iterator[RealClickHouse]:
    """One container, removed at the end. Raises NoClickHouseError."""
    (port,) = free_ports(1)
    server = RealClickHouse(
        f"{IMAGE} in Docker", f"http://127.0.0.1:{port}", "aftermath", secrets.token_urlsafe(12), is_server=True
    )
    container = container_of(server, port)
    try:
        container.start()
        server.wait_until_it_answers()
        yield server
    except NoContainerError as error:
        raise NoClickHouseError(str(error)) from None
    finally:
        container.remove()


def container_of(server: RealClickHouse, port: int) -> Container:
    """The one that answers as this server does; the image's own user may make users and grant them rights."""
    environment = {
        "CLICKHOUSE_USER": server.user,
        "CLICKHOUSE_PASSWORD": server.password,
        "CLICKHOUSE_DEFAULT_ACCESS_MANAGEMENT": "1",
    }
    return Container(IMAGE, environment=environment, ports={8123: port})
