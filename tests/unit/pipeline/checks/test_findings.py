"""What doctor says of what it sees: one sentence for each fault, which says what to do, and no secret."""

import socket
from collections.abc import Iterator

import pytest
from pydantic import SecretStr
from yarl import URL

from alerts.receivers import ReceiverConfig
from pipeline.checks.configuration import settings_shown
from pipeline.checks.finding import CLOCK_SECONDS, LATE_SECONDS, Finding, clock, findings
from pipeline.checks.kafka import READS, Group, finding_of
from pipeline.checks.receivers import fault_of, receivers
from pipeline.settings import STAGE_NAMES, Settings, load_settings
from schemas.errors import ConfigurationError, DependencyError

SECRET = "canary-4711"


def test_every_stage_is_looked_at() -> None:
    assert set(READS) == set(STAGE_NAMES)


@pytest.mark.parametrize(
    ("group", "level", "says"),
    [
        (Group(0, members=2), "ok", "2 members, nothing waits"),
        (Group(1234, members=2), "ok", "2 members, lag 1,234 messages"),
        (Group(1234, members=0), "warn", "nobody reads, lag 1,234 messages: start `aftermath run --stage detect`."),
        (Group(5, members=3, is_moving=True), "warn", "3 members share the partitions anew, lag 5 messages: ask again"),
        (Group(0, members=9, idle=1), "warn", "1 of 9 members have no partition, nothing waits: stop them"),
        (Group(7), "ok", "lag 7 messages; the embedded broker does not tell of members"),
    ],
)
def test_a_group_is_said_with_its_members_and_its_lag(group: Group, level: str, says: str) -> None:
    finding = finding_of("detect", group)
    assert (finding.check, finding.level) == ("group detect", level)
    assert finding.says.startswith(says)


@pytest.mark.parametrize(
    ("ahead", "level", "says"),
    [
        (CLOCK_SECONDS, "ok", "is that of this machine"),
        (CLOCK_SECONDS + 0.1, "warn", "2.1 s ahead of this machine's: let both follow one time server"),
        (-LATE_SECONDS, "warn", "60.0 s behind this machine's"),
        (-LATE_SECONDS - 0.1, "todo", "60.1 s behind this machine's"),
    ],
)
def test_clocks_that_differ_are_said_and_a_minute_is_a_fault(ahead: float, level: str, says: str) -> None:
    finding = clock("clock", "the broker's", ahead)
    assert finding.level == level
    assert says in finding.says


def test_what_a_check_raises_is_its_last_finding() -> None:
    def down(_: Settings) -> Iterator[Finding]:
        yield Finding("one", "ok", "fine")
        raise DependencyError("Start it.")

    def wrong(_: Settings) -> Iterator[Finding]:
        raise ConfigurationError("Change it.")
        yield

    assert list(findings("two", down, Settings())) == [
        Finding("one", "ok", "fine"),
        Finding("two", "todo", "Start it.", is_down=True),
    ]
    assert list(findings("three", wrong, Settings())) == [Finding("three", "todo", "Change it.")]


def test_settings_are_shown_those_that_were_changed_first_and_secrets_masked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AFTERMATH_JOURNAL_DIR")
    settings = load_settings(
        kafka="broker:9093",
        kafka_mechanism="PLAIN",
        kafka_user="worker",
        kafka_password=SECRET,
        clickhouse_url="http://db:8123",
        clickhouse_password=SECRET,
        otlp_token=SECRET,
        receivers={"hook": {"kind": "webhook", "url": f"https://hook.example/{SECRET}"}},
    )
    changed, defaults, *in_clear = settings_shown(settings)
    assert changed.says == (
        "kafka=broker:9093, kafka_mechanism=PLAIN, kafka_user=worker, kafka_password=****,"
        " clickhouse_url=http://db:8123, clickhouse_password=****, otlp_token=****, receivers={hook: webhook}"
    )
    assert "kafka_key_password=none" in defaults.says
    assert [finding.level for finding in in_clear] == ["warn", "warn"]
    assert SECRET not in "".join(finding.says for finding in (changed, defaults, *in_clear))


@pytest.fixture
def listening() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield int(server.getsockname()[1])


def config(**fields: object) -> ReceiverConfig:
    return ReceiverConfig.model_validate({"kind": "webhook", "url": SecretStr("https://x.example"), **fields})


def test_a_receiver_is_connected_to_and_sent_nothing(listening: int) -> None:
    hook = {"kind": "webhook", "url": f"http://127.0.0.1:{listening}/{SECRET}", "allow_private": True}
    found = list(receivers(load_settings(receivers={"hook": hook, "console": {"kind": "console"}})))
    assert [(finding.check, finding.level) for finding in found] == [
        ("heartbeat", "warn"),
        ("receiver hook", "ok"),
        ("receiver console", "warn"),
    ]
    assert found[0].says.startswith("none: nobody is paged when Aftermath itself is dead.")
    assert found[1].says == f"webhook: 127.0.0.1:{listening} can be connected to; nothing was sent"


def test_a_receiver_that_cannot_be_connected_to_is_said_with_what_to_do(listening: int) -> None:
    open_to_all = config(allow_private=True, timeout_seconds=0.5)
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    for url, receiver, says in [
        (f"http://127.0.0.1:{port}/{SECRET}", open_to_all, "is not reachable (Connection refused); check that it is"),
        (f"http://localhost:{listening}/{SECRET}", config(), "is the private address 127.0.0.1; set allow_private"),
        (f"https://127.0.0.1:{listening}/{SECRET}", open_to_all, "does not answer within 0.5 s"),
        (f"https://no-such-host.invalid/{SECRET}", config(), "the name cannot be resolved; check the url"),
    ]:
        fault = fault_of(URL(url), receiver)
        assert fault is not None
        assert says in fault
        assert SECRET not in fault


def test_a_rule_without_its_receiver_is_a_fault() -> None:
    found = list(findings("receivers", receivers, load_settings(receivers={"other": {"kind": "console"}})))
    assert [finding.level for finding in found] == ["todo"]
    assert "console" in found[0].says
