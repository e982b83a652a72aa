"""Wednesday: whether agents still work as they did: which tools, in which order, how many steps and tokens a run.

What moved no further than chance would move it is said to be so, and what rests on too little is not said at all.
"""

from collections.abc import Iterable, Mapping

from reports.postmortem.model import Ask, Parameters, Row, Template
from reports.postmortem.section import Section
from reports.roundup import drift
from reports.roundup.periods import AGENT, END, RUNS, START, earlier, either, this_week
from reports.roundup.sections.metrics import AGENTS, LEAST_CALLS
from reports.roundup.week import MOST, Week
from reports.roundup.wording import COUNTED, NOT_ENOUGH, NOTHING, THE_AGENT, THE_WEEK, rate, who

LEAST_RUNS = 50  # of a kind, this week and before
SEED = 7
DRAWN = 10
USUAL_SHARE = 0.99
CHANCE = "no more than chance"


def _mix(row: Row) -> tuple[str, ...]:
    now: Mapping[str, int] = dict(zip(row["names"], row["now"], strict=True))
    before: Mapping[str, int] = dict(zip(row["names"], row["before_counts"], strict=True))
    n, m = sum(now.values()), sum(before.values())
    head = (f"{row['tenant']}/{row['agent_id']}", row["measure"])
    if min(n, m) < LEAST_CALLS:
        return (*head, "", "", f"{NOT_ENOUGH}: {n:,} this week, {m:,} before, {LEAST_CALLS} needed")
    move = drift.move_of(now, before)
    told = ", ".join(f"{name} {100 * was:.0f}% to {100 * is_now:.0f}%" for name, (was, is_now) in move.most.items())
    reading = f"moved: {told}" if move.is_beyond_chance else CHANCE
    return (*head, f"{move.moved:.3f} bits", f"{move.bound:.3f} bits", reading)


def _no_agent(of: Parameters) -> tuple[str, ...]:
    return (who(of), str(of["measure"]), "", "", f"{NOTHING}: its spans are gone")


COUNTS = """SELECT {tenant:String} AS tenant, {agent_id:String} AS agent_id, {measure:String} AS measure,
    groupArray(name) AS names, groupArray(n) AS now, groupArray(m) AS before_counts
FROM"""
TOOL_MIX = Template(
    name="drift.tools",
    sql=f"""{COUNTS}
(
    SELECT tool_name AS name, sumIf(calls, {this_week("pane")}) AS n, sumIf(calls, {earlier("pane")}) AS m
    FROM agent_usage FINAL
    WHERE {AGENT} AND operation IN ('execute_tool', 'retrieval') AND tool_name != '' AND {either("pane")}
    GROUP BY name ORDER BY name
)
HAVING count() > 0""",
    rests_on=(THE_AGENT, THE_WEEK),
    say=_mix,
    missing=_no_agent,
)
TRANSITIONS = Template(
    name="drift.transitions",
    sql=f"""{COUNTS}
(
    SELECT concat(before_it, ' then ', tool_name) AS name, countIf({this_week("event_time")}) AS n, countIf({earlier("event_time")}) AS m
    FROM
    (
        SELECT event_time, tool_name, lagInFrame(toString(tool_name), 1, 'start') OVER (
            PARTITION BY session_id ORDER BY event_time, span_id ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS before_it
        FROM agent_traces FINAL
        WHERE {AGENT} AND operation IN ('execute_tool', 'retrieval') AND tool_name != '' AND {either("event_time")}
    )
    GROUP BY name ORDER BY name
)
HAVING count() > 0""",
    rests_on=(THE_AGENT, THE_WEEK),
    say=_mix,
    missing=_no_agent,
)


def _lengths(row: Row) -> tuple[str, ...]:
    bins = range(len(row["cuts"]) + 1)
    now = dict(zip(row["bins"], row["now"], strict=True))
    before = dict(zip(row["bins"], row["before_counts"], strict=True))
    n, m = sum(now.values()), sum(before.values())
    head = (f"{row['tenant']}/{row['agent_id']}", row["measure"])
    if min(n, m) < LEAST_RUNS:
        return (*head, "", "", f"{NOT_ENOUGH}: {n:,} runs this week, {m:,} before, {LEAST_RUNS} needed")
    moved = drift.stability_index([now.get(each, 0) for each in bins], [before.get(each, 0) for each in bins])
    bound = max(drift.chance_of_index(n, m, len(bins)), drift.INDEX_FLOOR)
    told = f"moved: the median from {row['before_median']:,} to {row['median']:,}"
    return (*head, f"{moved:.3f}", f"{bound:.3f}", told if moved > bound else CHANCE)


LENGTHS = Template(
    name="drift.lengths",
    sql=f"""WITH {RUNS},
    of_runs AS (SELECT at, if({{measure:String}} = 'steps a run', steps, tokens) AS value FROM runs),
    (SELECT arrayDistinct(quantilesExact(0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)(value)) FROM of_runs WHERE at < {START}) AS edges
SELECT {{tenant:String}} AS tenant, {{agent_id:String}} AS agent_id, {{measure:String}} AS measure,
    any(edges) AS cuts, groupArray(bin) AS bins, groupArray(n) AS now, groupArray(m) AS before_counts,
    (SELECT quantileExactIf(0.5)(value, at >= {START}) FROM of_runs) AS median,
    (SELECT quantileExactIf(0.5)(value, at < {START}) FROM of_runs) AS before_median
FROM
(
    SELECT arrayCount(edge -> value > edge, edges) AS bin, countIf(at >= {START}) AS n, countIf(at < {START}) AS m
    FROM of_runs GROUP BY bin ORDER BY bin
)
HAVING count() > 0""",
    rests_on=(THE_AGENT, THE_WEEK),
    say=_lengths,
    missing=_no_agent,
)
NEW_VERSIONS = f"""SELECT tenant, agent_id, agent_version FROM agent_usage FINAL
WHERE {either("pane")} AND agent_version != ''
GROUP BY tenant, agent_id, agent_version HAVING min(pane) >= {START}
ORDER BY tenant, agent_id, agent_version LIMIT {MOST}"""
VERSION = Template(
    name="drift.version",
    sql=f"""WITH
    (SELECT argMax(agent_version, pane) FROM agent_usage FINAL WHERE {AGENT} AND {earlier("pane")}) AS last
SELECT tenant, agent_id, {{agent_version:String}} AS version, last AS version_before,
    minIf(pane, agent_version = {{agent_version:String}}) AS since,
    sumIf(u.calls, agent_version = {{agent_version:String}}) AS calls, sumIf(u.errors, agent_version = {{agent_version:String}}) AS errors,
    sumIf(u.calls, agent_version = last) AS before_calls, sumIf(u.errors, agent_version = last) AS before_errors
FROM agent_usage AS u FINAL
WHERE {AGENT} AND {COUNTED} AND {either("pane")}
GROUP BY tenant, agent_id""",
    rests_on=(THE_AGENT, THE_WEEK),
    say=lambda row: (
        f"{row['tenant']}/{row['agent_id']} {row['version']}",
        f"{row['since']:%Y-%m-%d %H:%M}",
        rate(row["errors"], row["calls"], LEAST_CALLS),
        row["version_before"] or NOTHING,
        rate(row["before_errors"], row["before_calls"], LEAST_CALLS),
    ),
    missing=lambda of: (f"{who(of)} {of['agent_version']}", NOTHING, "", "", ""),
)
STRAYED = f"""{RUNS},
    usual AS
    (
        SELECT tenant, agent_id, quantileExact({USUAL_SHARE})(r.steps) AS most_steps, quantileExact({USUAL_SHARE})(r.tokens) AS most_tokens
        FROM runs AS r WHERE at < {START} GROUP BY tenant, agent_id HAVING count() >= {LEAST_RUNS}
    ),
    strayed AS
    (
        SELECT r.tenant AS tenant, r.agent_id AS agent_id, r.session_id AS session_id, r.steps AS steps, r.tokens AS tokens,
            u.most_steps AS most_steps, u.most_tokens AS most_tokens, r.steps > u.most_steps OR r.tokens > u.most_tokens AS is_strayed
        FROM runs AS r INNER JOIN usual AS u ON u.tenant = r.tenant AND u.agent_id = r.agent_id
        WHERE r.at >= {START} AND r.at < {END}
    )"""
HOW_MANY = Template(
    name="drift.strayed",
    sql=f"""WITH {STRAYED}
SELECT countIf(is_strayed) AS strayed, count() AS judged FROM strayed HAVING judged > 0""",
    rests_on=(THE_WEEK,),
    say=lambda row: (
        f"{row['strayed']:,} of {row['judged']:,} runs",
        "",
        "",
        f"beyond {100 * USUAL_SHARE:.0f}% of their agent's runs before; up to {DRAWN} drawn with seed {SEED}",
    ),
    missing=lambda _: ("none", "", "", f"{NOT_ENOUGH}: no agent has {LEAST_RUNS} runs in the weeks before"),
)
RUN = Template(
    name="drift.run",
    sql=f"""WITH {STRAYED}
SELECT session_id, steps, tokens, most_steps, most_tokens FROM strayed WHERE session_id = {{session_id:String}} LIMIT 1""",
    rests_on=("session {session_id}", THE_AGENT, THE_WEEK),
    say=lambda row: (
        row["session_id"],
        f"{row['steps']:,}",
        f"{row['tokens']:,}",
        f"usually at most {row['most_steps']:,} steps and {row['most_tokens']:,} tokens",
    ),
    missing=lambda of: (str(of["session_id"]), "", "", f"{NOTHING}: its spans are gone"),
)
DRAW = f"""WITH {STRAYED}
SELECT tenant, agent_id, session_id FROM strayed WHERE is_strayed
ORDER BY cityHash64(session_id, {SEED}), session_id LIMIT {DRAWN}"""


def _plan_drift(week: Week) -> Iterable[Ask]:
    for of in week.find(AGENTS, "tenant", "agent_id"):
        yield Ask(TOOL_MIX, week.ask(measure="tools", **of))
        yield Ask(TRANSITIONS, week.ask(measure="tool after tool", **of))
        for measure in ("steps a run", "tokens a run"):
            yield Ask(LENGTHS, week.ask(measure=measure, **of))


def _plan_versions(week: Week) -> Iterable[Ask]:
    return [Ask(VERSION, week.ask(**of)) for of in week.find(NEW_VERSIONS, "tenant", "agent_id", "agent_version")]


def _plan_sample(week: Week) -> Iterable[Ask]:
    everybody = {"tenant": "", "agent_id": ""}
    yield Ask(HOW_MANY, week.ask(**everybody))
    rows = week.reader.query(DRAW, week.ask(**everybody))
    for row in rows:
        yield Ask(RUN, week.ask(**{name: row[name] for name in ("tenant", "agent_id", "session_id")}))


SECTIONS: tuple[Section[Week], ...] = (
    Section(
        "Wednesday: drift",
        ("Agent", "What", "Moved by", "Bound", "Reading"),
        (TOOL_MIX, TRANSITIONS, LENGTHS),
        _plan_drift,
    ),
    Section(
        "Wednesday: new versions",
        ("Agent and version", "Since", "Calls that failed", "Version before", "Of its calls"),
        (VERSION,),
        _plan_versions,
    ),
    Section("Wednesday: runs that strayed", ("Run", "Steps", "Tokens", "Against"), (HOW_MANY, RUN), _plan_sample),
)
