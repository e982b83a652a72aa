"""`aftermath dead-letters`: a message that was refused goes once more to where it came from, once, with an audit row."""

import json

import pytest

from pipeline.cli import main
from pipeline.commands.connection import writing_client
from pipeline.commands.dead_letters import REPLAYED_FROM
from schemas.codecs.single import encode
from schemas.errors import Reason, Rejected
from schemas.topics import CONTROLS, DEAD_LETTERS, TRACES
from sinks.dead_letters import MAX_VALUE_BYTES, dead_letter, dead_letter_message
from tests.stages.kafka import Broker

pytestmark = pytest.mark.embedded


def letter(offset: int, value: bytes = b"refused", topic: str = TRACES.name, stage: str = "detect") -> bytes:
    refused = Rejected(
        offset, Reason.UNKNOWN_FINGERPRINT, "publish the schema", value, b"session-1", 1_700_000_000_000_000
    )
    return dead_letter_message(refused, topic, 0, stage)


def replays() -> list[dict[str, object]]:
    with writing_client() as client:
        return client.query("SELECT offset, replayed_by, why FROM dead_letter_replays ORDER BY offset, replayed_at")


def test_each_is_replayed_once_whoever_refused_it(broker: Broker, capsys: pytest.CaptureFixture[str]) -> None:
    broker.produce(DEAD_LETTERS.name, [letter(5), letter(5, stage="archive"), letter(6, b"second")])
    assert main(["dead-letters", "list"]) == 0
    assert "2 of agent.traces.v1: unknown_fingerprint, first agent.traces.v1/0/5" in capsys.readouterr().out
    asked = ["dead-letters", "replay", "--why", "schema published", "--by", "mo"]
    assert main([*asked, "--most", "1"]) == 0
    assert "1 left alone: is beyond --most 1" in capsys.readouterr().out
    assert main(asked) == 0
    assert "1 left alone: was replayed before" in capsys.readouterr().out
    assert main(asked) == 1
    assert "Nothing was replayed." in capsys.readouterr().out
    assert sorted(broker.values(TRACES.name)) == [b"refused", b"second"]
    assert [(row["offset"], row["replayed_by"], row["why"]) for row in replays()] == [
        (5, "user:mo", "schema published"),
        (6, "user:mo", "schema published"),
    ]
    assert main([*asked, "--again"]) == 0
    assert len(broker.values(TRACES.name)) == 4


def test_the_message_says_where_it_came_from_and_keeps_its_key(broker: Broker) -> None:
    broker.produce(DEAD_LETTERS.name, [letter(5)])
    assert main(["dead-letters", "replay", "--why", "mended"]) == 0
    (message,) = [found for number in range(TRACES.partitions) for found in broker.messages(TRACES.name, number)]
    assert message.key() == b"session-1"
    assert message.headers() == [(REPLAYED_FROM, b"agent.traces.v1/0/5")]


def test_a_forged_letter_gives_nobody_a_control(broker: Broker, capsys: pytest.CaptureFixture[str]) -> None:
    broker.produce(
        DEAD_LETTERS.name, [letter(1, topic=CONTROLS.name), letter(2, b""), letter(3, b"x" * MAX_VALUE_BYTES)]
    )
    assert main(["dead-letters", "replay", "--why", "mended", "--json"]) == 1
    left = json.loads(capsys.readouterr().out.splitlines()[-1])["left"]
    assert left == {"is not of an input topic": 1, "has no bytes": 1, "was cut at 900,000 bytes": 1}
    assert broker.values(CONTROLS.name) == []
    assert replays() == []


def test_a_reason_is_needed_and_one_may_choose(broker: Broker, capsys: pytest.CaptureFixture[str]) -> None:
    broker.produce(DEAD_LETTERS.name, [letter(5)])
    assert main(["dead-letters", "replay"]) == 2
    assert "--why" in capsys.readouterr().err
    assert main(["dead-letters", "replay", "--why", "mended", "--reason", "truncated"]) == 1
    assert main(["dead-letters", "list", "--topic", "system.metrics.v1"]) == 0
    assert "No dead letters stand in Kafka" in capsys.readouterr().out


def test_what_is_listed_is_redacted(broker: Broker, capsys: pytest.CaptureFixture[str]) -> None:
    record = dead_letter(
        Rejected(5, Reason.TRUNCATED, "cut", b"password=hunter2hunter2", None, 1_700_000_000_000_000),
        TRACES.name,
        0,
        "detect",
    )
    broker.produce(DEAD_LETTERS.name, [encode("dead_letter", record)])
    assert main(["dead-letters", "list", "--json"]) == 0
    shown = capsys.readouterr().out
    assert "hunter2" not in shown
    assert "password" in shown
