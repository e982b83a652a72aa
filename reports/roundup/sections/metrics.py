"""Monday: tokens by class, agents with their error rates, tools with their latency, against the four weeks before.

The weekly mean before counts the weeks in which anything ran. Quantiles come from spans, which are stored for 30 days: of
the five weeks the first days may be gone, and the calls they rest on are said.
"""

from collections.abc import Iterable

from reports.postmortem.model import Ask, Row, Template
from reports.postmortem.section import Section
from reports.roundup.periods import AGENT, earlier, either, this_week
from reports.roundup.week import MOST, Week
from reports.roundup.wording import COUNTED, NOT_ENOUGH, NOTHING, THE_AGENT, THE_WEEK, change, rate, who

CLASSES = ("input, not cached", "input, cached", "output, reasoning", "output, the rest")
LEAST_CALLS = 100  # below it a rate says nothing
LEAST_TIMED = 50
AGENTS = f"""SELECT tenant, agent_id FROM agent_usage FINAL
WHERE {this_week("pane")} AND {COUNTED}
GROUP BY tenant, agent_id ORDER BY sum(input_tokens + output_tokens) DESC, tenant, agent_id LIMIT {MOST}"""
TOOLS = f"""SELECT tenant, tool_name FROM agent_usage FINAL
WHERE {this_week("pane")} AND operation IN ('execute_tool', 'retrieval') AND tool_name != ''
GROUP BY tenant, tool_name ORDER BY sum(calls) DESC, tenant, tool_name LIMIT {MOST}"""


def _tokens(row: Row) -> tuple[str, ...]:
    usual = row["before_sum"] / row["weeks"] if row["weeks"] else 0
    shown = f"{usual:,.0f} (mean of {row['weeks']})" if row["weeks"] else NOTHING
    return (row["class"], f"{row['now']:,}", shown, change(row["now"], usual))


TOKENS = Template(
    name="metrics.tokens",
    sql=f"""SELECT {{class:String}} AS class,
    sumIf(t, pane >= {{start:DateTime64(6, 'UTC')}}) AS now, sumIf(t, pane < {{start:DateTime64(6, 'UTC')}}) AS before_sum,
    uniqExactIf(toMonday(pane), pane < {{start:DateTime64(6, 'UTC')}}) AS weeks
FROM
(
    SELECT pane, multiIf(class = 'input, not cached', input_tokens - cached_input_tokens, class = 'input, cached', cached_input_tokens,
        class = 'output, reasoning', reasoning_tokens, output_tokens - reasoning_tokens) AS t
    FROM agent_usage FINAL
    WHERE operation = 'chat' AND {either("pane")}
)
HAVING count() > 0""",
    rests_on=(THE_WEEK,),
    say=_tokens,
    missing=lambda of: (str(of["class"]), NOTHING, NOTHING, ""),
)


def _agent(row: Row) -> tuple[str, ...]:
    usual = row["before_tokens"] / row["weeks"] if row["weeks"] else 0
    return (
        f"{row['tenant']}/{row['agent_id']}",
        f"{row['tokens']:,}",
        change(row["tokens"], usual),
        rate(row["errors"], row["calls"], LEAST_CALLS),
        rate(row["before_errors"], row["before_calls"], LEAST_CALLS),
    )


USE = Template(
    name="metrics.agent",
    sql=f"""SELECT tenant, agent_id,
    sumIf(calls, {this_week("pane")}) AS calls, sumIf(errors, {this_week("pane")}) AS errors,
    sumIf(input_tokens + output_tokens, operation = 'chat' AND {this_week("pane")}) AS tokens,
    sumIf(u.calls, {earlier("pane")}) AS before_calls, sumIf(u.errors, {earlier("pane")}) AS before_errors,
    sumIf(input_tokens + output_tokens, operation = 'chat' AND {earlier("pane")}) AS before_tokens,
    uniqExactIf(toMonday(pane), {earlier("pane")}) AS weeks
FROM agent_usage AS u FINAL
WHERE {AGENT} AND {COUNTED} AND {either("pane")}
GROUP BY tenant, agent_id""",
    rests_on=(THE_AGENT, THE_WEEK),
    say=_agent,
    missing=lambda of: (who(of), NOTHING, "", NOTHING, NOTHING),
)


def _latency(row: Row) -> tuple[str, ...]:
    n, m = row["n"], row["m"]
    now = f"{row['p50']:,} / {row['p95']:,} ms" if n >= LEAST_TIMED else NOT_ENOUGH
    before = f"{row['before_p50']:,} / {row['before_p95']:,} ms" if m >= LEAST_TIMED else NOT_ENOUGH
    moved = change(row["p95"], row["before_p95"]) if min(n, m) >= LEAST_TIMED else ""
    return (f"{row['tenant']}/{row['tool_name']}", f"{n:,}", now, before, moved)


LATENCY = Template(
    name="metrics.latency",
    sql=f"""SELECT tenant, tool_name, countIf({this_week("event_time")}) AS n, countIf({earlier("event_time")}) AS m,
    quantileExactIf(0.5)(duration_ms, {this_week("event_time")}) AS p50, quantileExactIf(0.95)(duration_ms, {this_week("event_time")}) AS p95,
    quantileExactIf(0.5)(duration_ms, {earlier("event_time")}) AS before_p50,
    quantileExactIf(0.95)(duration_ms, {earlier("event_time")}) AS before_p95
FROM agent_traces FINAL
WHERE tenant = {{tenant:String}} AND tool_name = {{tool_name:String}} AND operation IN ('execute_tool', 'retrieval') AND {either("event_time")}
GROUP BY tenant, tool_name""",
    rests_on=("tool {tenant}/{tool_name}", THE_WEEK),
    say=_latency,
    missing=lambda of: (f"{of['tenant']}/{of['tool_name']}", "0", f"{NOTHING}: its spans are gone", NOTHING, ""),
)


def _plan_tokens(week: Week) -> Iterable[Ask]:
    return [Ask(TOKENS, week.ask(**{"class": name})) for name in CLASSES]


def _plan_agents(week: Week) -> Iterable[Ask]:
    return [Ask(USE, week.ask(**of)) for of in week.find(AGENTS, "tenant", "agent_id")]


def _plan_tools(week: Week) -> Iterable[Ask]:
    return [Ask(LATENCY, week.ask(**of)) for of in week.find(TOOLS, "tenant", "tool_name")]


SECTIONS: tuple[Section[Week], ...] = (
    Section("Monday: tokens by class", ("Class", "This week", "A week before", "Change"), (TOKENS,), _plan_tokens),
    Section(
        "Monday: agents, the largest first",
        ("Agent", "Tokens", "Change", "Calls that failed", "In the weeks before"),
        (USE,),
        _plan_agents,
    ),
    Section(
        "Monday: tools, p50 / p95",
        ("Tool", "Calls", "This week", "Four weeks before", "Change of p95"),
        (LATENCY,),
        _plan_tools,
    ),
)
