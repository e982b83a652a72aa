"""What on-call reads on a terminal, and what can't get there."""

import io
from dataclasses import replace

from alerts.outbox import Notification, Outbox
from alerts.receivers import ReceiverConfig, build
from alerts.receivers.console import block
from alerts.rules import SHIPPED, load_rules, sample_incident
from schemas.incidents import Incident

RULES = load_rules(SHIPPED)
INCIDENT = sample_incident(
    {
        "incident_id": "9c0e5b7d1a2f4e38",
        "revision": 3,
        "tenant": "acme",
        "kind": "agent_caused_failure",
        "severity": "critical",
        "scope": "prod-eu/checkout",
        "agent_id": "capacity-agent",
        "agent_version": "2.4.1",
        "title": "capacity-agent broke prod-eu/checkout",
        "started_at": "2026-03-02T10:03:00Z",
        "summary": "It scaled cart from 6 to 24.",
        "attribution": {
            "verdict": "agent",
            "probability": 0.93,
            "ranked": [
                {
                    "kind": "agent_action",
                    "resource": "prod-eu/checkout/deployment/cart",
                    "event_time": "2026-03-02T10:00:00Z",
                    "shows": "scaled from 6 to 24",
                }
            ],
        },
        "exhaustion": {"calls_percent_of_expected": 517, "unplanned_tokens": 10_200_000},
        "context_gaps": [
            {"resource": "prod-eu/checkout/statefulset/cart-db", "class": "never_queried"},
            {"resource": "elsewhere", "class": "unknowable"},
        ],
        "governance_gaps": [{"component": "kubectl", "gap": "approval"}],
        "blast_radius": [{"resource": f"r{number}"} for number in range(5)],
    }
)


def _notification(incident: Incident = INCIDENT) -> Notification:
    return Outbox(RULES).decide(incident)[0]


async def test_a_page_is_one_readable_block() -> None:
    stream = io.StringIO()
    console = build({"console": ReceiverConfig(kind="console")}, now=lambda: 0, stream=stream, rules=RULES)["console"]
    delivery = await console.send(_notification(), INCIDENT)
    assert (delivery.ok, delivery.detail) == (True, "written")
    assert stream.getvalue() == (
        "PAGE critical FIRING\n"
        "  capacity-agent broke prod-eu/checkout (cause: agent, 93%; context gaps: 1)\n"
        "  where         prod-eu/checkout\n"
        "  agent         capacity-agent 2.4.1\n"
        "  since         2026-03-02T10:03:00Z\n"
        "  cause         agent, 93%\n"
        "  first         agent_action on prod-eu/checkout/deployment/cart at 2026-03-02T10:00:00Z;"
        " scaled from 6 to 24\n"
        "  did not know  prod-eu/checkout/statefulset/cart-db (never_queried)\n"
        "  missing limit approval (kubectl)\n"
        "  hit           r0, r1, r2 and 2 more\n"
        "  burned        517% of the calls needed, 10.2 M unplanned tokens\n"
        "  what          It scaled cart from 6 to 24.\n"
        "  incident      9c0e5b7d1a2f4e38, revision 3\n"
        "  rule          agent_caused_failure\n"
        "  owner         on-call\n"
        "  runbook       alerts/rules/README.md#agent_caused_failure\n"
        "\n"
    )


def test_the_end_says_how_long_it_was_and_provisional_is_said() -> None:
    over = INCIDENT.model_copy(
        update={"status": "resolved", "resolved_at": INCIDENT.started_at + 190_000_000, "provisional": True}
    )
    text = block(replace(_notification(over), transition="resolved"), over)
    assert text.startswith("PAGE critical RESOLVED\n")
    assert "  since         2026-03-02T10:03:00Z, for 3 min 10 s\n" in text
    assert "revision 3, provisional: a source has not spoken yet\n" in text


def test_nothing_an_agent_writes_can_repaint_the_terminal_or_fake_a_page() -> None:
    evil = "x\x1b[2J\x1b]0;owned\x07\nPAGE critical FIRING\r\x9b31m\u202e"
    incident = INCIDENT.model_copy(
        update={"title": evil, "summary": evil, "scope": evil, "agent_id": evil, "owner": evil}
    )
    text = block(replace(_notification(incident), title=evil, rule=evil), incident, RULES[0])
    assert text.count("\n") == block(_notification(), INCIDENT, RULES[0]).count("\n")
    assert [line for line in text.splitlines() if line.startswith("PAGE")] == ["PAGE critical FIRING"]
    assert all(sign == "\n" or sign.isprintable() for sign in text)


async def test_a_stream_that_is_gone_is_a_failed_delivery() -> None:
    stream = io.StringIO()
    console = build({"console": ReceiverConfig(kind="console")}, now=lambda: 0, stream=stream)["console"]
    stream.close()
    delivery = await console.send(_notification(), INCIDENT)
    assert (delivery.ok, delivery.detail, delivery.is_transient) == (False, "the console is closed", False)


async def test_a_terminal_that_knows_only_ascii_gets_the_page_too() -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii", newline="\n")
    console = build({"console": ReceiverConfig(kind="console")}, now=lambda: 0, stream=stream)["console"]
    incident = INCIDENT.model_copy(update={"title": "Köln"})
    assert (await console.send(_notification(incident), incident)).ok
    assert rb"K\xf6ln" in raw.getvalue()
