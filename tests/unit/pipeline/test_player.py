"""The player's pure parts; how it paces: tests/stages/test_player_on_a_broker.py."""

import pytest

from pipeline.player import partition_for, readers, shifted
from schemas.events import AgentSpan, ClusterEvent

AT = 1_770_000_000_000_000


@pytest.mark.parametrize(
    ("key", "hashed"), [(b"21", -973932308), (b"foobar", -790332482), (b"a-little-bit-long-string", -985981536)]
)
def test_a_key_goes_where_the_java_client_sends_it(key: bytes, hashed: int) -> None:
    # the hashes are those of Kafka's own test of Utils.murmur2
    assert partition_for(key, 4) == (hashed & 0x7FFFFFFF) % 4
    assert partition_for(key, 7) == (hashed & 0x7FFFFFFF) % 7


def test_all_times_of_an_event_move_alike_and_what_is_absent_stays_absent() -> None:
    event = ClusterEvent(
        event_time=AT,
        tenant="acme",
        event_id="e1",
        resource="prod-eu/checkout/deployment/cart",
        kind="maintenance",
        reason="window",
        severity="normal",
        valid_from=AT + 5,
    )
    moved = shifted(event, 1_000)
    assert isinstance(moved, ClusterEvent)
    assert (moved.event_time, moved.valid_from, moved.valid_until, moved.published_time) == (
        AT + 1_000,
        AT + 1_005,
        None,
        None,
    )
    assert (event.event_time, moved.event_id) == (AT, "e1")


def test_a_span_keeps_its_length() -> None:
    span = AgentSpan(
        event_time=AT + 7,
        start_time=AT,
        tenant="acme",
        trace_id="t",
        span_id="s",
        session_id="session_1",
        agent_id="docs-agent",
        operation="chat",
        status="ok",
    )
    moved = shifted(span, -3)
    assert isinstance(moved, AgentSpan)
    assert (moved.start_time, moved.event_time) == (AT - 3, AT + 4)


def test_the_player_stays_near_every_stage_that_reads() -> None:
    found = {(reader.group, topic.name) for reader in readers(lambda stage: f"mine.{stage}") for topic in reader.topics}
    assert ("mine.detect", "agent.traces.v1") in found
    assert ("mine.archive", "cluster.events.v1") in found
    assert ("mine.correlate", "signals.v1") in found
    assert ("mine.record", "incidents.v1") in found
    assert ("mine.notify", "incidents.v1") in found
