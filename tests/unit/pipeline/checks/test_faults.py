"""Each fault that doctor knows, made on purpose: it is one finding, and its sentence says what to do."""

import re
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from yarl import URL

from alerts.receivers import ReceiverConfig
from pipeline import transport
from pipeline.checks import clickhouse as clickhouse_check
from pipeline.checks import configuration, receivers
from pipeline.checks.finding import Check, Finding, findings
from pipeline.checks.kafka import Group, _clock
from pipeline.clock import now_micros
from pipeline.settings import Settings, load_settings
from schemas.times import MICROS, MINUTE
from sinks.clickhouse import migrations


def todo(check: Check, settings: Settings) -> str:
    """The sentence of the one fault there is."""
    found = [one for one in findings("here", check, settings) if one.level == "todo"]
    assert len(found) == 1, found
    return found[0].says


@pytest.mark.parametrize(
    ("name", "text", "check", "says"),
    [
        ("limits_file", "limits:\n  - max_stepz: 3\n", configuration.limits, r"limits_file\.yml.*max_stepz"),
        ("owners_file", "owners:\n  - owner: web\n    scope: [\n", configuration.owners, r"owners_file\.yml"),
        (
            "routes_file",
            "route:\n  receiver: nobody\n",
            configuration.routes,
            r"routes_file\.yml:2: nobody is not conf",
        ),
        ("limits_file", None, configuration.limits, r"limits_file\.yml"),
    ],
)
def test_a_file_that_is_wrong_or_gone_is_named_with_what_is_wrong_in_it(
    name: str, text: str | None, check: Check, says: str, tmp_path: Path
) -> None:
    path = tmp_path / f"{name}.yml"
    if text is not None:
        path.write_text(text)
    given: dict[str, Any] = {name: path, "receivers": {"console": {"kind": "console"}}}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)
        sentence = todo(check, load_settings(**given))
    assert re.search(says, sentence), sentence


def test_a_rule_that_is_wrong_says_where_to_look(tmp_path: Path) -> None:
    (tmp_path / "broken.yml").write_text("id: broken\n")
    assert todo(configuration.rules, load_settings(rules_dir=tmp_path)).endswith("see `aftermath rules check`.")


def test_a_library_that_is_not_the_one_we_know_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport.aiokafka, "__version__", "0.99.0")
    sentence = todo(configuration.packages, Settings())
    assert "install the versions of requirements.lock: aiokafka is 0.99.0, not 0.14" in sentence


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """A ClickHouse that says this of itself."""

    def made(version: str = "26.3.1", ahead: int = 0, missing: tuple[str, ...] = ()) -> None:
        client = SimpleNamespace(
            query=lambda _: [{"version": version, "now": now_micros() + ahead}], close=lambda: None
        )
        monkeypatch.setattr(clickhouse_check, "connect_as_set", lambda _: client)
        monkeypatch.setattr(migrations, "check", lambda _: list(missing))

    return made


def test_of_clickhouse_an_old_version_a_wrong_clock_and_missing_tables_are_said(server: Callable[..., None]) -> None:
    server()
    assert {one.level for one in findings("here", clickhouse_check.clickhouse, Settings())} == {"ok"}
    server(version="24.8.1.1")
    assert todo(clickhouse_check.clickhouse, Settings()) == "ClickHouse 24.8.1.1 is older than 25.8: upgrade it."
    server(ahead=5 * MINUTE)
    assert "ahead of this machine's: let both follow one time server" in todo(clickhouse_check.clickhouse, Settings())
    server(missing=("0005_trail.sql", "agents"))
    assert todo(clickhouse_check.clickhouse, Settings()) == (
        "2 migrations or tables are missing, the first: 0005_trail.sql; run `aftermath setup`."
    )


@pytest.mark.parametrize(
    ("age_seconds", "detect", "level"),
    [
        (-300, Group(0, members=0), "todo"),  # stamps of the future: the broker's clock is ahead, whoever reads
        (-30, Group(0, members=0), "warn"),
        (300, Group(0, members=1), "todo"),  # detect ticks each pane: stamps so old say that the clock is behind
        (300, Group(0, members=0), "ok"),  # nobody ticks
        (300, Group(9, members=1), "ok"),  # it has not read all
        (3, Group(0, members=1), "ok"),
    ],
)
def test_the_brokers_clock_is_judged_by_its_newest_stamp(age_seconds: int, detect: Group, level: str) -> None:
    found: Finding = _clock(Settings(), detect, now_micros() - age_seconds * MICROS)
    assert found.level == level
    assert level == "ok" or found.says.endswith("let both follow one time server (NTP)")


@pytest.fixture
def plain() -> Iterator[int]:
    """A port that talks, but no TLS."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def answer() -> None:
            connection, _ = listening.accept()
            with connection:
                connection.recv(1000)
                connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        yield int(listening.getsockname()[1])
        thread.join(10)


def test_a_receiver_whose_tls_fails_is_said_with_what_to_check(plain: int) -> None:
    config = ReceiverConfig.model_validate({"kind": "webhook", "url": "https://x.example", "allow_private": True})
    assert receivers.fault_of(URL(f"https://127.0.0.1:{plain}/key"), config) == (
        f"127.0.0.1:{plain}: the TLS certificate or handshake was refused; check the url, and its certificate."
    )


def test_a_heartbeat_to_nobody_is_a_fault(tmp_path: Path) -> None:
    path = tmp_path / "routes.yml"
    path.write_text("route:\n  receiver: console\nheartbeat:\n  receiver: nobody\n")
    given = load_settings(routes_file=path, receivers={"console": {"kind": "console"}})
    assert "nobody" in todo(receivers.receivers, given)
