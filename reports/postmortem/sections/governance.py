"""Governance: who authorised the write, whether steps or context overran, and the audit table of every gap."""

from collections.abc import Iterable

from reports.postmortem.case import Case
from reports.postmortem.model import Ask, Row, Template
from reports.postmortem.section import Section
from reports.postmortem.wording import (
    INCIDENT,
    SPAN,
    SPANS,
    THE_INCIDENT,
    THE_SESSION,
    THE_SPAN,
    clock,
    count,
    cut,
    sentence,
)

APPROVALS = {
    "granted": "its approval was granted",
    "requested": "its approval was requested and not granted; nobody authorised the write",
    "denied": "its approval was denied; it ran all the same",
    "not_required": "no approval was required of it",
    "": "no approval was recorded; nobody authorised the write",
}


def _authorised(row: Row) -> tuple[str, ...]:
    by = f" by {row['approved_by']}" if row["approved_by"] else ""
    what = row["tool_name"] or row["operation"]
    return (f"Verification: {what} ran at {clock(row['began'])}; {APPROVALS[row['approval']]}{by}.",)


AUTHORISED = Template(
    name="governance.authorised",
    sql=f"""WITH {INCIDENT}, {SPAN}
SELECT began, tool_name, operation, approval, approved_by FROM span""",
    rests_on=(THE_SPAN,),
    say=_authorised,
    missing=lambda parameters: (
        f"Verification: not observed: span {parameters['span_id']} is no longer stored."
        if parameters["span_id"]
        else "Verification: not observed: no single write of an agent is held responsible.",
    ),
)


def _steps(row: Row) -> tuple[str, ...]:
    took = f"Orchestration: the session came to step {row['steps']:,}"
    if row["most"] is None:
        return (f"{took}; no step limit was set.",)
    said = "beyond its limit of" if row["steps"] > row["most"] else "within its limit of"
    return (f"{took}, {said} {row['most']:,}.",)


STEPS = Template(
    name="governance.steps",
    sql=f"""WITH {INCIDENT}, {SPANS}
SELECT max(step) AS steps, max(max_steps) AS most FROM spans HAVING steps IS NOT NULL""",
    rests_on=(THE_SESSION,),
    say=_steps,
    missing=lambda _: ("Orchestration: not observed: no span of a responsible session counts its steps.",),
)


def _context(row: Row) -> tuple[str, ...]:
    cuts = f"It was cut {count(row['cuts'], 'time')}" if row["cuts"] else "It was never cut"
    full = "over nine tenths full" if row["share"] > 0.9 else "no overload"
    return (
        f"Context: {row['tokens']:,} of {row['most']:,} tokens at most ({row['share']:.0%}); {full}. "
        f"{cuts} by the length limit.",
    )


CONTEXT = Template(
    name="governance.context",
    sql=f"""WITH {INCIDENT}, {SPANS}
SELECT argMax(context_tokens, context_tokens / context_limit) AS tokens,
    argMax(context_limit, context_tokens / context_limit) AS most, max(context_tokens / context_limit) AS share,
    countIf(finish_reason = 'length') AS cuts
FROM spans HAVING share IS NOT NULL""",
    rests_on=(THE_SESSION,),
    say=_context,
    missing=lambda _: ("Context: not observed: no span of a responsible session gives its size and limit.",),
)


def _row(row: Row) -> tuple[str, ...]:
    at = ""
    if row["found"]:
        at = f" ({clock(row['first'])}" + (f" to {clock(row['last'])}" if row["found"] > 1 else "") + ")"
    kept = f" {row['found']} of {count(row['cited'], 'reference')} stored." if row["found"] < row["cited"] else ""
    return row["component"], f"{cut(row['failure_point'], 300)}{at}.{kept}", sentence(row["gap"])


GAP = Template(
    name="governance.gap",
    sql=f"""WITH {INCIDENT},
gap AS
(
    SELECT JSONExtractString(governance_gaps, {{number:UInt32}}, 'component') AS component,
        JSONExtractString(governance_gaps, {{number:UInt32}}, 'failure_point') AS failure_point,
        JSONExtractString(governance_gaps, {{number:UInt32}}, 'gap') AS gap,
        JSONExtract(governance_gaps, {{number:UInt32}}, 'references', 'Array(String)') AS cited
    FROM i
),
place AS
(
    SELECT DISTINCT JSONExtractString(item, 'topic') AS topic, JSONExtractInt(item, 'partition') AS partition,
        JSONExtractInt(item, 'offset') AS offset
    FROM (SELECT arrayJoin(JSONExtractArrayRaw(evidence)) AS item, (SELECT cited FROM gap) AS names FROM i)
    WHERE has(names, JSONExtractString(item, 'event_id'))
),
kept AS
(
    SELECT concat('span ', span_id) AS ref, event_time FROM agent_traces FINAL
    WHERE tenant = (SELECT tenant FROM i)
        AND (has((SELECT cited FROM gap), span_id) OR (topic, partition, offset) IN (SELECT * FROM place))
    UNION ALL
    SELECT concat('event ', event_id), event_time FROM cluster_events FINAL
    WHERE tenant = (SELECT tenant FROM i)
        AND (has((SELECT cited FROM gap), event_id) OR (topic, partition, offset) IN (SELECT * FROM place))
)
SELECT component, failure_point, gap, length(cited) AS cited, found, first, last, refs
FROM gap CROSS JOIN
(
    SELECT count() AS found, min(event_time) AS first, max(event_time) AS last, arraySort(groupArray(ref)) AS refs FROM kept
) AS seen""",
    rests_on=(THE_INCIDENT,),
    say=_row,
    missing=lambda _: ("—", "Not observed.", "—"),
)
NO_GAP = Template(
    name="governance.no_gap",
    sql=f"""WITH {INCIDENT}
SELECT status FROM i WHERE JSONLength(governance_gaps) = 0""",
    rests_on=(THE_INCIDENT,),
    say=lambda _: ("—", "None observed.", "No limit, approval or validation is known to have been missing."),
    missing=lambda _: ("—", "Not observed.", "—"),
)


def plan(case: Case) -> Iterable[Ask]:
    """The three questions of an audit."""
    yield Ask(AUTHORISED, case.ask(span_id=case.action))
    yield Ask(STEPS, case.ask(session_id=case.session_id))
    yield Ask(CONTEXT, case.ask(session_id=case.session_id))


def plan_table(case: Case) -> Iterable[Ask]:
    """One row for each gap."""
    for number, _ in enumerate(case.governance_gaps, 1):
        yield Ask(GAP, case.ask(number=number))
    if not case.governance_gaps:
        yield Ask(NO_GAP, case.ask())


SECTION = Section("Governance", (), (AUTHORISED, STEPS, CONTEXT), plan)
TABLE = Section("Audit", ("Component", "Failure point", "Governance gap"), (GAP, NO_GAP), plan_table)
