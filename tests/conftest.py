"""What several suites share: one embedded broker and one embedded database for the whole session."""

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import settings

from pipeline.embedded import Database, MockKafka
from tests.databases import shared_database
from tests.services.used import USED

# They share what is dear: the story as it was stored, one broker, the failures as they were played.
TOGETHER = ("tests/scenarios/", "tests/services/", "tests/unit/causes/")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Where several processes share the tests: a file goes to one of them, and all of a folder that shares something."""
    from xdist.scheduler import LoadFileScheduling

    class Whole(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            folder = next((folder for folder in TOGETHER if nodeid.startswith(folder)), None)
            return folder or super()._split_scope(nodeid)

    return Whole(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The folders that stay whole come first: each takes minutes, and one that begins last would be waited for alone."""
    items.sort(key=lambda item: not item.nodeid.startswith(TOGETHER))


def pytest_sessionfinish(session: pytest.Session) -> None:
    if (output := getattr(session.config, "workeroutput", None)) is not None:
        output["used"] = USED


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """A process that ran some of the tests has ended."""
    USED.update(getattr(node, "workeroutput", {}).get("used", {}))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    reports = [report for key in ("", "passed", "failed") for report in terminalreporter.stats.get(key, [])]
    of_matrix = [report for report in reports if "fault" in getattr(report, "keywords", ())]
    if tests := {report.nodeid for report in of_matrix}:
        seconds = sum(report.duration for report in of_matrix)
        terminalreporter.write_line(
            f"fault matrix: {len(tests)} tests, {seconds:.0f} s if they ran one after the other"
        )
    if USED:
        terminalreporter.section("real parts")
        for part, says in USED.items():
            terminalreporter.write_line(f"{part}: {says}")


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
    """chDB, over HTTP; `tests.databases.migrated` makes a database in it."""
    with shared_database() as database:
        yield database
