"""Exhaustion as inefficiency: calls against those needed, unplanned tokens by class. Never money."""

from collections.abc import Iterable
from datetime import timedelta

from reports.postmortem.case import Case
from reports.postmortem.model import Ask, Row, Template
from reports.postmortem.section import Section
from reports.postmortem.wording import INCIDENT, SPANS, THE_INCIDENT, THE_SESSION, count, span

CALLS = Template(
    name="waste.calls",
    sql=f"""WITH {INCIDENT}
SELECT JSONExtractInt(exhaustion, 'calls') AS calls, JSONExtractInt(exhaustion, 'needed_calls') AS needed,
    JSONExtractInt(exhaustion, 'redundant_calls') AS redundant,
    JSONExtractFloat(exhaustion, 'calls_percent_of_expected') AS percent
FROM i WHERE exhaustion != ''""",
    rests_on=(THE_INCIDENT,),
    say=lambda row: (
        f"{count(row['calls'], 'call')} where {count(row['needed'], 'was', 'were')} needed: "
        f"{row['percent']:,.0f}% of the calls needed, {row['redundant']:,} redundant.",
    ),
    missing=lambda _: ("Exhaustion: not observed: no needless calls were counted in this incident.",),
)


def _tokens(row: Row) -> tuple[str, ...]:
    return (
        f"{row['tokens']:,} unplanned tokens in {span(timedelta(seconds=row['seconds']))}: {row['input']:,} input "
        f"(of them {row['cached']:,} cached) and {row['output']:,} output (of them {row['reasoning']:,} reasoning).",
    )


TOKENS = Template(
    name="waste.tokens",
    sql=f"""WITH {INCIDENT}
SELECT JSONExtractInt(exhaustion, 'unplanned_tokens') AS tokens,
    JSONExtractInt(exhaustion, 'unplanned_input_tokens') AS input,
    JSONExtractInt(exhaustion, 'unplanned_output_tokens') AS output,
    JSONExtractInt(exhaustion, 'unplanned_cached_input_tokens') AS cached,
    JSONExtractInt(exhaustion, 'unplanned_reasoning_tokens') AS reasoning,
    JSONExtractFloat(exhaustion, 'wall_time_seconds') AS seconds
FROM i WHERE exhaustion != ''""",
    rests_on=(THE_INCIDENT,),
    say=_tokens,
    missing=lambda _: ("Unplanned tokens: not observed.",),
)
SESSION = Template(
    name="waste.session",
    sql=f"""WITH {INCIDENT}, {SPANS}
SELECT countIf(operation = 'execute_tool') AS tools, countIf(operation = 'chat') AS chats, countIf(status = 'error') AS errors,
    sum(input_tokens + output_tokens) AS tokens
FROM spans HAVING count() > 0""",
    rests_on=(THE_SESSION,),
    say=lambda row: (
        f"The whole session: {count(row['tools'], 'tool call')}, {count(row['chats'], 'model call')}, "
        f"{count(row['errors'], 'error')}, {row['tokens']:,} tokens.",
    ),
    missing=lambda _: ("The session: not observed: none of its spans is stored.",),
)


def plan(case: Case) -> Iterable[Ask]:
    """One sentence where nothing was wasted."""
    yield Ask(CALLS, case.ask())
    if case.has_waste:
        yield Ask(TOKENS, case.ask())
    if case.session_id:
        yield Ask(SESSION, case.ask(session_id=case.session_id))


SECTION = Section("Resource exhaustion", (), (CALLS, TOKENS, SESSION), plan)
