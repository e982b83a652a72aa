"""The demo's story on a real Kafka, through real Faust stages: the incidents are those of the backtest."""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from pipeline.app import Pipeline
from pipeline.backtest import Backtest
from pipeline.demo.recording import recording_of
from pipeline.demo.story import story
from pipeline.limits import load_limits
from pipeline.player import Player, Reader
from pipeline.settings import Settings
from pipeline.stages.batching import TableWriter
from schemas.codecs.single import decode_incident
from schemas.errors import Outcome
from schemas.incidents import Incident
from schemas.topics import INCIDENTS, INPUTS, SIGNALS
from tests.services.reading import values

pytestmark = [pytest.mark.services, pytest.mark.timeout(240)]
LIMITS = Path("pipeline/demo/limits.yml")
DRAIN_SECONDS = 60.0


def no_writer() -> TableWriter:
    raise AssertionError("neither detect nor correlate writes tables")


def bare(incident: Incident) -> dict[str, Any]:
    """Without where in the log its evidence stands: that depends on the number of partitions."""
    found = incident.model_dump(mode="json", by_alias=True)
    for reference in found["evidence"]:
        del reference["partition"], reference["offset"]
    return found


async def play(settings: Settings) -> Mapping[str, Mapping[Outcome, int]]:
    pipeline = Pipeline(settings, ("detect", "correlate"), writer=no_writer)
    await pipeline.start()
    try:
        await pipeline.ready()
        readers = (Reader(settings.group("detect"), INPUTS), Reader(settings.group("correlate"), (SIGNALS,)))
        with recording_of(story()) as recording:
            player = Player(settings.kafka_connection, pane=settings.pane, lateness=settings.lateness, readers=readers)
            played = await asyncio.to_thread(player.play, recording.messages())
        await pipeline.drain(DRAIN_SECONDS)
        assert sum(sum(counts.values()) for counts in pipeline.counters.values()) == played.messages + played.ticks
        return pipeline.counters
    finally:
        assert await pipeline.stop(), "everything was drained, so nothing may be left to be read again"


async def test_live_on_a_real_broker_and_backtest_give_the_same_incidents(recorded_settings: Settings) -> None:
    settings = recorded_settings.model_copy(update={"limits_file": LIMITS})
    counters = await play(settings)
    revisions = [decode_incident(value) for value in values(settings.kafka, INCIDENTS)]
    live = {revision.incident_id: revision for revision in revisions}  # one partition an incident: the last is newest

    backtest = Backtest(load_limits(LIMITS))
    with recording_of(story()) as recording:
        for chunk in recording.chunks():
            backtest.read(chunk)
    backtest.finish()

    expected = {incident.incident_id: bare(incident) for incident in backtest.outcomes.incidents}
    assert {name: bare(incident) for name, incident in live.items()} == expected
    assert len(expected) == 3
    accepted = {topic: counts[Outcome.ACCEPTED] for topic, counts in counters.items()}
    assert accepted == {topic: counts[Outcome.ACCEPTED] for topic, counts in backtest.outcomes.counts.items()}
