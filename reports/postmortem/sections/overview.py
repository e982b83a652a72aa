"""What broke, since when and how long, why, and what that meant: downtime, data, content. Each only where observed."""

from collections.abc import Iterable
from datetime import timedelta

from reports.postmortem.case import Case
from reports.postmortem.model import Ask, Row, Template
from reports.postmortem.section import Section
from reports.postmortem.wording import (
    EVENT,
    HOUR,
    INCIDENT,
    THE_EVENT,
    THE_INCIDENT,
    clock,
    count,
    cut,
    names,
    probability,
    resource,
    sentence,
    span,
)

AVAILABLE = 990  # per mille: below it a resource counts as down
VERDICTS = {
    "agent": "an agent",
    "change": "a change, not by an agent",
    "infrastructure": "the infrastructure: no change explains it better",
    "shared": "an agent and the infrastructure together",
    "undetermined": "not determined",
}
# An availability is a share (%, or 0 to 1); a metric of what is left of something, in bytes say, is none.
AVAILABILITY = """metric IN ('up', 'probe_success') OR (match(metric, '(?i)availability') AND unit IN ('%', '1', ''))"""
# What an audit or check event speaks of, in its reason or its message; the name of who did it says nothing of that.
INTEGRITY = "integrity|checksum|corrupt|data.?loss|inconsisten|duplicate.?(record|row|key)|orphan(ed)?.?(record|row)"
CONTENT = (
    "unauthori[sz]ed.{0,30}(content|publi|post|page|text|script|image)"
    "|(content|publication|post|page|text|script|image).{0,30}(not authori[sz]ed|injected|tampered)"
    "|deface|disclos"
)

BROKE = Template(
    name="overview.broke",
    sql=f"""WITH {INCIDENT}
SELECT title, severity, replaceAll(toString(kind), '_', ' ') AS kind FROM i""",
    rests_on=(THE_INCIDENT,),
    say=lambda row: (f"{sentence(row['title'])} Recorded as {row['kind']}, {row['severity']}.",),
    missing=lambda _: ("What broke: not observed.",),
)


def _when(row: Row) -> tuple[str, ...]:
    began = f"It began on {row['started_at']:%Y-%m-%d} at {clock(row['started_at'])} UTC"
    if row["ended_at"] is None:
        return (f"{began} and was open at {clock(row['updated_at'])}.",)
    return (f"{began} and lasted {span(row['ended_at'] - row['started_at'])}, until {clock(row['ended_at'])}.",)


WHEN = Template(
    name="overview.when",
    sql=f"""WITH {INCIDENT}
SELECT started_at, updated_at, resolved_at AS ended_at FROM i""",
    rests_on=(THE_INCIDENT,),
    say=_when,
    missing=lambda _: ("Its time: not observed.",),
)
CAUSE = Template(
    name="overview.cause",
    sql=f"""WITH {INCIDENT}
SELECT verdict, probability FROM i""",
    rests_on=(THE_INCIDENT,),
    say=lambda row: (f"Cause: {VERDICTS[row['verdict']]}. Probability {probability(row['probability'])}.",),
    missing=lambda _: ("Cause: not observed.",),
)


def _affected(row: Row) -> tuple[str, ...]:
    found = row["resources"]
    return (f"{count(len(found), 'resource')} showed symptoms: {names([resource(name) for name in found])}.",)


AFFECTED = Template(
    name="overview.affected",
    sql=f"""WITH {INCIDENT}
SELECT JSONExtract(blast_radius, 'Array(Tuple(resource String, distance Int64))').resource AS resources
FROM i WHERE notEmpty(resources)""",
    rests_on=(THE_INCIDENT,),
    say=_affected,
    missing=lambda _: ("Affected resources: not observed: none showed symptoms.",),
)


def _downtime(row: Row) -> tuple[str, ...]:
    where, lowest, below = resource(row["resource"]), row["lowest"], row["threshold"]
    seen = f"{row['metric']} was {lowest:.4g}% at its lowest"
    if row["down_micros"] == 0:
        return (f"Downtime of {where}: none. {seen}; below {below:.4g}% counts as down.",)
    down = timedelta(microseconds=row["down_micros"])
    spread = row["last"] - row["first"]
    total = span(down) if down == spread else f"{span(down)} in all"
    return (
        f"Downtime of {where}: {total} below {below:.4g}%, between {clock(row['first'])} and {clock(row['last'])}. {seen}.",
    )


DOWNTIME = Template(
    name="overview.downtime",
    sql=f"""WITH {INCIDENT},
points AS
(
    SELECT event_time AS at, min(if(unit = '%', value, 100 * value)) AS share
    FROM system_metrics FINAL
    WHERE tenant = (SELECT tenant FROM i) AND resource = {{resource:String}} AND metric = {{metric:String}}
        AND event_time >= (SELECT started_at FROM i) - INTERVAL 15 MINUTE
        AND event_time <= (SELECT coalesce(resolved_at, updated_at) FROM i)
    GROUP BY at
),
steps AS
(
    SELECT at, share, leadInFrame(at, 1, at) OVER (ORDER BY at ROWS BETWEEN CURRENT ROW AND 1 FOLLOWING) AS next_at,
        share < {{per_mille:Int64}} / 10 AS is_down
    FROM points
)
SELECT {{resource:String}} AS resource, {{metric:String}} AS metric, {{per_mille:Int64}} / 10 AS threshold,
    min(share) AS lowest, sumIf(dateDiff('microsecond', at, next_at), is_down) AS down_micros,
    minIf(at, is_down) AS first, maxIf(next_at, is_down) AS last
FROM steps HAVING count() > 0""",
    rests_on=("series {resource} {metric}",),
    say=_downtime,
    missing=lambda _: ("Downtime: not observed: no availability metric of the affected resources was published.",),
)


def _check(row: Row) -> tuple[str, ...]:
    said = sentence(cut(row["message"] or row["reason"], 400))
    return (
        f"{row['about']}: {row['kind']} event at {clock(row['event_time'])} on {resource(row['resource'])}: {said}",
    )


def _about(name: str, about: str) -> Template:
    return Template(
        name=name,
        sql=f"""WITH {INCIDENT}, {EVENT}
SELECT '{about}' AS about, kind, reason, message, resource, event_time FROM event""",
        rests_on=(THE_EVENT,),
        say=_check,
        missing=lambda parameters: (
            f"{about}: the event {parameters['event_id']} is no longer stored."
            if parameters["event_id"]
            else f"{about}: not observed: no audit or check event speaks of it.",
        ),
    )


DATA = _about("overview.data", "Data integrity")
CONTENT_SEEN = _about("overview.content", "Unauthorised content")

FIND_AVAILABILITY = f"""SELECT DISTINCT resource, metric
FROM system_metrics
WHERE tenant = {{tenant:String}} AND has({{resources:Array(String)}}, resource) AND ({AVAILABILITY})
    AND event_time >= fromUnixTimestamp64Micro({{since:Int64}}, 'UTC')
    AND event_time <= fromUnixTimestamp64Micro({{until:Int64}}, 'UTC')
ORDER BY resource, metric"""
FIND_CHECKS = """SELECT DISTINCT event_id, event_time
FROM cluster_events
WHERE tenant = {tenant:String} AND kind = 'audit'
    AND (has({resources:Array(String)}, resource) OR startsWith(resource, {scope:String}))
    AND match(concat(reason, ' ', replaceOne(message, actor, '')), concat('(?i)', {words:String}))
    AND event_time >= fromUnixTimestamp64Micro({since:Int64}, 'UTC')
    AND event_time <= fromUnixTimestamp64Micro({until:Int64}, 'UTC')
ORDER BY event_time, event_id
LIMIT 20"""


def plan(case: Case) -> Iterable[Ask]:
    """Downtime a metric, data and content an event; one sentence that says so where there is none."""
    for template in (BROKE, WHEN, CAUSE, AFFECTED):
        yield Ask(template, case.ask())
    found = case.reader.query(FIND_AVAILABILITY, _where(case))
    for item in found or [{"resource": "", "metric": ""}]:
        yield Ask(DOWNTIME, case.ask(resource=item["resource"], metric=item["metric"], per_mille=AVAILABLE))
    for template, words in ((DATA, INTEGRITY), (CONTENT_SEEN, CONTENT)):
        asked = {**_where(case), "since": _cause_at(case), "words": words, "scope": f"{case.scope or '-'}/"}
        events = case.reader.query(FIND_CHECKS, asked)
        for event_id in [item["event_id"] for item in events] or [""]:
            yield Ask(template, case.ask(event_id=event_id))


def _where(case: Case) -> dict[str, object]:
    until = case.resolved_at or case.updated_at
    return {
        "tenant": case.tenant,
        "resources": list(case.resources),
        "since": case.started_at - HOUR,
        "until": until + HOUR,
    }


def _cause_at(case: Case) -> int:
    """What came before the cause is no part of what broke."""
    return min(case.started_at, case.cause.event_time) if case.cause else case.started_at


def has_availability(case: Case) -> bool:
    """Whether downtime can be told at all."""
    return bool(case.reader.query(FIND_AVAILABILITY, _where(case)))


SECTION = Section("What broke", (), (BROKE, WHEN, CAUSE, AFFECTED, DOWNTIME, DATA, CONTENT_SEEN), plan)
