"""A Kafka log in memory: events with stamps, spread over partitions, read in any batches. For replay identity."""

import random
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from pipeline.core.limits import Limits
from pipeline.core.panes import TimeRules
from pipeline.operators.correlate import CorrelateOperator
from pipeline.operators.detect import DetectOperator
from pipeline.operators.state import dump, load
from pipeline.player import partition_for
from schemas.codecs import TICK, Batch
from schemas.codecs.blocks import decode_batch
from schemas.codecs.single import decode_record, encode_event, encode_record
from schemas.events import EVENTS, RECORD_TOPICS, TOPIC_RECORDS
from schemas.incidents import Incident
from schemas.signals import Forgetting, Gap, Marker, Reduced
from schemas.times import parse_time
from schemas.topics import source_name
from schemas.watches import Watched

RULES = TimeRules()
Stamped = tuple[int, str, bytes, bytes]  # stamp, topic, key, value
Log = dict[tuple[str, int], list[tuple[int, bytes]]]


def stamped(events: Sequence[Mapping[str, Any]], delay: Callable[[int], int] | None = None) -> list[Stamped]:
    """Events in the order of their stamps: the running maximum of ingest times, in whole milliseconds."""
    made = []
    for event in events:
        record = event["type"]
        found = EVENTS[record].model_validate({k: v for k, v in event.items() if k not in ("type", "ingest_time")})
        order = (
            found.event_time + delay(found.event_time)
            if delay
            else parse_time(event.get("ingest_time") or found.event_time)
        )
        made.append((order, RECORD_TOPICS[record], found.key.encode(), encode_event(found)))
    made.sort(key=lambda item: item[0])
    top, out = 0, []
    for order, topic, key, value in made:
        top = max(top, order // 1000 * 1000)
        out.append((top, topic, key, value))
    return out


def spread(messages: Sequence[Stamped], partitions: int) -> Log:
    """The log that the player would write: ticks for every pane on every partition, and one at the end."""
    log: Log = {(topic, number): [] for topic in TOPIC_RECORDS for number in range(partitions)}
    told = 0
    for stamp, topic, key, value in messages:
        pane = RULES.pane_of(stamp)
        if pane > told:
            told = pane
            for records in log.values():
                records.append((pane, TICK))
        log[topic, partition_for(key, partitions)].append((stamp, value))
    for records in log.values():
        records.append((messages[-1][0] + RULES.lateness + RULES.pane, TICK))
    return log


def run(
    log: Log,
    draw: random.Random,
    *,
    limits: Limits | None = None,
    signal_partitions: int = 1,
    restarts: float = 0.0,
    watched: list[Watched] | None = None,
) -> list[Incident]:
    """Every revision. Batches are cut, and sources interleaved, as `draw` has it; messages pass through their codecs.

    restarts: how likely it is, after each batch, that the state is saved and another worker goes on from it; what that
    one had sent since an earlier snapshot is then in the log twice, by two runs.
    watched: gets every watch that closed.
    """
    written = {}
    for (topic, number), records in log.items():
        out = _detect(topic, number, records, draw, limits, signal_partitions, restarts)
        written[source_name(topic, number)] = [(to, decode_record(encode_record(message))) for to, message in out]
    revisions = []
    for partition in range(signal_partitions):
        correlate = CorrelateOperator(list(written), limits, RULES)
        queues = {source: [m for to, m in out if to == partition] for source, out in written.items()}
        while any(queues.values()):
            source = draw.choice(sorted(name for name, queue in queues.items() if queue))
            size = draw.choice((1, 5, 50, 500))
            revisions += correlate.read(queues[source][:size])
            closed = correlate.take_watched()
            if watched is not None:
                watched += closed
            queues[source] = queues[source][size:]
            if draw.random() < restarts / 10:
                blobs = dump(correlate)
                correlate = CorrelateOperator(list(written), limits, RULES)
                load(correlate, blobs)
    return revisions


def _detect(
    topic: str,
    number: int,
    records: list[tuple[int, bytes]],
    draw: random.Random,
    limits: Limits | None,
    signal_partitions: int,
    restarts: float,
) -> list[tuple[int, Reduced | Marker | Gap | Forgetting]]:
    def begin() -> DetectOperator:
        return DetectOperator(topic, number, f"run-{draw.random()}", signal_partitions, limits, RULES)

    operator, out = begin(), []
    snapshot: tuple[int, list[bytes]] = (0, dump(operator))
    start = 0
    while start < len(records):
        size = draw.choice((1, 7, 60, 1000))
        part = records[start : start + size]
        offsets = range(start, start + len(part))
        batch = Batch(topic, number, offsets, [at for at, _ in part], [None] * len(part), [value for _, value in part])
        out += operator.read(decode_batch(batch, TOPIC_RECORDS[topic])).messages
        start += size
        if draw.random() < restarts:
            snapshot = (start, dump(operator))
        if draw.random() < restarts:
            start, operator = snapshot[0], begin()
            load(operator, snapshot[1])
    return out


def outcomes(watched: Iterable[Watched]) -> dict[str, Watched]:
    """span id -> what became of the write, without where in the log it stands."""
    return {one.span_id: replace(one, partition=-1, offset=-1) for one in watched}


def canonical(revisions: Sequence[Incident]) -> dict[str, list[str]]:
    """incident id -> every revision as JSON, without where in the log its evidence stands: that changes with the log."""
    found = defaultdict(list)
    for incident in revisions:
        bare = incident.model_copy(
            update={"evidence": tuple(e.model_copy(update={"partition": -1, "offset": -1}) for e in incident.evidence)}
        )
        found[incident.incident_id].append(bare.model_dump_json())
    return dict(found)
