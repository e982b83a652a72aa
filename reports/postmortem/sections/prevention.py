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

CAP = 5  # equal calls; DESIGN's fifth repetition
NOT_GAPS = ("unknowable", "cannot_tell")
AFTER = """countIf(operation = 'execute_tool' AND began >= last.stop) AS calls,
    sumIf(input_tokens + output_tokens, began >= last.stop) AS tokens"""


def _stopped(row: Row, limit: str) -> tuple[str, ...]:
    return (
        f"{limit} would have stopped the session at {clock(row['stop'])}, {span(row['stop'] - row['started'])} after it "
        f"began. After that came {count(row['calls'], 'tool call')} and {row['tokens']:,} tokens.",
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
    SELECT event_time AS stop FROM spans
    WHERE operation = 'execute_tool' AND began >= (SELECT started_at FROM i)
        AND (tool_name, target) IN (SELECT tool_name, target FROM most)
    ORDER BY event_time, span_id LIMIT 1 OFFSET {{cap:Int64}} - 1
)
SELECT any(last.stop) AS stop, min(began) AS started, {AFTER}, (SELECT tool_name FROM most) AS tool,
    (SELECT target FROM most) AS target, {{cap:Int64}} AS cap
FROM spans CROSS JOIN last HAVING count() > 0""",
    rests_on=(THE_SESSION,),
    say=lambda row: _stopped(
        row,
        f"A cap of {row['cap']} calls of {row['tool']}" + (f" on {resource(row['target'])}" if row["target"] else ""),
    ),
    missing=lambda parameters: (f"A cap on repeated calls: not observed: no call was made {parameters['cap']} times.",),
)
BUDGET = Template(
    name="prevention.budget",
    sql=f"""WITH {INCIDENT}, {SPANS},
running AS
(
    SELECT *, sum(input_tokens + output_tokens) OVER (ORDER BY event_time, span_id) AS used FROM spans
),
last AS (SELECT event_time AS stop FROM running WHERE used > {{limit:Int64}} ORDER BY event_time, span_id LIMIT 1)
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
        yield Ask(REPEATS, {**session, "cap": CAP})
        found = case.reader.query(FIND_BUDGET, {"tenant": case.tenant, "session_id": case.session_id})
        if found:
            yield Ask(BUDGET, {**session, "limit": found[0]["budget"]})
    if case.action:
        yield Ask(APPROVAL, case.ask(span_id=case.action))
    for gap in case.context_gaps:
        if gap.class_ not in NOT_GAPS:
            yield Ask(FACT, case.ask(event_id=gap.event_id, span_id=gap.span_id))


SECTION = Section("What would have prevented it", (), (REPEATS, BUDGET, APPROVAL, FACT, NOTHING), plan)
