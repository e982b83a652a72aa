"""Detection and response: when it was detected, paged, acknowledged and resolved, counted from the first symptom."""

from collections.abc import Iterable

from reports.postmortem.case import Case
from reports.postmortem.model import Ask, Row, Template
from reports.postmortem.section import Section
from reports.postmortem.wording import INCIDENT, SPAN, THE_INCIDENT, THE_SPAN, clock, span


def _after(row: Row) -> str:
    return f"at {clock(row['at'])}, {span(row['at'] - row['started_at'])} after it began"


DETECTED = Template(
    name="response.detected",
    sql=f"""WITH {INCIDENT}
SELECT detected_at AS at, started_at FROM i""",
    rests_on=(THE_INCIDENT,),
    say=lambda row: (f"Detected {_after(row)}.",),
    missing=lambda _: ("Detected: not observed.",),
)
WARNING_TIME = Template(
    name="response.since_action",
    sql=f"""WITH {INCIDENT}, {SPAN}
SELECT i.detected_at AS at, span.began AS acted FROM i CROSS JOIN span""",
    rests_on=(THE_SPAN,),
    say=lambda row: (f"From the agent's action to detection: {span(row['at'] - row['acted'])}.",),
    missing=lambda _: ("From the agent's action to detection: not observed: the action is no longer stored.",),
)
PAGED = Template(
    name="response.paged",
    sql=f"""WITH {INCIDENT}
SELECT n.at AS at, n.rule AS rule, n.receiver AS receiver, i.started_at AS started_at,
    [concat('notification ', n.dedup_key)] AS refs
FROM notifications AS n FINAL CROSS JOIN i
WHERE n.tenant = i.tenant AND n.incident_id = i.incident_id AND n.revision <= i.revision
    AND n.mode = 'page' AND n.transition = 'firing' AND n.state = 'sent'
ORDER BY at, n.dedup_key LIMIT 1""",
    rests_on=(THE_INCIDENT,),
    say=lambda row: (f"First page {_after(row)}, by rule {row['rule']} to {row['receiver']}.",),
    missing=lambda _: ("First page: not observed: no page was sent for it.",),
)
ACKNOWLEDGED = Template(
    name="response.acknowledged",
    sql=f"""WITH {INCIDENT}
SELECT a.acknowledged_at AS at, i.started_at AS started_at
FROM acknowledgements AS a FINAL CROSS JOIN i
WHERE a.tenant = i.tenant AND a.incident_id = i.incident_id LIMIT 1""",
    rests_on=(THE_INCIDENT,),
    say=lambda row: (f"Acknowledged {_after(row)}.",),
    missing=lambda _: ("Acknowledged: not observed: no acknowledgement was recorded.",),
)
RESOLVED = Template(
    name="response.resolved",
    sql=f"""WITH {INCIDENT}
SELECT resolved_at AS at, started_at FROM i WHERE resolved_at IS NOT NULL""",
    rests_on=(THE_INCIDENT,),
    say=lambda row: (f"Resolved {_after(row)}.",),
    missing=lambda _: ("Resolved: not observed: it was open in this revision.",),
)


def plan(case: Case) -> Iterable[Ask]:
    """In the order of a response."""
    yield Ask(DETECTED, case.ask())
    if case.action:
        yield Ask(WARNING_TIME, case.ask(span_id=case.action))
    for template in (PAGED, ACKNOWLEDGED, RESOLVED):
        yield Ask(template, case.ask())


SECTION = Section("Detection and response", (), (DETECTED, WARNING_TIME, PAGED, ACKNOWLEDGED, RESOLVED), plan)
