"""What happened, in order: one row for each piece of evidence, page and change of state."""

from collections.abc import Iterable

from reports.postmortem.case import Case
from reports.postmortem.model import Ask, Parameters, Row, Template
from reports.postmortem.section import Section
from reports.postmortem.wording import INCIDENT, THE_INCIDENT, clock, cut, happened, resource, sentence
from schemas.incidents import Evidence
from schemas.times import parse_time

THE_PLACE = "log {topic}/{partition}@{offset}"
# event_time only narrows the search: a message has one place in the log
PLACED = """tenant = (SELECT tenant FROM i)
    AND event_time >= fromUnixTimestamp64Micro({at:Int64}, 'UTC') - INTERVAL 1 DAY
    AND event_time <= fromUnixTimestamp64Micro({at:Int64}, 'UTC') + INTERVAL 1 DAY
    AND topic = {topic:String} AND partition = {partition:Int64} AND offset = {offset:Int64}"""


def _gone(parameters: Parameters) -> tuple[str, ...]:
    place = f"{parameters['topic']}/{parameters['partition']}@{parameters['offset']}"
    return ("—", str(parameters["kind"]), f"Not observed: the message {place} is no longer stored.")


def _shown(row: Row) -> tuple[str, ...]:
    where = resource(row["resource"])
    shows = row["shows"] if not where or where.rpartition("/")[2] in row["shows"] else f"{where}: {row['shows']}"
    return clock(row["at"]), row["kind"], sentence(cut(shows, 300))


def _evidence(name: str, table: str) -> Template:
    """The words are those of the incident's evidence; they stand only while the message itself does."""
    return Template(
        name=name,
        sql=f"""WITH {INCIDENT}
SELECT fromUnixTimestamp64Micro({{at:Int64}}, 'UTC') AS at, {{kind:String}} AS kind,
    JSONExtractString(evidence, {{number:UInt32}}, 'shows') AS shows,
    JSONExtractString(evidence, {{number:UInt32}}, 'resource') AS resource
FROM i WHERE EXISTS (SELECT 1 FROM {table} WHERE {PLACED})""",
        rests_on=(THE_PLACE,),
        say=_shown,
        missing=_gone,
    )


SPAN = _evidence("timeline.span", "agent_traces")
METRIC = _evidence("timeline.metric", "system_metrics")
EVENT = Template(
    name="timeline.event",
    sql=f"""WITH {INCIDENT}
SELECT fromUnixTimestamp64Micro({{at:Int64}}, 'UTC') AS at, {{kind:String}} AS role, kind, reason, resource, count, message,
    value, previous_value, actor_kind
FROM cluster_events FINAL WHERE {PLACED} LIMIT 1""",
    rests_on=(THE_PLACE,),
    say=lambda row: (clock(row["at"]), row["role"], sentence(happened(row))),
    missing=_gone,
)
TEMPLATES = {"agent.traces.v1": SPAN, "system.metrics.v1": METRIC, "cluster.events.v1": EVENT}
DETECTED = Template(
    name="timeline.detected",
    sql=f"""WITH {INCIDENT}
SELECT detected_at FROM i""",
    rests_on=(THE_INCIDENT,),
    say=lambda row: (clock(row["detected_at"]), "detected", "The incident was opened."),
    missing=lambda _: ("—", "detected", "Not observed."),
)
PAGED = Template(
    name="timeline.told",
    sql="""SELECT at, mode, transition, rule, receiver, state FROM notifications FINAL
WHERE incident_id = {incident_id:String} AND dedup_key = {dedup_key:String}
LIMIT 1""",
    rests_on=("notification {dedup_key}",),
    say=lambda row: (
        clock(row["at"]),
        row["mode"],
        f"Rule {row['rule']}, {row['transition']}: {row['state']} to {row['receiver']}.",
    ),
    missing=lambda parameters: ("—", "page", f"Not observed: notification {parameters['dedup_key']} is not stored."),
)
ENDED = Template(
    name="timeline.ended",
    sql=f"""WITH {INCIDENT}
SELECT coalesce(resolved_at, updated_at) AS at, status FROM i""",
    rests_on=(THE_INCIDENT,),
    say=lambda row: (clock(row["at"]), row["status"], f"The incident was {row['status']}."),
    missing=lambda _: ("—", "ended", "Not observed."),
)
FIND_PAGES = """SELECT dedup_key, at FROM notifications FINAL
WHERE tenant = {tenant:String} AND incident_id = {incident_id:String} AND revision <= {revision:Int64}
ORDER BY at, dedup_key
LIMIT 50"""


def plan(case: Case) -> Iterable[Ask]:
    """In order of time; what has the same time stands in the order evidence, detected, told, ended."""
    asks = [
        (item.event_time, 0, number, Ask(TEMPLATES[item.topic], _place(case, item, number)))
        for number, item in enumerate(case.evidence, 1)
        if item.topic in TEMPLATES
    ]
    asks.append((case.detected_at, 1, 0, Ask(DETECTED, case.ask())))
    found = case.reader.query(FIND_PAGES, {"tenant": case.tenant, **case.parameters})
    for number, item in enumerate(found):
        at = parse_time(item["at"])
        asks.append((at, 2, number, Ask(PAGED, case.ask(dedup_key=item["dedup_key"]))))
    if case.resolved_at is not None:
        asks.append((case.resolved_at, 3, 0, Ask(ENDED, case.ask())))
    return [ask for *_, ask in sorted(asks, key=lambda item: item[:3])]


def _place(case: Case, item: Evidence, number: int) -> Parameters:
    return case.ask(
        number=number,
        kind=item.type,
        at=item.event_time,
        topic=item.topic,
        partition=item.partition,
        offset=item.offset,
    )


SECTION = Section("Timeline (UTC)", ("Time", "What", "Detail"), (SPAN, METRIC, EVENT, DETECTED, PAGED, ENDED), plan)
