"""A03, A05, A06, A19, A28 and the limits of numbers: hostile bytes are refused with a reason, and touch nothing else."""

from collections import Counter

import pytest

from schemas.codecs.single import decode_incident
from schemas.errors import Outcome
from schemas.topics import INPUTS
from tests.abuse import payloads
from tests.abuse.running import Ran

pytestmark = [pytest.mark.embedded, pytest.mark.timeout(120)]
REFUSED = [payload for payload in payloads.messages() if payload.reason is not None]
TAKEN = [payload for payload in payloads.messages() if payload.reason is None]
MORE_REFUSED = 1  # the one with Faust's headers


def test_the_pipeline_outlives_the_attack_and_stops_cleanly(attacked: Ran) -> None:
    assert attacked.was_clean


@pytest.mark.parametrize("payload", REFUSED, ids=lambda payload: payload.name)
def test_a_hostile_message_is_a_dead_letter_with_its_reason(attacked: Ran, payload: payloads.Payload) -> None:
    value = payload.value[:900_000]
    mine = [letter for letter in attacked.dead_letters if letter["value"] == value and letter["topic"] == payload.topic]
    assert [letter["reason"] for letter in mine] == [payload.reason]
    assert 0 < len(mine[0]["detail"]) < 400
    (row,) = [
        row
        for row in attacked.rows["dead_letters"]
        if (row["topic"], row["partition"], row["offset"]) == (payload.topic, mine[0]["partition"], mine[0]["offset"])
    ]
    assert row["reason"] == payload.reason
    assert len(row["preview"]) <= 500
    assert row["preview"].isprintable()


def test_what_is_just_within_the_limits_is_taken(attacked: Ran) -> None:
    names = {row["span_id"] for row in attacked.rows["agent_traces"]}
    assert {"deep-32", "long-65536", "long-512", "count-2-48"} <= names
    assert any(row["value"] == 1.7976931348623157e308 for row in attacked.rows["system_metrics"])
    assert len(TAKEN) == 5


def test_every_neighbour_of_a_hostile_message_is_stored_once(attacked: Ran) -> None:
    found = Counter(
        [row["span_id"] for row in attacked.rows["agent_traces"]]
        + [row["unit"] for row in attacked.rows["system_metrics"]]
        + [row["event_id"] for row in attacked.rows["cluster_events"]]
    )
    for number in range(len(payloads.messages())):
        assert found[f"neighbour-{number}"] == 1


def test_everything_that_was_read_has_one_of_the_five_outcomes(attacked: Ran) -> None:
    rejected = sum(counts[Outcome.REJECTED] for counts in attacked.counts.values())
    assert rejected == len(REFUSED) + MORE_REFUSED == len(attacked.dead_letters)
    assert all(counts[Outcome.FAILED] == 0 for counts in attacked.counts.values())
    stored = sum(len(attacked.rows[table]) for table in ("agent_traces", "system_metrics", "cluster_events"))
    taken = sum(counts[Outcome.ACCEPTED] + counts[Outcome.LATE] for counts in attacked.counts.values())
    assert stored == taken
    assert set(attacked.counts) == {topic.name for topic in INPUTS}


def test_the_incident_of_the_victim_is_the_one_it_is_without_the_attack(attacked: Ran, undisturbed: Ran) -> None:
    def incidents(ran: Ran) -> dict[str, dict[str, object]]:
        found = {}
        for value in ran.incidents:
            incident = decode_incident(value)
            if incident.agent_id == "victim-agent":
                bare = incident.model_dump(mode="json", exclude={"evidence"})  # where in the log it stands differs
                found[incident.incident_id] = bare
        return found

    expected = incidents(undisturbed)
    assert expected
    assert incidents(attacked) == expected


def test_headers_on_which_faust_acts_are_without_effect(attacked: Ran) -> None:
    assert attacked.extra["after"] == []
    assert any(row["span_id"] == "with-headers" for row in attacked.rows["agent_traces"])
    assert any(letter["value"] == b"no event at all" for letter in attacked.dead_letters)
