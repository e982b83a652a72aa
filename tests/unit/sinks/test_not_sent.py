"""What was not sent stands on the incident's timeline, with its reason and once for each."""

from dataclasses import replace

import pytest

from alerts.outbox import Notification, Outbox
from alerts.routing.mutes import Reason
from alerts.rules import SHIPPED, load_rules, sample_incident
from sinks.clickhouse.rows import not_sent_frame


def decided() -> Notification:
    incident = sample_incident({"incident_id": "i-1", "tenant": "acme", "kind": "agent_caused_failure"})
    (found,) = Outbox(load_rules(SHIPPED)).decide(incident)
    return found


@pytest.mark.parametrize("reason", [reason for reason in Reason if reason is not Reason.GROUP_WAIT])
def test_each_reason_for_which_it_is_held_or_dropped_is_a_row(reason: Reason) -> None:
    state = "dropped" if reason in (Reason.OVER, Reason.NO_LONGER) else "held"
    record = replace(decided(), state=state, reason=reason, detail="as kim wanted it").as_record()
    frame = not_sent_frame([record, record])
    row = frame.to_dicts()[0]
    said = {"held": "is held", "dropped": "was not sent"}[state]
    assert (row["tenant"], row["incident_id"], row["type"]) == ("acme", "i-1", "not_sent")
    assert row["shows"] == f"firing of agent_caused_failure to console {said}: as kim wanted it"
    assert row["event_id"].endswith(f"/{reason}")
    assert frame["event_id"].n_unique() == 1  # told twice it is one row


def test_a_delivery_that_failed_is_a_row_too_and_what_was_sent_or_waits_for_its_group_is_none() -> None:
    one = decided()
    failed = replace(one, state="failed", detail="HTTP 404 from example.com:443")
    sent, waits = replace(one, state="sent"), replace(one, state="held", reason=Reason.GROUP_WAIT)
    frame = not_sent_frame([record.as_record() for record in (one, failed, sent, waits)])
    assert frame["shows"].to_list() == [
        "firing of agent_caused_failure to console could not be sent: HTTP 404 from example.com:443"
    ]
