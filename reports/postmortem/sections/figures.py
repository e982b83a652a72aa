"""Two pictures, where people would rather look than read, each with its sentence: tokens a minute, and the lanes."""

from collections.abc import Iterable

from reports.postmortem.case import Case
from reports.postmortem.charts import draw_lanes, draw_tokens
from reports.postmortem.model import Ask, Row, Template
from reports.postmortem.section import Section
from reports.postmortem.wording import INCIDENT, THE_INCIDENT, count


def _tokens(row: Row) -> tuple[str, ...]:
    before = "no minute before it is stored" if row["before"] is None else f"{row['before']:,.0f}"
    return (
        f"Tokens a minute of {row['agent_id']}: at most {row['peak']:,}, at {row['peak_at']:%H:%M}. "
        f"The median before the incident: {before}.",
    )


TOKENS = Template(
    name="figures.tokens",
    sql=f"""WITH {INCIDENT},
minutes AS
(
    SELECT toStartOfMinute(event_time) AS minute, sum(input_tokens + output_tokens) AS tokens
    FROM agent_traces FINAL
    WHERE tenant = (SELECT tenant FROM i) AND agent_id = {{agent_id:String}}
        AND event_time >= (SELECT started_at FROM i) - INTERVAL 15 MINUTE
        AND event_time <= (SELECT coalesce(resolved_at, updated_at) FROM i) + INTERVAL 5 MINUTE
    GROUP BY minute HAVING tokens > 0
)
SELECT {{agent_id:String}} AS agent_id, groupArray(minute) AS points, groupArray(m.tokens) AS series, max(tokens) AS peak,
    argMax(minute, (tokens, -toInt64(minute))) AS peak_at, any(i.started_at) AS started,
    any(coalesce(i.resolved_at, i.updated_at)) AS ended,
    if(countIf(minute < toStartOfMinute(i.started_at)) = 0, NULL,
        quantileExactIf(0.5)(tokens, minute < toStartOfMinute(i.started_at))) AS before
FROM (SELECT * FROM minutes ORDER BY minute) AS m CROSS JOIN i
HAVING count() > 0""",
    rests_on=("agent {agent_id}",),
    say=_tokens,
    missing=lambda _: (
        "Tokens a minute: not observed: no agent is held responsible, or none of its tokens is stored.",
    ),
    draw=draw_tokens,
)
LANES = Template(
    name="figures.lanes",
    sql=f"""WITH {INCIDENT}
SELECT JSONExtract(evidence, 'Array(Tuple(type String, event_time String, shows String))') AS items,
    started_at AS started, detected_at AS detected, coalesce(resolved_at, updated_at) AS ended
FROM i WHERE notEmpty(items)""",
    rests_on=(THE_INCIDENT,),
    say=lambda row: (f"The incident in lanes: {count(len(row['items']), 'piece')} of evidence.",),
    missing=lambda _: ("The incident in lanes: not observed: it has no evidence.",),
    draw=draw_lanes,
)


def plan(case: Case) -> Iterable[Ask]:
    """Tokens only where an agent is held responsible."""
    yield Ask(LANES, case.ask())
    if case.agent_id:
        yield Ask(TOKENS, case.ask(agent_id=case.agent_id))


SECTION = Section("At a glance", (), (TOKENS, LANES), plan)
