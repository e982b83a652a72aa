"""One incident as receivers are told of it, its end, and the worst that an incident can hold."""

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

from alerts.outbox import Notification, Outbox, dedup_key
from alerts.page import Links, Pages
from alerts.rules import SHIPPED, load_rules, sample_incident
from schemas.incidents import Incident
from schemas.times import parse_time

NOW = parse_time("2026-03-02T10:04:00Z")
GOLDEN = Path(__file__).parent / "golden"
RULES = load_rules(SHIPPED)
PAGES = Pages(
    RULES,
    Links(
        page="https://aftermath.example.com/incidents/{incident_id}",
        sql="https://clickhouse.example.com/play",
        runbooks="https://git.example.com/aftermath/blob/main/",
    ),
)
INCIDENT = sample_incident(
    {
        "incident_id": "9c0e5b7d1a2f4e38",
        "fingerprint": "f1",
        "revision": 3,
        "tenant": "acme",
        "kind": "agent_caused_failure",
        "severity": "critical",
        "scope": "prod-eu/checkout",
        "agent_id": "capacity-agent",
        "agent_version": "2.4.1",
        "title": 'cart-db and cart failed 3 min after capacity-agent: kubernetes.scale on deployment/cart {"replicas":24}',
        "detected_at": "2026-03-02T10:03:35Z",
        "started_at": "2026-03-02T10:03:00Z",
        "updated_at": "2026-03-02T10:03:40Z",
        "summary": "24 pods of cart took all connections of cart-db & <b>its replica</b> fell behind.",
        "attribution": {
            "verdict": "agent",
            "probability": 0.93,
            "ranked": [
                {
                    "kind": "agent_action",
                    "resource": "prod-eu/checkout/deployment/cart",
                    "event_time": "2026-03-02T10:00:00Z",
                    "shows": 'kubernetes.scale on deployment/cart {"replicas":24}',
                }
            ],
        },
        "exhaustion": {"calls_percent_of_expected": 517, "unplanned_tokens": 10_200_000},
        "context_gaps": [
            {
                "resource": "prod-eu/checkout/statefulset/cart-db",
                "class": "never_queried",
                "shows": "maintenance on cart-db (half of the connections are reserved)",
            },
            {"resource": "elsewhere", "class": "unknowable"},
        ],
        "governance_gaps": [
            {
                "component": "capacity-agent",
                "failure_point": "kubernetes.scale on deployment/cart",
                "gap": "approval: requested, not granted",
            }
        ],
        "blast_radius": [{"resource": f"prod-eu/checkout/pod/cart-{number}"} for number in range(5)],
    }
)
OVER = INCIDENT.model_copy(
    update={
        "revision": 7,
        "status": "resolved",
        "updated_at": parse_time("2026-03-02T10:20:00Z"),
        "resolved_at": parse_time("2026-03-02T10:20:00Z"),
    }
)
# all that an agent can put into its texts: markup, mentions, controls, length
EVIL = "<!channel> *x* & <script>\x1b[2J\r\nBcc: evil@example.com\u202e" + "東" * 20_000
WORST = sample_incident(
    {
        "kind": "agent_caused_failure",
        "severity": "critical",
        "incident_id": "9c0e5b7d1a2f4e38",
        "tenant": "acme",
        **dict.fromkeys(("title", "summary", "scope", "agent_id", "agent_version", "owner", "fingerprint"), EVIL),
        "governance_gaps": [{"component": EVIL, "gap": EVIL}] * 9,
        "context_gaps": [{"resource": EVIL, "class": "dropped"}] * 9,
        "blast_radius": [{"resource": EVIL}] * 9,
        "attribution": {"verdict": "agent", "probability": 1, "ranked": [{"resource": EVIL, "shows": EVIL}] * 3},
    }
)


def firing(incident: Incident = INCIDENT, receiver: str = "there") -> Notification:
    """The first thing told of an incident."""
    (found,) = Outbox(RULES).decide(incident)
    return _to(found, receiver)


def resolved(reference: str = "") -> Notification:
    """Its end, after the beginning was told."""
    outbox = Outbox(RULES)
    (first,) = outbox.decide(INCIDENT)
    outbox.record(replace(first, state="sent", reference=reference))
    (found,) = outbox.decide(OVER)
    return _to(found, "there")


def _to(one: Notification, receiver: str) -> Notification:
    key = dedup_key(one.rule, one.incident_id, receiver, one.transition)
    return replace(one, receiver=receiver, dedup_key=key)


def others(number: int = 5) -> list[tuple[Notification, Incident]]:
    """What the same message tells besides."""
    found = [INCIDENT.model_copy(update={"incident_id": f"i{n}", "title": f"cart-{n} is slow"}) for n in range(number)]
    return [(firing(incident), incident) for incident in found]


def golden(name: str, found: Any) -> str | Any:
    """What the golden file holds; with UPDATE_GOLDEN=1 it is written first."""
    path = GOLDEN / name
    text = found if isinstance(found, str) else json.dumps(found, indent=1, ensure_ascii=False) + "\n"
    if os.environ.get("UPDATE_GOLDEN"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8", newline="\n")
    held = path.read_text(encoding="utf-8")
    return held if isinstance(found, str) else json.loads(held)
