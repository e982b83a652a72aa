"""Limits at run time, on a broker: published while a stage is at work, and taken up from their moment on."""

from pathlib import Path

import pytest

from pipeline.cli import main
from pipeline.clock import now_micros
from pipeline.core.limit_versions import document_of
from pipeline.core.limits import Limits
from pipeline.core.panes import TimeRules
from pipeline.kafka_connection import KafkaConnection
from pipeline.settings import Settings
from pipeline.stages import limits_log
from pipeline.stages.base import StageError
from pipeline.stages.correlate import Correlate
from pipeline.stages.detect import Detect
from pipeline.stages.limits_log import LimitsLog
from pipeline.stages.record import Record
from schemas.codecs.single import decode_record, encode, encode_event
from schemas.events import AgentSpan
from schemas.signals import Reduced, Signal
from schemas.times import MICROS, parse_time
from schemas.topics import LIMITS, SIGNALS, TRACES
from tests.builders import span
from tests.stages.conftest import Sink, Start, until
from tests.stages.kafka import Broker

pytestmark = pytest.mark.embedded


def signals(kafka: Broker) -> set[tuple[str, str]]:
    found = [decode_record(value) for value in kafka.values(SIGNALS.name)]
    return {
        (one.row.session_id or "", one.row.rule_version)
        for one in found
        if isinstance(one, Reduced) and isinstance(one.row, Signal) and one.row.type == "governance.step_limit"
    }


def spans(session: str, steps: int, now: int) -> list[bytes]:
    row = span(0) | {"session_id": session, "trace_id": session}
    return [
        encode_event(
            AgentSpan.model_validate(
                {key: value for key, value in row.items() if key != "type"}
                | {"span_id": f"{session}-{step}", "event_time": now + step * 1000, "step": step}
            )
        )
        for step in range(1, steps + 1)
    ]


async def test_a_stage_takes_up_what_is_published_while_it_runs(
    kafka: Broker, settings: Settings, started: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits_log, "LOOK_SECONDS", 0.0)
    live = settings.model_copy(update={"recorded": False, "lateness_seconds": 2, "pane_seconds": 1})
    errors: list[StageError] = []
    stage = Detect(
        live, errors.append, limits=Limits(), rules=TimeRules(lateness=2 * MICROS, pane=MICROS), now=now_micros
    )
    await started(stage)
    kafka.produce(LIMITS.name, [encode_limits(Limits(version=1))])
    now = now_micros()
    kafka.produce(TRACES.name, spans("before", 5, now))
    await until(lambda: stage.progress.messages >= 5)

    moment = now_micros() + 2 * MICROS
    version = Limits.model_validate({"version": 2, "effective_from": moment, "limits": [{"max_steps": 3}]})
    kafka.produce(LIMITS.name, [b"no document", encode_limits(version)])
    kafka.produce(TRACES.name, spans("after", 5, moment + MICROS))
    await until(lambda: signals(kafka))
    assert signals(kafka) == {("after", "1+limits.2")}
    assert errors == []


def encode_limits(limits: Limits) -> bytes:
    return encode(
        "limits_version",
        {"version": limits.version, "effective_from": limits.effective_from, "document": document_of(limits)}
        | {"author": "test"},
    )


async def test_what_is_published_replaces_the_file_of_a_worker(kafka: Broker) -> None:
    reader = LimitsLog(KafkaConnection(servers=kafka.bootstrap), Limits(version=7))
    assert (await reader.current()).version == 7
    kafka.produce(LIMITS.name, [encode_limits(Limits(version=1))])
    reader.look()
    assert reader.limits.version == 1
    reader.close()


def test_the_command_publishes_what_is_new_and_shows_what_is_in_force(
    kafka: Broker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AFTERMATH_KAFKA", kafka.bootstrap)
    file = tmp_path / "limits.yml"
    assert main(["limits", "publish"]) == 2
    assert main(["limits", "show"]) == 0
    assert "Nothing is published" in capsys.readouterr().out
    file.write_text("version: 1\nlimits: [{max_steps: 60}]\n")
    assert main(["limits", "publish", str(file)]) == 0
    assert "version 1 is published, in force always" in capsys.readouterr().out
    assert main(["limits", "publish", str(file)]) == 0
    assert "Published already" in capsys.readouterr().out
    file.write_text("version: 1\nlimits: [{max_steps: 50}]\n")
    assert main(["limits", "publish", str(file)]) == 2
    assert "give this one the next number" in capsys.readouterr().err
    file.write_text("version: 2\neffective_from: 2020-01-01T00:00:00Z\nlimits: [{max_steps: 50}]\n")
    assert main(["limits", "publish", str(file)]) == 2
    assert "name a later moment" in capsys.readouterr().err
    file.write_text("version: 2\nlimits: [{max_steps: 50}]\n")
    assert main(["limits", "publish", str(file)]) == 0
    assert main(["limits", "show"]) == 0
    assert capsys.readouterr().out.splitlines()[-2].startswith("version 2 from 20")


def test_correlate_hands_new_limits_to_every_tenant(settings: Settings) -> None:
    stage = Correlate(settings, lambda _: None, limits=Limits(), rules=TimeRules(), now=now_micros)
    operator = stage.fresh(SIGNALS.name, 0)
    tenant = operator._firm._correlator("acme")
    newer = Limits(version=3)
    operator.use(newer)
    assert tenant.limits is newer
    assert operator._firm._correlator("another").limits is newer


async def test_what_a_version_loosens_is_a_row_and_what_it_tightens_is_none(
    kafka: Broker, settings: Settings, started: Start, sink: Sink
) -> None:
    entry = {"match": {"agent_id": "seo-agent"}, "max_steps": 30, "needs_approval": True}
    later = now_micros() + 60 * MICROS
    versions = [
        Limits.model_validate({"version": 1, "limits": [entry]}),
        Limits.model_validate(
            {"version": 2, "effective_from": later, "limits": [entry | {"max_steps": 90}]},
        ),
        Limits.model_validate({"version": 3, "effective_from": later + 1, "limits": [entry | {"max_steps": 10}]}),
    ]
    kafka.produce(LIMITS.name, [encode_limits(version) for version in versions[:2]])
    errors: list[StageError] = []
    stage = Record(settings, errors.append, writer=sink)
    await started(stage)
    await until(lambda: sink.rows["limits_loosened"])
    kafka.produce(LIMITS.name, [b"no document", encode_limits(versions[2])])
    await until(lambda: kafka.committed(settings.group("record"), LIMITS.name)[0] == 4)
    (found,) = sink.rows["limits_loosened"]
    assert (found["version"], found["name"], found["was"], found["now_is"]) == (2, "max_steps", "30", "90")
    assert (found["match"], found["author"]) == ('{"agent_id":"seo-agent"}', "test")
    assert parse_time(found["effective_from"]) == later
    assert errors == []
