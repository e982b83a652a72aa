"""`tail --since` on a real broker: the embedded one does not look offsets up by time."""

from pathlib import Path

import pytest
from confluent_kafka import Message, Producer

from pipeline.cli import main
from pipeline.settings import Settings
from schemas.codecs.single import encode_record
from schemas.signals import Fact, Reduced
from schemas.times import format_time
from schemas.topics import SIGNALS
from tests.builders import at

pytestmark = pytest.mark.services


def test_tail_begins_with_what_was_written_at_the_moment_it_is_told(
    recorded_settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AFTERMATH_KAFKA", recorded_settings.kafka)
    producer = Producer({"bootstrap.servers": recorded_settings.kafka, "linger.ms": 0})
    stamps: list[int] = []

    def written(error: object, message: Message) -> None:
        assert error is None
        stamps.append(message.timestamp()[1])

    for second in range(200):  # until two were not written in one millisecond
        when = at(second)
        row = Fact(
            tenant="acme", fact_id=f"f{second}", kind="scale", resource="c/n/deployment/d", event_time=when,
            published_time=when, valid_from=when,
        )  # fmt: skip
        value = encode_record(Reduced("s", when, "a", row))
        producer.produce(SIGNALS.name, value, partition=1, on_delivery=written)
        assert producer.flush(30) == 0
        if stamps[-1] > stamps[0]:
            break
    newest = format_time(stamps[-1] * 1000)
    for since, seen in (("start", len(stamps)), (newest, 1), (format_time((stamps[-1] + 1) * 1000), 0)):
        assert main(["tail", "--since", since, "--once"]) == 0
        assert len(capsys.readouterr().out.splitlines()[1:]) == seen
