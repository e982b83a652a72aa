"""The alert about the alert rules: somebody changed them so that they cannot be used, and those before are in force.

It goes the way of every other alert (matched by a rule of its own, routed, told once, told to be over), as an incident
that stands in no table: nothing happened to an agent. One each time that other faults are found.
"""

from collections.abc import Iterable, Sequence

from alerts.rules.model import SHADOW, Rule
from schemas.incidents import Attribution, Incident
from schemas.signals import stable_hash

RULE_ID = "alert_rules_broken"
FINGERPRINT = "aftermath.alert_rules"
MOST_FAULTS = 3


def own_rule(rules: Iterable[Rule]) -> Rule:
    """The rule that tells of it: to everyone whom the rules in force tell."""
    receivers = sorted({name for rule in rules if rule.mode != SHADOW for name in rule.receivers})
    return Rule.model_validate(
        {
            "id": RULE_ID,
            "title": "The alert rules cannot be used",
            "when": {"fingerprint": FINGERPRINT},
            "mode": "page",
            "severity": "warning",
            "receivers": receivers[:20] or ["console"],
            "runbook": "alerts/rules/README.md#changing-rules-at-run-time",
            "first_step": "Run `aftermath rules check` on the folder; until it is content the rules before hold.",
            "owner": "on-call",
            "stop": True,
        }
    )


def name_of(faults: Sequence[str], now: int) -> str:
    """The incident's id; the same fault tomorrow is another one."""
    return stable_hash(RULE_ID, list(faults), now)


def broken(incident_id: str, tenant: str, now: int, faults: Sequence[str] = ()) -> Incident:
    """What there is to tell; without faults, that it is over."""
    more = f" and {len(faults) - MOST_FAULTS} more" if len(faults) > MOST_FAULTS else ""
    return Incident(
        incident_id=incident_id,
        fingerprint=FINGERPRINT,
        revision=now,
        tenant=tenant,
        kind="telemetry_gap",
        status="open" if faults else "resolved",
        severity="warning",
        scope=None,
        agent_id=None,
        agent_version=None,
        session_ids=(),
        title="The alert rules cannot be used; those before are in force",
        started_at=now,
        detected_at=now,
        updated_at=now,
        resolved_at=None if faults else now,
        summary="; ".join(faults[:MOST_FAULTS]) + more,
        attribution=Attribution(verdict="undetermined", probability=0.0),
    )
