"""`aftermath control` against the embedded parts: from the command to the topic, the table and the timeline."""

import json
from types import SimpleNamespace

import pytest

from pipeline.cli import main
from pipeline.clock import now_micros
from pipeline.frontier import Element
from pipeline.settings import load_settings
from pipeline.stages.control_log import give, known_controls
from pipeline.stages.record import Record as RecordStage
from schemas.codecs.single import decode, encode
from schemas.controls import Control, control_of, with_id
from schemas.times import MINUTE
from schemas.topics import CONTROLS
from sinks.clickhouse import rows
from sinks.clickhouse.client import connect_writer
from tests.stages.kafka import Broker

pytestmark = pytest.mark.embedded


@pytest.fixture(autouse=True)
def _tenant(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AFTERMATH_TENANT", "acme")


def test_pause_list_resume(broker: Broker, capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        main(["control", "pause", "seo-agent", "--for", "10m", "--why", "writes the same hook", "--author", "mo"]) == 0
    )
    assert "seo-agent of acme is paused until" in capsys.readouterr().out
    assert main(["control", "halt", "seo-agent", "--tool", "cms.write", "--why", "breaks pages", "--author", "mo"]) == 0
    assert main(["control", "list", "--json"]) == 0
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert [(c["action"], c["tool_name"], c["author"]) for c in found] == [
        ("pause", "*", "user:mo"),
        ("halt", "cms.write", "user:mo"),
    ]
    assert main(["control", "list", "--tenant", "other"]) == 0
    assert "No agent of other is held." in capsys.readouterr().out
    assert main(["control", "resume", "seo-agent", "--tenant", "other"]) == 1
    assert main(["control", "resume", "seo-agent", "--tool", "cms.write"]) == 0
    assert "seo-agent tool cms.write of acme goes on" in capsys.readouterr().out
    assert main(["control", "list"]) == 0
    assert "seo-agent: paused for another" in capsys.readouterr().out
    assert main(["control", "resume", "seo-agent"]) == 0
    assert main(["control", "resume", "seo-agent"]) == 1


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["pause", "*", "--why", "all of them"], "Name one agent of one tenant"),
        (["pause", "a", "--why", "all of them", "--tenant", "*"], "Name one agent of one tenant"),
        (["pause", "a", "--why", "x"], "--why says"),
        (["pause", "a", "--why", "loops", "--for", "0m"], "--for says"),
        (["pause", "a", "--why", "loops", "--for", "soon"], "--for says"),
    ],
)
def test_what_cannot_be_meant_is_refused(
    broker: Broker, capsys: pytest.CaptureFixture[str], words: list[str], says: str
) -> None:
    assert main(["control", *words]) == 2
    assert says in capsys.readouterr().err
    assert broker.values(CONTROLS.name) == []


def test_every_control_is_a_row_for_ever_and_stands_on_the_timeline(
    broker: Broker, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["setup"]) == 0
    settings = load_settings()
    paused = with_id(
        Control(
            tenant="acme", agent_id="seo-agent", action="pause", author="rule:feedback_loop", reason="loops",
            at=now_micros(), until=now_micros() + MINUTE, incident_id="incident-1",
        )
    )  # fmt: skip
    give(settings.kafka_connection, [paused])
    assert main(["control", "resume", "seo-agent", "--why", "was wanted", "--author", "mo"]) == 0
    values = broker.values(CONTROLS.name)
    forged = encode("control", paused.as_record() | {"tenant": "other"})
    records = [
        SimpleNamespace(offset=number, timestamp=0, timestamp_type=1, key=paused.key.encode(), value=value)
        for number, value in enumerate([*values, forged])
    ]
    element = Element(CONTROLS.name, 0, records, 0, 3, 1, 0, 0)
    writer = connect_writer(settings)
    found = RecordStage(settings, lambda _: None, writer=writer).rows(element)
    for table, frame in found.items():
        assert writer.write(table, frame, table) == []
    assert [control_of(decode(value)[1], paused.key).action for value in values] == ["pause", "resume"]
    assert [c.action for c in known_controls(settings.kafka_connection)] == ["resume"]
    assert found["controls"]["tenant"].to_list() == ["acme", "acme"]
    assert found["incident_timeline"]["shows"].to_list() == [
        "seo-agent paused for 1 min by rule:feedback_loop: loops",
        "seo-agent resumed by user:mo: was wanted",
    ]
    capsys.readouterr()
    assert main(["control", "inspect", "seo-agent"]) == 0
    shown = capsys.readouterr().out
    assert "seo-agent: resumed, by user:mo: was wanted" in shown
    assert "no steps are stored" in shown


def test_no_controls_are_an_empty_frame_of_the_same_shape() -> None:
    assert rows.control_frame([]).columns[:3] == ["control_id", "tenant", "agent_id"]
