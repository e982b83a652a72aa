"""Numbered events, and the judge: what was produced is what stands at the end, each once, wherever it fell in between."""

from collections.abc import Iterable
from typing import Any

from faust.types import TP

from pipeline.stages.base import Stage
from schemas.codecs.single import encode_event
from schemas.events import EVENTS
from schemas.topics import TRACES
from tests.builders import at, span
from tests.faults.sink import Place
from tests.stages.kafka import Broker

STEP_SECONDS = 0.05  # of event time between two events


def event_of(number: int, **fields: object) -> bytes:
    """The event with this number, one span of an agent's session."""
    made = span(number * STEP_SECONDS, span_id=f"event-{number}", **fields)
    return encode_event(EVENTS["agent_span"].model_validate({k: v for k, v in made.items() if k != "type"}))


class Load:
    """Produces numbered events in turn to the partitions of agent.traces.v1, and knows where each one lies."""

    def __init__(self, kafka: Broker, partitions: int = TRACES.partitions) -> None:
        self._kafka = kafka
        self._ends = [0] * partitions
        self.produced: set[Place] = set()

    def produce(self, count: int, **fields: object) -> None:
        """The next `count` events, all with these fields."""
        first = len(self.produced)
        for partition in range(len(self._ends)):
            numbers = range(first + partition, first + count, len(self._ends))
            stamp = at((first + count) * STEP_SECONDS) // 1000
            self._kafka.produce(TRACES.name, [event_of(number, **fields) for number in numbers], partition, stamp)
            for number in numbers:
                self.produced.add((partition, self._ends[partition], f"event-{number}"))
                self._ends[partition] += 1

    def is_confirmed(self, stage: Stage[Any]) -> bool:
        """Whether this stage, alone in its group, has confirmed everything."""
        frontiers = stage.consumer.frontiers()
        return all(frontiers.get(TP(TRACES.name, number)) == end for number, end in enumerate(self._ends))

    def is_committed(self, group: str) -> bool:
        """Whether the group has acknowledged everything."""
        return self._kafka.committed(group, TRACES.name) == self._ends

    def missing(self, rows: Iterable[Place]) -> set[Place]:
        """What was produced and is not there."""
        return self.produced - set(rows)
