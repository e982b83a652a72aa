"""The version that ran, the one before it, and whether its change was taken back."""

from collections.abc import Iterable

from reports.postmortem.case import Case
from reports.postmortem.model import Ask, Row, Template
from reports.postmortem.section import Section
from reports.postmortem.wording import INCIDENT, SPAN, SPANS, THE_SESSION, THE_SPAN, clock, count, happened, names


def _version(row: Row) -> tuple[str, ...]:
    version = f"version {row['version']}" if row["version"] else "no version given"
    prompt = f", prompt {row['prompt']}" if row["prompt"] else ""
    models = f", models {names(row['models'])}" if row["models"] else ""
    return (f"{row['agent']} ran as {version}{prompt}{models}.",)


VERSION = Template(
    name="lineage.version",
    sql=f"""WITH {INCIDENT}, {SPANS}
SELECT max(agent_id) AS agent, max(agent_version) AS version, max(prompt_version) AS prompt,
    arraySort(groupUniqArrayIf(toString(model), model != '')) AS models
FROM spans HAVING count() > 0""",
    rests_on=(THE_SESSION,),
    say=_version,
    missing=lambda parameters: (
        "Version: not observed: no span of the session is stored."
        if parameters["session_id"]
        else "Version of an agent: not observed: no agent is held responsible.",
    ),
)
FIRST = Template(
    name="lineage.first",
    sql=f"""WITH {INCIDENT}
SELECT min(event_time) AS first, uniqExact(session_id) AS sessions, {{version:String}} AS version
FROM agent_traces
WHERE tenant = (SELECT tenant FROM i) AND agent_id = {{agent_id:String}} AND agent_version = {{version:String}}
    AND event_time <= (SELECT updated_at FROM i)
HAVING sessions > 0""",
    rests_on=("agent {agent_id}",),
    say=lambda row: (
        f"{'Version ' + row['version'] if row['version'] else 'It'} was first seen on "
        f"{row['first']:%Y-%m-%d at %H:%M:%S}; {count(row['sessions'], 'session')} of it until the end of the incident.",
    ),
    missing=lambda _: ("First seen: not observed: no span of this version is stored.",),
)
BEFORE = Template(
    name="lineage.before",
    sql=f"""WITH {INCIDENT}
SELECT agent_version AS version, max(event_time) AS last
FROM agent_traces
WHERE tenant = (SELECT tenant FROM i) AND agent_id = {{agent_id:String}}
    AND agent_version NOT IN ('', {{version:String}}) AND event_time < (SELECT started_at FROM i)
GROUP BY version ORDER BY last DESC, version LIMIT 1""",
    rests_on=("agent {agent_id}",),
    say=lambda row: (f"The version before it: {row['version']}, last seen on {row['last']:%Y-%m-%d at %H:%M:%S}.",),
    missing=lambda _: (
        "The version before it: not observed. No span of another version is stored; what to roll back to is not known.",
    ),
)
UNDONE = Template(
    name="lineage.undone",
    sql=f"""WITH {INCIDENT}, {SPAN},
changes AS
(
    SELECT * FROM cluster_events FINAL
    WHERE tenant = (SELECT tenant FROM i) AND resource = (SELECT target FROM span)
        AND kind IN ('deploy', 'scale', 'config', 'flag', 'quota') AND event_time >= (SELECT began FROM span)
        AND event_time <= (SELECT coalesce(resolved_at, updated_at) FROM i) + INTERVAL 1 HOUR
),
made AS (SELECT * FROM changes WHERE previous_value != '' ORDER BY event_time, event_id LIMIT 1)
SELECT c.event_time AS at, c.kind AS kind, c.reason AS reason, c.resource AS resource, c.count AS count,
    c.message AS message, c.value AS value, c.previous_value AS previous_value, c.actor_kind AS actor_kind,
    [concat('event ', made.event_id), concat('event ', c.event_id)] AS refs
FROM changes AS c CROSS JOIN made
WHERE c.event_time > made.event_time AND c.kind = made.kind AND c.value = made.previous_value
ORDER BY at, c.event_id LIMIT 1""",
    rests_on=(THE_SPAN,),
    say=lambda row: (f"Taken back at {clock(row['at'])}: {happened(row).rstrip('.')}.",),
    missing=lambda _: ("Taken back: not observed: no later change gave the target its value from before.",),
)


def plan(case: Case) -> Iterable[Ask]:
    """One sentence where no agent is held responsible."""
    yield Ask(VERSION, case.ask(session_id=case.session_id))
    if not case.session_id:
        return
    for template in (FIRST, BEFORE):
        yield Ask(template, case.ask(agent_id=case.agent_id, version=case.agent_version))
    if case.action:
        yield Ask(UNDONE, case.ask(span_id=case.action))


SECTION = Section("Version and rollback", (), (VERSION, FIRST, BEFORE, UNDONE), plan)
