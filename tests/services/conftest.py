"""Real services for the tests in this folder. What is missing is a skip with its reason, and in CI a failure.

At the end of the run a line for each real part says what it was, or why it was left out.
"""

import os
import uuid
from collections.abc import Iterator

import pytest

from pipeline.settings import Settings
from tests.services.kafka_server import NoKafkaError, RealKafka, fresh_topics
from tests.services.kafka_server import real_kafka as any_real_kafka

USED: dict[str, str] = {}


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if USED:
        terminalreporter.section("real parts")
        for part, says in USED.items():
            terminalreporter.write_line(f"{part}: {says}")


@pytest.fixture(scope="session")
def real_kafka() -> Iterator[RealKafka]:
    """One broker for the session."""
    with _or_left_out() as kafka:
        yield kafka


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
            USED["Kafka"] = f"LEFT OUT, {error}"
            if os.environ.get("CI", "").lower() == "true":
                pytest.fail(str(error), pytrace=False)
            pytest.skip(str(error))
        USED["Kafka"] = kafka.says
        return kafka

    def __exit__(self, *details: object) -> None:
        self._context.__exit__(None, None, None)
