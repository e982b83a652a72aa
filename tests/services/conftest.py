"""Real services for the tests in this folder. What is missing is a skip with its reason, and in CI a failure.

At the end of the run a line for each real part says what it was, or why it was left out.
"""

import os
import uuid
from collections.abc import Iterator
from typing import NoReturn

import pytest

from pipeline.embedded import Database
from pipeline.settings import Settings
from tests.services.alertmanager import Alertmanager, NoAlertmanagerError
from tests.services.alertmanager import alertmanager as any_alertmanager
from tests.services.clickhouse_server import VARIABLE as CLICKHOUSE_VARIABLE
from tests.services.clickhouse_server import RealClickHouse, given, in_docker
from tests.services.containers import engine_lacks
from tests.services.kafka_server import NoKafkaError, RealKafka, fresh_topics
from tests.services.kafka_server import real_kafka as any_real_kafka
from tests.services.used import USED

NEEDS_SERVER = "needs_server: needs users, roles or policies of a ClickHouse server; left out where there is none"


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", NEEDS_SERVER)


def leave_out(part: str, reason: str) -> NoReturn:
    """The test is skipped, or in CI fails, and the summary says why."""
    USED[part] = f"LEFT OUT, {reason}"
    if os.environ.get("CI", "").lower() == "true":
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def real_kafka() -> Iterator[RealKafka]:
    """One broker for the session."""
    with _or_left_out() as kafka:
        yield kafka


@pytest.fixture(scope="session")
def real_clickhouse(request: pytest.FixtureRequest) -> Iterator[RealClickHouse]:
    """One ClickHouse for the session: a server where there is one, else the embedded one, over HTTP too."""
    if address := os.environ.get(CLICKHOUSE_VARIABLE):
        server = given(address)
        server.wait_until_it_answers()  # what was asked for by name is not replaced by something else
        USED["ClickHouse"] = server.says
        yield server
    elif (lacks := engine_lacks()) is None:
        with in_docker() as server:
            USED["ClickHouse"] = server.says
            yield server
    else:
        database: Database = request.getfixturevalue("clickhouse")
        says = f"the embedded one, over HTTP ({CLICKHOUSE_VARIABLE} is not set; {lacks})"
        USED["ClickHouse"] = says
        yield RealClickHouse(says, database.url, database.user, database.password, is_server=False)


@pytest.fixture(autouse=True)
def _server_where_needed(request: pytest.FixtureRequest) -> None:
    if request.node.get_closest_marker("needs_server") is None:
        return
    server: RealClickHouse = request.getfixturevalue("real_clickhouse")
    if not server.is_server:
        pytest.skip(f"needs a ClickHouse server, and there is {server.says}")


@pytest.fixture(scope="session")
def alertmanager() -> Iterator[Alertmanager]:
    """One Alertmanager for the session; where there is none the test is skipped with the reason."""
    context = any_alertmanager()
    try:
        found = context.__enter__()
    except NoAlertmanagerError as error:
        USED["Alertmanager"] = f"LEFT OUT, {error}"
        pytest.skip(str(error))
    USED["Alertmanager"] = found.says
    try:
        yield found
    finally:
        context.__exit__(None, None, None)


@pytest.fixture(scope="module")
def recorded_settings(real_kafka: RealKafka) -> Settings:
    """Empty topics for recorded data, and a group prefix that no other module has."""
    settings = Settings(
        kafka=real_kafka.bootstrap,
        group_prefix=f"test-{uuid.uuid4().hex[:8]}",
        recorded=True,
        session_timeout_seconds=6,
        commit_interval_seconds=0.1,
        snapshot_seconds=0.5,
    )
    fresh_topics(settings)
    return settings


class _or_left_out:  # noqa: N801 - reads as a word of the language
    """The broker; where there is none the test is skipped, or in CI fails, with the reason."""

    def __init__(self) -> None:
        self._context = any_real_kafka()

    def __enter__(self) -> RealKafka:
        try:
            kafka = self._context.__enter__()
        except NoKafkaError as error:
            leave_out("Kafka", str(error))
        USED["Kafka"] = kafka.says
        return kafka

    def __exit__(self, *details: object) -> None:
        self._context.__exit__(None, None, None)
