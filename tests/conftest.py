"""What several suites share: one embedded broker and one embedded database for the whole session."""

from collections.abc import Iterator

import pytest
from hypothesis import settings

from pipeline.embedded import Database, MockKafka, embedded_database


@pytest.fixture(scope="session", autouse=True)
def _journal_of_its_own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Workers that are killed leave files; here, and to the processes that tests start, they are the tests' own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AFTERMATH_JOURNAL_DIR", str(tmp_path_factory.mktemp("journal")))
        yield


settings.register_profile("any machine", deadline=None)  # how long an example takes says nothing where others work too
settings.load_profile("any machine")


@pytest.fixture(scope="session")
def kafka() -> Iterator[MockKafka]:
    """Every topic of Aftermath; make topics of your own for a test with `create_topic`."""
    broker = MockKafka()
    yield broker
    broker.close()


@pytest.fixture(scope="session")
def clickhouse() -> Iterator[Database]:
    """chDB, over HTTP. A process can have one: tests use a database name each."""
    with embedded_database() as database:
        yield database
