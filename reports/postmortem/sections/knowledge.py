"""What the agent knew before it acted and what it did not: its belief, its reads, each fact it had not observed."""

from collections.abc import Iterable

from reports.postmortem.case import Case
from reports.postmortem.model import Ask, Row, Template
from reports.postmortem.section import Section
from reports.postmortem.wording import (
    EVENT,
    INCIDENT,
    LONGEST_QUOTE,
    SPAN,
    SPANS,
    THE_EVENT,
    THE_INCIDENT,
    THE_SESSION,
    THE_SPAN,
    clock,
    count,
    cut,
    happened,
    names,
    resource,
)
from schemas.incidents import CLASS_TEXT

UNTIL = "fromUnixTimestamp64Micro({until:Int64}, 'UTC')"
BELIEF = Template(
    name="knowledge.belief",
    sql=f"""WITH {INCIDENT}, {SPANS}
SELECT began, agent_id, summary, [concat('span ', span_id)] AS refs
FROM spans WHERE summary != '' AND began <= {UNTIL}
ORDER BY began DESC, event_time DESC, span_id DESC LIMIT 1""",
    rests_on=(),
    say=lambda row: (f"At {clock(row['began'])} {row['agent_id']} believed: “{cut(row['summary'], LONGEST_QUOTE)}”",),
    missing=lambda parameters: (
        "What the agent believed: not observed: no span says it (summary)."
        if parameters["session_id"]
        else "What an agent knew: not observed: no agent is held responsible.",
    ),
)


def _reads(row: Row) -> tuple[str, ...]:
    found = [f"{tool} of {resource(target)}" if target else tool for tool, target in row["things"]]
    return (
        f"Before that it made {count(row['reads'], 'read')}, {row['failed'] or 'none'} of them failed. "
        f"It read {names(found, 12)}.",
    )


READS = Template(
    name="knowledge.reads",
    sql=f"""WITH {INCIDENT}, {SPANS}
SELECT count() AS reads, countIf(status = 'error') AS failed,
    arraySort(groupUniqArray([toString(if(tool_name = '', operation, tool_name)), target])) AS things
FROM spans WHERE (access = 'read' OR operation = 'retrieval') AND event_time <= {UNTIL}
HAVING reads > 0""",
    rests_on=(THE_SESSION,),
    say=_reads,
    missing=lambda _: ("What it read before: not observed: no read came before the decision.",),
)


def _gap(row: Row) -> tuple[str, ...]:
    asked = f" The place to ask: {row['source']}." if row["source"] else ""
    return (
        f"Not known when it decided at {clock(row['acted'])}: {happened(row).rstrip('.')}. "
        f"In force since {row['holds_from']:%Y-%m-%d %H:%M:%S}; {CLASS_TEXT[row['class']]}.{asked}",
    )


GAP = Template(
    name="knowledge.gap",
    sql=f"""WITH {INCIDENT}, {SPAN}, {EVENT}
SELECT span.began AS acted, event.kind AS kind, event.reason AS reason, event.resource AS resource,
    event.count AS count, event.message AS message, event.value AS value, event.previous_value AS previous_value,
    event.actor_kind AS actor_kind, event.source AS source, event.holds_from AS holds_from,
    JSONExtractString(i.context_gaps, {{number:UInt32}}, 'class') AS class
FROM span CROSS JOIN event CROSS JOIN i""",
    rests_on=(THE_EVENT, THE_SPAN),
    say=_gap,
    missing=lambda parameters: (
        f"A fact it did not know: not observed: event {parameters['event_id']} or span {parameters['span_id']} is no "
        "longer stored.",
    ),
)
NO_GAP = Template(
    name="knowledge.no_gap",
    sql=f"""WITH {INCIDENT}
SELECT agent_id FROM i WHERE agent_id != '' AND JSONLength(context_gaps) = 0""",
    rests_on=(THE_INCIDENT,),
    say=lambda _: ("Facts it did not know: none observed. No fact in force stood against what it did.",),
    missing=lambda _: ("Facts it did not know: not observed.",),
)


def plan(case: Case) -> Iterable[Ask]:
    """Nothing but one sentence where no agent is held responsible."""
    asked = case.ask(session_id=case.session_id, until=case.decided_at)
    yield Ask(BELIEF, asked)
    if not case.session_id:
        return
    yield Ask(READS, asked)
    for number, gap in enumerate(case.context_gaps, 1):
        yield Ask(GAP, case.ask(number=number, event_id=gap.event_id, span_id=gap.span_id))
    if not case.context_gaps:
        yield Ask(NO_GAP, case.ask())


SECTION = Section("What the agent knew", (), (BELIEF, READS, GAP, NO_GAP), plan)
