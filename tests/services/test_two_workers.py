"""Workers that join and leave while the story is played to a real broker: the incidents are those of the backtest."""

import asyncio
import json
from pathlib import Path

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
from schemas.incidents import Incident
from schemas.topics import INCIDENTS, INPUTS, SIGNALS
from tests.services.reading import values

pytestmark = [pytest.mark.services, pytest.mark.timeout(240)]
LIMITS = Path("pipeline/demo/limits.yml")
SPEED = 120.0  # half an hour of event time in 15 s: it still plays while workers come and go
MOVES_SECONDS = 60.0
STAGES = ("detect", "correlate")


def no_writer() -> TableWriter:
    raise AssertionError("neither detect nor correlate writes tables")


def bare(incident: Incident) -> str:
    """Without where in the log its evidence stands: that depends on the number of partitions."""
    fields = incident.model_dump(mode="json")
    for item in fields["evidence"]:
        del item["partition"], item["offset"]
    return json.dumps(fields, sort_keys=True)


def shares(*workers: Pipeline) -> list[list[int]]:
    """How many partitions of each stage each worker has."""
    return [[len(worker.stages[name].consumer.frontiers()) for worker in workers] for name in STAGES]


async def until_shared(*workers: Pipeline) -> None:
    """Each worker has as many partitions of a stage as any other."""
    end = asyncio.get_running_loop().time() + MOVES_SECONDS
    total = [sum(topic.partitions for topic in INPUTS), SIGNALS.partitions]
    while shares(*workers) != [[number // len(workers)] * len(workers) for number in total]:
        for worker in workers:
            worker.check()
        assert asyncio.get_running_loop().time() < end, f"partitions do not move: {shares(*workers)}"
        await asyncio.sleep(0.05)


@pytest.mark.fault("F07")
async def test_workers_that_join_and_leave_under_load_change_no_incident(recorded_settings: Settings) -> None:
    settings = recorded_settings.model_copy(update={"limits_file": LIMITS})
    readers = (Reader(settings.group("detect"), INPUTS), Reader(settings.group("correlate"), (SIGNALS,)))
    running: list[Pipeline] = []

    async def join() -> Pipeline:
        worker = Pipeline(settings, STAGES, writer=no_writer)
        running.append(worker)
        await worker.start()
        return worker

    backtest = Backtest(load_limits(LIMITS))
    with recording_of(story()) as recording:
        for chunk in recording.chunks():
            backtest.read(chunk)
        backtest.finish()
        try:
            first = await join()
            await until_shared(first)
            player = Player(
                settings.kafka_connection, pane=settings.pane, lateness=settings.lateness, readers=readers, speed=SPEED,
                should_stop=lambda: any(worker.error is not None for worker in running),
            )  # fmt: skip
            playing = asyncio.create_task(asyncio.to_thread(player.play, recording.messages()))
            second = await join()
            await until_shared(first, second)
            await first.stop()
            await until_shared(second)
            third = await join()
            await until_shared(second, third)
            assert not playing.done(), "everything was played before the last worker came: play slower"
            await second.stop(grace=0.0)  # as good as killed: nothing is saved
            await until_shared(third)
            await playing
            await third.drain(MOVES_SECONDS)
        finally:
            for worker in running:
                await worker.stop()

    revisions = [decode_incident(value) for value in values(settings.kafka, INCIDENTS)]
    contents: dict[tuple[str, int], set[str]] = {}
    for revision in revisions:
        contents.setdefault((revision.incident_id, revision.revision), set()).add(bare(revision))
    assert all(len(said) == 1 for said in contents.values()), "a revision was said in two ways"
    newest = {name: max(number for other, number in contents if other == name) for name, _ in contents}
    assert {name: contents[name, number] for name, number in newest.items()} == {
        incident.incident_id: {bare(incident)} for incident in backtest.outcomes.incidents
    }
    assert len(newest) == 3
