"""What would have prevented it: for each limit its earliest stop, and what came after that and so would not have."""

from collections.abc import Iterable

from reports.postmortem.case import Case
from reports.postmortem.model import Ask, Row, Template
from reports.postmortem.section import Section
from reports.postmortem.wording import (
    EVENT,
    INCIDENT,
    SPAN,
    SPANS,
    THE_EVENT,
    THE_SESSION,
    THE_SPAN,
    clock,
    count,
    resource,
    span,
)

CAP = 5  # calls; DESIGN's fifth repetition
STEPS_CAP = 50  # steps; the step limit that `aftermath whatif` replays where no other is given
NOT_GAPS = ("unknowable", "cannot_tell")
# As the detectors and `aftermath whatif` count them: what comes out of a cache is no use of a budget.
USED = "input_tokens - cached_input_tokens + output_tokens"
AFTER = f"""countIf(operation = 'execute_tool' AND began >= last.stop) AS calls,
    sumIf({USED}, began >= last.stop) AS tokens"""


def _stopped(row: Row, limit: str) -> tuple[str, ...]:
    return (
        f"{limit} would have stopped the session at {clock(row['stop'])}, {span(row['stop'] - row['started'])} after it "
        f"began. From there on came {count(row['calls'], 'tool call')} and {row['tokens']:,} tokens.",
    )


STEPS = Template(
    name="prevention.steps",
    sql=f"""WITH {INCIDENT}, {SPANS},
last AS (SELECT began AS stop FROM spans WHERE step > {{cap:Int64}} ORDER BY began, span_id LIMIT 1)
SELECT any(last.stop) AS stop, min(began) AS started, {AFTER}, {{cap:Int64}} AS cap
FROM spans CROSS JOIN last HAVING count() > 0""",
    rests_on=(THE_SESSION,),
    say=lambda row: _stopped(row, f"A limit of {row['cap']} steps, enforced,"),
    missing=lambda parameters: (f"A step limit: not observed: no step beyond {parameters['cap']} was made.",),
)
REPEATS = Template(
    name="prevention.repeats",
    sql=f"""WITH {INCIDENT}, {SPANS},
most AS
(
    SELECT tool_name, target FROM spans
    WHERE operation = 'execute_tool' AND began >= (SELECT started_at FROM i)
    GROUP BY tool_name, target ORDER BY count() DESC, tool_name, target LIMIT 1
),
last AS
(
    SELECT began AS stop FROM spans
    WHERE operation = 'execute_tool' AND (tool_name, target) IN (SELECT tool_name, target FROM most)
    ORDER BY began, span_id LIMIT 1 OFFSET {{cap:Int64}}
)
SELECT any(last.stop) AS stop, min(began) AS started, {AFTER}, (SELECT tool_name FROM most) AS tool,
    (SELECT target FROM most) AS target, {{cap:Int64}} AS cap
FROM spans CROSS JOIN last HAVING count() > 0""",
    rests_on=(THE_SESSION,),
    say=lambda row: _stopped(
        row,
        f"A cap of {row['cap']} calls of {row['tool']}"
        + (f" on {resource(row['target'])}" if row["target"] else "")
        + ", whatever their arguments,",
    ),
    missing=lambda parameters: (
        f"A cap on repeated calls: not observed: no tool was called more than {parameters['cap']} times on one target.",
    ),
)
BUDGET = Template(
    name="prevention.budget",
    sql=f"""WITH {INCIDENT}, {SPANS},
running AS
(
    SELECT *, sum({USED}) OVER (ORDER BY event_time, span_id ROWS UNBOUNDED PRECEDING) AS used FROM spans
),
passed AS (SELECT event_time FROM running WHERE used > {{limit:Int64}} ORDER BY event_time, span_id LIMIT 1),
last AS (SELECT began AS stop FROM spans WHERE began >= (SELECT event_time FROM passed) ORDER BY began, span_id LIMIT 1)
SELECT any(last.stop) AS stop, min(began) AS started, {AFTER}, {{limit:Int64}} AS budget
FROM spans CROSS JOIN last HAVING count() > 0""",
    rests_on=(THE_SESSION,),
    say=lambda row: _stopped(row, f"A budget of {row['budget']:,} tokens a session, enforced,"),
    missing=lambda _: ("A token budget: not observed: the session passed no budget that was declared.",),
)


def _approval(row: Row) -> tuple[str, ...]:
    lag = row["started_at"] - row["began"]
    before = f", {span(lag)} before the first symptom" if lag.total_seconds() > 0 else ""
    what = row["tool_name"] or row["operation"]
    return (f"Waiting for approval would have held {what} at {clock(row['began'])}{before}.",)


APPROVAL = Template(
    name="prevention.approval",
    sql=f"""WITH {INCIDENT}, {SPAN}
SELECT began, tool_name, operation, i.started_at AS started_at FROM span CROSS JOIN i
WHERE approval NOT IN ('granted', 'not_required')""",
    rests_on=(THE_SPAN,),
    say=_approval,
    missing=lambda _: ("Approval: not observed: no write that lacked one is stored.",),
)


FREEZE = Template(
    name="prevention.freeze",
    sql=f"""WITH {INCIDENT}, {SPAN},
gaps AS
(
    SELECT JSONExtractString(gap, 'event_id') AS id
    FROM (SELECT arrayJoin(JSONExtractArrayRaw(context_gaps)) AS gap FROM i)
    WHERE JSONExtractString(gap, 'class') NOT IN {NOT_GAPS}
),
event AS
(
    SELECT *, coalesce(published_time, event_time) AS published
    FROM cluster_events FINAL
    WHERE tenant = (SELECT tenant FROM i) AND event_id IN (SELECT id FROM gaps) AND kind IN ('freeze', 'maintenance')
)
SELECT span.began AS acted, tool_name, operation, event.kind AS kind, event.resource AS resource, published,
    [concat('event ', event_id)] AS refs
FROM span CROSS JOIN event
WHERE published <= acted
ORDER BY published, event_id
LIMIT 1""",
    rests_on=(THE_SPAN,),
    say=lambda row: (
        f"A check for freezes and maintenance before each write would have held {row['tool_name'] or row['operation']} at "
        f"{clock(row['acted'])}: the {row['kind']} of {resource(row['resource'])} was in force, and announced at "
        f"{clock(row['published'])}.",
    ),
    missing=lambda _: (
        "A check for freezes and maintenance: not observed: no window that it did not know of is stored.",
    ),
)


def _fact(row: Row) -> tuple[str, ...]:
    ask = f"Asking {row['source']}" if row["source"] else "Reading it"
    return (
        f"{ask} would have shown the {row['kind']} of {resource(row['resource'])}: it could be read from "
        f"{clock(row['published'])}, {span(row['acted'] - row['published'])} before the agent decided.",
    )


FACT = Template(
    name="prevention.fact",
    sql=f"""WITH {INCIDENT}, {SPAN}, {EVENT}
SELECT span.began AS acted, event.kind AS kind, event.resource AS resource, event.source AS source, event.published AS published
FROM span CROSS JOIN event""",
    rests_on=(THE_EVENT, THE_SPAN),
    say=_fact,
    missing=lambda parameters: (
        f"Reading a fact: not observed: event {parameters['event_id']} or span {parameters['span_id']} is no longer "
        "stored.",
    ),
)
NOTHING = Template(
    name="prevention.nothing",
    sql=f"""WITH {INCIDENT}
SELECT verdict FROM i WHERE agent_id = ''""",
    rests_on=("incident {incident_id}",),
    say=lambda _: ("No limit on an agent would have prevented it: no agent is held responsible.",),
    missing=lambda _: ("A limit that would have prevented it: not observed.",),
)
FIND_BUDGET = """SELECT min(JSONExtractInt(evidence, 'limit')) AS budget
FROM signals FINAL
WHERE tenant = {tenant:String} AND session_id = {session_id:String}
    AND JSONHas(evidence, 'limit') AND JSONHas(evidence, 'tokens')
HAVING count() > 0"""


def plan(case: Case) -> Iterable[Ask]:
    """Caps and budgets where calls were wasted; approval and facts where one action is the cause."""
    if not case.session_id:
        yield Ask(NOTHING, case.ask())
        return
    if case.has_waste:
        session = case.ask(session_id=case.session_id)
        yield Ask(STEPS, {**session, "cap": STEPS_CAP})
        yield Ask(REPEATS, {**session, "cap": CAP})
        for found in case.reader.query(FIND_BUDGET, {"tenant": case.tenant, "session_id": case.session_id}):
            yield Ask(BUDGET, {**session, "limit": found["budget"]})
    if case.action:
        yield Ask(APPROVAL, case.ask(span_id=case.action))
        yield Ask(FREEZE, case.ask(span_id=case.action))
    for gap in case.context_gaps:
        if gap.class_ not in NOT_GAPS:
            yield Ask(FACT, case.ask(event_id=gap.event_id, span_id=gap.span_id))


SECTION = Section("What would have prevented it", (), (STEPS, REPEATS, BUDGET, APPROVAL, FREEZE, FACT, NOTHING), plan)
