"""Each thing is told once to each receiver, its end too, and what may not have arrived is told again."""

from dataclasses import fields, replace
from typing import Any

import pytest

from alerts.outbox import Notification, Outbox
from alerts.rules import Rule, sample_incident
from schemas.errors import AftermathError
from schemas.incidents import Incident
from schemas.registry import newest


def _rule(name: str, **changes: Any) -> Rule:
    values = {
        "id": name,
        "title": name,
        "when": {"kind": name},
        "mode": "page",
        "runbook": "docs/x.md",
        "owner": "team",
    }
    return Rule.model_validate(values | changes)


BREACH = _rule("governance_breach", mode="ticket")
CAUSED = _rule("agent_caused_failure", receivers=["console", "hook"])


def _incident(revision: int = 1, kind: str = "agent_caused_failure", status: str = "open", **more: Any) -> Incident:
    return sample_incident(
        {
            "incident_id": "i1",
            "tenant": "acme",
            "revision": revision,
            "kind": kind,
            "status": status,
            "severity": "critical",
            "title": "cart is down",
            **more,
        }
    )


def _told(found: list[Notification]) -> list[tuple[str, str, str]]:
    return [(one.rule, one.receiver, one.transition) for one in found]


def _send(outbox: Outbox, incident: Incident) -> list[tuple[str, str, str]]:
    found = outbox.decide(incident)
    for one in found:
        outbox.record(replace(one, state="sent"))
    return _told(found)


FIRING = [("agent_caused_failure", "console", "firing"), ("agent_caused_failure", "hook", "firing")]
RESOLVED = [("agent_caused_failure", "console", "resolved"), ("agent_caused_failure", "hook", "resolved")]


def test_the_first_matching_revision_is_told_to_every_receiver() -> None:
    first, second = Outbox([BREACH, CAUSED]).decide(_incident(revision=3))
    assert first == Notification(
        dedup_key=first.dedup_key,
        tenant="acme",
        incident_id="i1",
        revision=3,
        rule="agent_caused_failure",
        mode="page",
        transition="firing",
        receiver="console",
        severity="critical",
        state="pending",
        at=_incident().updated_at,
        title="cart is down",
        labels='{"alertname":"agent_caused_failure","fingerprint":"fingerprint","incident_id":"i1",'
        '"kind":"agent_caused_failure","mode":"page","owner":"team","severity":"critical","tenant":"acme",'
        '"verdict":"undetermined"}',
    )
    assert second.receiver == "hook"
    assert second.dedup_key != first.dedup_key


def test_deciding_twice_gives_the_same() -> None:
    outbox = Outbox([CAUSED])
    assert outbox.decide(_incident()) == outbox.decide(_incident())
    assert outbox.decide(_incident()) == Outbox([CAUSED]).decide(_incident())


def test_what_was_sent_is_not_told_again_by_later_revisions() -> None:
    outbox = Outbox([CAUSED])
    assert _send(outbox, _incident(1)) == FIRING
    assert _send(outbox, _incident(1)) == []
    assert _send(outbox, _incident(2, severity="warning")) == []


def test_a_provisional_revision_pages() -> None:
    assert _send(Outbox([CAUSED]), _incident(provisional=True)) == FIRING


@pytest.mark.parametrize("status", ["resolved", "withdrawn"])
def test_the_end_is_told_once(status: str) -> None:
    outbox = Outbox([CAUSED])
    _send(outbox, _incident(1))
    assert _send(outbox, _incident(2, status=status)) == RESOLVED
    assert _send(outbox, _incident(2, status=status)) == []
    assert _send(outbox, _incident(3, status=status)) == []


def test_the_title_says_that_it_is_over() -> None:
    outbox = Outbox([CAUSED])
    _send(outbox, _incident(1))
    assert outbox.decide(_incident(2, status="resolved"))[0].title == "Resolved: cart is down"
    assert outbox.decide(_incident(2, status="withdrawn"))[0].title == "Withdrawn: cart is down"


def test_a_ticket_becomes_a_page_when_the_incident_changes_kind() -> None:
    outbox = Outbox([BREACH, CAUSED])
    assert _send(outbox, _incident(1, "governance_breach")) == [("governance_breach", "console", "firing")]
    assert _send(outbox, _incident(2)) == FIRING
    assert _send(outbox, _incident(3, "governance_breach")) == []
    assert _send(outbox, _incident(4, status="resolved")) == [
        ("governance_breach", "console", "resolved"),
        *RESOLVED,
    ]


def test_an_incident_that_no_rule_wants_is_never_told() -> None:
    outbox = Outbox([BREACH])
    assert _send(outbox, _incident(1)) == []
    assert _send(outbox, _incident(2, status="resolved")) == []


def test_an_incident_first_seen_when_it_was_over_is_told_and_closed() -> None:
    outbox = Outbox([CAUSED])
    found = outbox.decide(_incident(status="resolved"))
    assert _told(found) == [*FIRING, *RESOLVED]
    assert found[0].title == "Already over: cart is down"
    assert _send(outbox, _incident(status="resolved")) == [*FIRING, *RESOLVED]
    assert _send(outbox, _incident(status="resolved")) == []


def test_an_incident_first_seen_when_it_was_withdrawn_wakes_nobody() -> None:
    assert Outbox([CAUSED]).decide(_incident(status="withdrawn")) == []


@pytest.mark.parametrize("state", ["pending", "failed"])
def test_what_may_have_left_is_closed_when_the_incident_is_withdrawn(state: Any) -> None:
    outbox = Outbox([CAUSED])
    outbox.restore(replace(Outbox([CAUSED]).decide(_incident(1))[1], state=state).as_record())
    assert _told(outbox.decide(_incident(2, status="withdrawn"))) == [RESOLVED[1]]


def test_the_end_is_told_when_it_arrives_while_the_beginning_is_under_way() -> None:
    outbox = Outbox([CAUSED])
    assert _told(outbox.decide(_incident(1))) == FIRING
    assert _told(outbox.decide(_incident(2, status="withdrawn"))) == RESOLVED


@pytest.mark.parametrize("state", ["pending", "failed"])
def test_what_was_not_sent_is_decided_again(state: Any) -> None:
    outbox = Outbox([CAUSED])
    console, hook = outbox.decide(_incident(1))
    outbox.record(replace(console, state="sent"))
    outbox.record(replace(hook, state=state))
    assert outbox.decide(_incident(1)) == [hook]
    assert _told(outbox.decide(_incident(2, "telemetry_gap"))) == [FIRING[1]]  # also when it matches no longer
    resolved = outbox.decide(_incident(3, status="resolved"))
    assert _told(resolved) == [FIRING[1], *RESOLVED]


def test_a_page_that_failed_is_told_although_its_end_was_sent() -> None:
    outbox = Outbox([CAUSED])
    for one in outbox.decide(_incident(1, status="resolved")):
        outbox.record(replace(one, state="sent" if one.transition == "resolved" else "failed"))
    assert _told(outbox.decide(_incident(1, status="resolved"))) == FIRING


def test_an_old_revision_after_a_newer_one_changes_nothing() -> None:
    outbox = Outbox([BREACH, CAUSED])
    _send(outbox, _incident(2, "telemetry_gap"))
    assert _send(outbox, _incident(1)) == []
    _send(outbox, _incident(3))
    assert _send(outbox, _incident(2, status="resolved")) == []
    assert _send(outbox, _incident(4, status="resolved")) == RESOLVED


def test_a_restored_outbox_goes_on_where_it_was() -> None:
    before = Outbox([CAUSED])
    console, hook = before.decide(_incident(5))
    after = Outbox([CAUSED])
    for record in (console, hook, replace(console, state="sent", detail="HTTP 202")):
        after.restore(record.as_record())
    assert after.decide(_incident(4)) == []
    assert after.decide(_incident(5)) == [hook]


def test_sent_stays_sent_when_a_second_worker_failed() -> None:
    outbox = Outbox([CAUSED])
    for one in outbox.decide(_incident(1)):
        outbox.record(replace(one, state="sent"))
        outbox.record(replace(one, state="failed"))
    assert outbox.decide(_incident(2)) == []


def test_the_end_is_told_when_the_rule_was_removed_meanwhile() -> None:
    outbox = Outbox([BREACH])
    for one in Outbox([CAUSED]).decide(_incident(1)):
        outbox.restore(replace(one, state="sent").as_record())
    found = outbox.decide(_incident(2, status="resolved"))
    assert _told(found) == RESOLVED
    assert {(one.state, one.revision, one.mode, one.title) for one in found} == {
        ("pending", 2, "page", "Resolved: cart is down")
    }


def test_tenants_do_not_silence_each_other() -> None:
    outbox = Outbox([CAUSED])
    _send(outbox, _incident(9))
    assert _send(outbox, _incident(1, tenant="other")) == FIRING


def test_a_shadow_rule_goes_to_the_shadow_alone() -> None:
    outbox = Outbox([_rule("agent_caused_failure", mode="shadow", receivers=["console", "hook"])])
    assert _send(outbox, _incident(1)) == [("agent_caused_failure", "shadow", "firing")]


def test_every_matching_rule_fires_until_one_stops() -> None:
    kind = {"kind": "agent_caused_failure"}
    rules = [_rule("a", when=kind), _rule("b", when=kind, stop=True), _rule("c", when=kind)]
    assert [one.rule for one in Outbox(rules).decide(_incident())] == ["a", "b"]
    quiet_stop = [_rule("a", when={"kind": "telemetry_gap"}, stop=True), _rule("b", when=kind)]
    assert [one.rule for one in Outbox(quiet_stop).decide(_incident())] == ["b"]


def test_a_rule_can_set_the_severity_and_the_text() -> None:
    rule = _rule("agent_caused_failure", severity="info", annotations={"summary": "{title} in {scope}"})
    (found,) = Outbox([rule]).decide(_incident(scope="prod-eu/checkout"))
    assert (found.severity, found.title) == ("info", "cart is down in prod-eu/checkout")


def test_titles_are_one_harmless_line_of_bounded_length() -> None:
    (found, _) = Outbox([CAUSED]).decide(_incident(title="a\x1b[2J\nb" + "c" * 1_000))
    assert found.title.startswith("a bccc")
    assert len(found.title) == 500


def test_dedup_keys_are_the_same_in_every_process() -> None:
    assert [one.dedup_key for one in Outbox([CAUSED]).decide(_incident())] == ["e2c3b7dc25eeab62", "64428c0466996eda"]


def test_settled_incidents_are_forgotten_and_open_ones_kept() -> None:
    outbox = Outbox([CAUSED])
    _send(outbox, _incident(1))
    _send(outbox, _incident(1, incident_id="i2"))
    _send(outbox, _incident(2, incident_id="i2", status="resolved"))
    late = _incident().updated_at + 1
    assert outbox.expire(late - 1) == []
    done = outbox.expire(late)
    assert {one.incident_id for one in done} == {"i2"}
    assert {one.transition for one in done} == {"firing", "resolved"}
    assert len(outbox) == 1
    assert _send(outbox, _incident(2)) == []


def test_a_notification_has_the_fields_of_its_schema_and_survives_the_way_there_and_back() -> None:
    assert [item.name for item in fields(Notification)] == [item.name for item in newest("notification").fields]
    found = Outbox([CAUSED]).decide(_incident())[0]
    assert Notification.from_record(found.as_record() | {"field_of_a_newer_version": 1}) == found


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"state": "lost"}, "state is not one of pending, held, failed, dropped, sent"),
        ({"at": "today"}, "without a usable at"),
        ({"rule": None}, "without a usable rule"),
    ],
)
def test_a_record_that_is_not_ours_is_refused(change: dict[str, Any], expected: str) -> None:
    record = Outbox([CAUSED]).decide(_incident())[0].as_record()
    with pytest.raises(AftermathError, match=expected):
        Outbox([CAUSED]).restore(record | change)


def test_what_a_receiver_shows_is_renewed_when_title_or_severity_change_and_never_after_the_end() -> None:
    outbox = Outbox([CAUSED])
    _send(outbox, _incident(1))
    assert outbox.renewed(_incident(2), {"hook"}) == []
    (renewed,) = outbox.renewed(_incident(2, title="cart and cart-db are down"), {"hook"})
    assert (renewed.receiver, renewed.transition, renewed.title) == ("hook", "firing", "cart and cart-db are down")
    assert renewed.dedup_key == Outbox([CAUSED]).decide(_incident())[1].dedup_key
    outbox.record(replace(renewed, state="sent"))
    assert outbox.renewed(_incident(3, title="cart and cart-db are down"), {"hook"}) == []
    assert len(outbox.renewed(_incident(3, severity="warning"), {"hook", "console"})) == 2
    _send(outbox, _incident(4, status="resolved"))
    assert outbox.renewed(_incident(5, title="x"), {"hook"}) == []
