"""The root cause with its probability, and each alternative with what speaks against it."""

from collections.abc import Iterable

from reports.postmortem.case import Case
from reports.postmortem.factors import against, in_favour
from reports.postmortem.model import Ask, Parameters, Row, Template
from reports.postmortem.section import Section
from reports.postmortem.sections.overview import VERDICTS
from reports.postmortem.wording import (
    EVENT,
    INCIDENT,
    SPAN,
    SPANS,
    THE_EVENT,
    THE_SESSION,
    THE_SPAN,
    called,
    clock,
    happened,
    probability,
    span,
)
from schemas.incidents import Candidate

RANKED = """JSONExtractFloat(attribution, 'ranked', {rank:UInt32}, 'probability') AS probability,
    JSONExtract(attribution, 'ranked', {rank:UInt32}, 'factors', 'Map(String, Float64)') AS factors,
    {rank:UInt32} AS rank, verdict, started_at"""


def _role(row: Row, what: str) -> tuple[str, ...]:
    """The first candidate of a verdict that holds one responsible is the cause; every other one is an alternative."""
    lag = row["started_at"] - row["at"]
    before = f", {span(lag)} before the first symptom" if lag.total_seconds() > 0 else ""
    said = f"{what} at {clock(row['at'])}{before}. Probability {probability(row['probability'])}."
    pros, cons = in_favour(row["factors"]), against(row["factors"])
    if row["rank"] == 1 and row["verdict"] in ("agent", "change", "shared"):
        return (_with(_with(f"Cause: {said}", "For it", pros), "Against it", cons),)
    if not cons:  # nothing of its own speaks against it
        return (_with(f"Less likely than the verdict: {said}", "For it", pros),)
    return (_with(f"Ruled out: {said}", "Against it", cons),)


def _with(said: str, label: str, reasons: str) -> str:
    return f"{said} {label}: {reasons}." if reasons else said


def _gone(what: str) -> tuple[str, ...]:
    return (f"Candidate: not observed: {what} is no longer stored.",)


ACTION = Template(
    name="cause.action",
    sql=f"""WITH {INCIDENT}, {SPAN}
SELECT began AS at, span.agent_id AS agent_id, span.agent_version AS agent_version, tool_name, operation, target,
    tool_args, {RANKED}
FROM span CROSS JOIN i""",
    rests_on=(THE_SPAN,),
    say=lambda row: _role(row, called(row)),
    missing=lambda parameters: _gone(f"span {parameters['span_id']}"),
)
CHANGE = Template(
    name="cause.change",
    sql=f"""WITH {INCIDENT}, {EVENT}
SELECT event.holds_from AS at, event.kind AS kind, event.reason AS reason, event.resource AS resource,
    event.count AS count, event.message AS message, event.value AS value, event.previous_value AS previous_value,
    event.actor_kind AS actor_kind, {RANKED}
FROM event CROSS JOIN i""",
    rests_on=(THE_EVENT,),
    say=lambda row: _role(row, happened(row, is_short=True)),
    missing=lambda parameters: _gone(f"event {parameters['event_id']}"),
)
SESSION = Template(
    name="cause.session",
    sql=f"""WITH {INCIDENT}, {SPANS}
SELECT fromUnixTimestamp64Micro({{at:Int64}}, 'UTC') AS at, agent, version, calls, {RANKED}
FROM i CROSS JOIN
(
    SELECT any(agent_id) AS agent, any(agent_version) AS version, countIf(operation = 'execute_tool') AS calls
    FROM spans
) AS found
WHERE agent != ''""",
    rests_on=(THE_SESSION,),
    say=lambda row: _role(
        row, f"a session of {row['agent']} {row['version']}".rstrip() + f" with {row['calls']:,} tool calls"
    ),
    missing=lambda parameters: _gone(f"session {parameters['session_id']}"),
)
VERDICT = Template(
    name="cause.verdict",
    sql=f"""WITH {INCIDENT}
SELECT verdict, probability, JSONLength(attribution, 'ranked') AS candidates FROM i""",
    rests_on=("incident {incident_id}",),
    say=lambda row: (
        f"Verdict: {VERDICTS[row['verdict']]}. Probability {probability(row['probability'])}, from "
        f"{row['candidates']} ranked {'candidate' if row['candidates'] == 1 else 'candidates'}.",
    ),
    missing=lambda _: ("Verdict: not observed.",),
)
ALONE = Template(
    name="cause.alone",
    sql=f"""WITH {INCIDENT}
SELECT 1 AS found FROM i WHERE JSONLength(attribution, 'ranked') <= 1""",
    rests_on=("incident {incident_id}",),
    say=lambda _: ("Alternatives: none. No other change stood near in time and place.",),
    missing=lambda _: ("Alternatives: not observed.",),
)


def plan(case: Case) -> Iterable[Ask]:
    """The verdict, then each candidate in its rank."""
    yield Ask(VERDICT, case.ask())
    for rank, candidate in enumerate(case.ranked, 1):
        yield _candidate(case, rank, candidate)
    if len(case.ranked) <= 1:
        yield Ask(ALONE, case.ask())


def _candidate(case: Case, rank: int, candidate: Candidate) -> Ask:
    ranked: Parameters = case.ask(rank=rank)
    if candidate.span_id:
        return Ask(ACTION, {**ranked, "span_id": candidate.span_id})
    if candidate.event_id:
        return Ask(CHANGE, {**ranked, "event_id": candidate.event_id})
    return Ask(SESSION, {**ranked, "session_id": candidate.session_id or "", "at": candidate.event_time})


SECTION = Section("Root cause", (), (VERDICT, ACTION, CHANGE, SESSION, ALONE), plan)
