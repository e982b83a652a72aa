"""Friday: security and governance: what agents may do, what they did without leave, and who was woken for it."""

from collections.abc import Iterable

from reports.postmortem.model import Ask, Row, Template
from reports.postmortem.section import Section
from reports.postmortem.wording import count, names
from reports.roundup.periods import AGENT, START, earlier, either, this_week
from reports.roundup.precision import FLOOR, LEAST_MARKS, is_below_floor, wilson_lower
from reports.roundup.week import MOST, Week
from reports.roundup.wording import NOT_ENOUGH, NOTHING, THE_AGENT, THE_WEEK, who

ABOUT_RIGHTS = "'role', 'rolebinding', 'clusterrole', 'clusterrolebinding', 'serviceaccount', 'accesspolicy', 'accesskey', 'group', 'user'"


def _signals(name: str, kind: str, says: str, missing: str) -> Template:
    """A sentence about one kind of signal."""
    return Template(
        name=f"security.{name}",
        sql=f"""SELECT count() AS times, uniqExact(session_id) AS runs, arraySlice(arraySort(groupUniqArray(concat(tenant, '/', agent_id))), 1, 20) AS agents,
    arraySlice(arraySort(groupUniqArray(concat('signal ', signal_id))), 1, 20) AS refs
FROM signals FINAL
WHERE type = '{kind}' AND {this_week("detected_at")}
HAVING times > 0""",
        rests_on=(THE_WEEK,),
        say=lambda row: (
            f"{says}: {count(row['times'], 'time')} in {count(row['runs'], 'run')}, by {names(row['agents'])}.",
        ),
        missing=lambda _: (f"{missing}: {NOTHING}.",),
    )


PERMISSIONS = _signals(
    "permissions",
    "governance.permission_change",
    "Agents changed permissions without an approval",
    "Permissions changed by agents",
)
BLIND = _signals(
    "blind_writes",
    "governance.blind_write",
    "Agents wrote to what they had not read before",
    "Writes without reconnaissance",
)
FREEZE = _signals("freeze", "governance.freeze", "Agents changed things in a freeze or a window", "Changes in a freeze")
RIGHTS = Template(
    name="security.rights",
    sql=f"""SELECT count() AS times, countIf(actor_kind = 'agent') AS by_agents, uniqExact(resource) AS resources,
    arraySlice(arraySort(groupUniqArray(concat('event ', event_id))), 1, 20) AS refs
FROM cluster_events FINAL
WHERE {this_week("event_time")} AND kind IN ('audit', 'config') AND splitByChar('/', resource)[3] IN ({ABOUT_RIGHTS})
HAVING times > 0""",
    rests_on=(THE_WEEK,),
    say=lambda row: (
        f"Roles, bindings and accounts were changed {count(row['times'], 'time')} on {count(row['resources'], 'resource')}, "
        f"{row['by_agents']:,} of them by agents.",
    ),
    missing=lambda _: (f"Changes of roles, bindings and accounts: {NOTHING}.",),
)
APPROVALS = Template(
    name="security.approvals",
    sql=f"""SELECT count() AS changes, countIf(approval = 'denied') AS denied, countIf(approval = 'denied' AND status = 'ok') AS denied_ran,
    countIf(approval = 'requested' AND status = 'ok') AS ran_unanswered,
    arraySlice(arraySort(groupUniqArrayIf(concat('span ', span_id), approval IN ('denied', 'requested') AND status = 'ok')), 1, 20) AS refs
FROM agent_traces FINAL
WHERE {this_week("event_time")} AND access IN ('write', 'destructive', 'provision')
HAVING changes > 0""",
    rests_on=(THE_WEEK,),
    say=lambda row: (
        f"Of {count(row['changes'], 'change')} by agents, the approval of {row['denied']:,} was denied; {row['denied_ran']:,} of "
        f"those ran all the same, and {row['ran_unanswered']:,} more ran before anybody answered.",
    ),
    missing=lambda _: (f"Changes by agents: {NOTHING}.",),
)
QUOTAS = Template(
    name="security.quotas",
    sql=f"""SELECT count() AS times, arraySlice(arraySort(groupUniqArray(resource)), 1, 20) AS resources,
    arraySlice(arraySort(groupUniqArray(concat('event ', event_id))), 1, 20) AS refs
FROM cluster_events FINAL
WHERE {this_week("event_time")} AND kind = 'quota' AND toFloat64OrNull(value) > toFloat64OrNull(previous_value)
HAVING times > 0""",
    rests_on=(THE_WEEK,),
    say=lambda row: (f"Quotas were raised {count(row['times'], 'time')}: {names(row['resources'])}.",),
    missing=lambda _: (f"Quotas raised: {NOTHING}.",),
)
VERSIONS = Template(
    name="security.limit_versions",
    sql=f"""SELECT arraySort(groupUniqArrayIf(rule_version, {this_week("detected_at")})) AS now,
    arraySort(groupUniqArrayIf(rule_version, {earlier("detected_at")})) AS old
FROM signals FINAL
WHERE {either("detected_at")}
HAVING length(now) > 0""",
    rests_on=(THE_WEEK,),
    say=lambda row: (f"Detectors and limits in force: {names(row['now'])}; before: {names(row['old']) or NOTHING}.",),
    missing=lambda _: (f"Versions of limits in force: {NOTHING}: no signal names one.",),
)
LOOSENED = Template(
    name="security.loosened",
    sql=f"""SELECT count() AS times, arraySlice(arraySort(groupUniqArray(version)), 1, 20) AS versions,
    arraySlice(arraySort(groupUniqArray(concat(name, if(match = '{{}}', '', concat(' of ', match)), ' from ', was, ' to ', now_is))), 1, 20) AS moves
FROM limits_loosened FINAL
WHERE {this_week("effective_from")}
HAVING times > 0""",
    rests_on=(THE_WEEK,),
    say=lambda row: (
        f"Limits were loosened {count(row['times'], 'time')}, by version {names([str(v) for v in row['versions']])}: "
        f"{names(row['moves'])}.",
    ),
    missing=lambda _: (f"Limits loosened: {NOTHING}.",),
)
HELD = Template(
    name="security.held",
    sql=f"""SELECT countIf(action != 'resume') AS times, arraySlice(arraySort(groupUniqArray(concat(tenant, '/', agent_id))), 1, 20) AS agents,
    arraySlice(arraySort(groupUniqArray(concat('control ', control_id))), 1, 20) AS refs
FROM controls FINAL
WHERE {this_week("at")} AND mode = 'enforce'
HAVING times > 0""",
    rests_on=(THE_WEEK,),
    say=lambda row: (f"The circuit breaker held agents {count(row['times'], 'time')}: {names(row['agents'])}.",),
    missing=lambda _: (f"Agents held by the circuit breaker: {NOTHING}.",),
)
NEW_TOOLS = f"""SELECT tenant, agent_id, tool_name AS thing FROM agent_usage FINAL
WHERE {either("pane")} AND tool_name != ''
GROUP BY tenant, agent_id, tool_name HAVING min(pane) >= {START} ORDER BY tenant, agent_id, tool_name LIMIT {MOST}"""
PLACE = "arrayStringConcat(arraySlice(splitByChar('/', target), 1, 2), '/')"
NEW_PLACES = f"""SELECT tenant, agent_id, {PLACE} AS thing FROM agent_usage FINAL
WHERE {either("pane")} AND target != ''
GROUP BY tenant, agent_id, thing HAVING min(pane) >= {START} ORDER BY tenant, agent_id, thing LIMIT {MOST}"""


def _new(name: str, what: str, where: str) -> Template:
    """A row about a tool, or a place, that an agent had not used before."""
    return Template(
        name=f"security.{name}",
        sql=f"""SELECT tenant, agent_id, {{thing:String}} AS thing, min(pane) AS since, sum(calls) AS calls,
    (SELECT countIf({earlier("pane")}) > 0 FROM agent_usage WHERE {AGENT}) AS was_known
FROM agent_usage FINAL
WHERE {AGENT} AND {where} AND {this_week("pane")}
GROUP BY tenant, agent_id""",
        rests_on=(THE_AGENT, THE_WEEK, f"{name.removeprefix('new_')} {{thing}}"),
        say=lambda row: (
            f"{row['tenant']}/{row['agent_id']}",
            f"{what} {row['thing']}",
            f"{row['since']:%Y-%m-%d %H:%M}",
            f"{row['calls']:,}",
            "known agent" if row["was_known"] else "new agent",
        ),
        missing=lambda of: (who(of), f"{what} {of['thing']}", NOTHING, "", ""),
    )


NEW_TOOL = _new("new_tool", "tool", "tool_name = {thing:String}")
NEW_PLACE = _new("new_place", "place", f"target != '' AND {PLACE} = {{thing:String}}")
LIMITS = f"""SELECT DISTINCT JSONExtractString(item, 'gap') AS gap FROM incidents FINAL
ARRAY JOIN JSONExtractArrayRaw(governance_gaps) AS item
WHERE {this_week("started_at")} AND status != 'withdrawn' ORDER BY gap LIMIT {MOST}"""
LIMIT = Template(
    name="security.limit",
    sql=f"""SELECT {{gap:String}} AS gap, count() AS times, uniqExact(incident_id) AS incidents,
    arraySlice(arraySort(groupUniqArray(concat(tenant, '/', JSONExtractString(item, 'component')))), 1, 20) AS components,
    arraySlice(arraySort(groupUniqArray(concat('incident ', incident_id))), 1, 20) AS refs
FROM incidents FINAL
ARRAY JOIN JSONExtractArrayRaw(governance_gaps) AS item
WHERE {this_week("started_at")} AND status != 'withdrawn' AND JSONExtractString(item, 'gap') = {{gap:String}}
HAVING times > 0""",
    rests_on=(THE_WEEK,),
    say=lambda row: (row["gap"], f"{row['times']:,}", f"{row['incidents']:,}", names(row["components"])),
    missing=lambda of: (str(of["gap"]), NOTHING, "", ""),
)
RULES = f"""SELECT tenant, rule, mode FROM notifications FINAL
WHERE transition = 'firing' AND {this_week("at")} GROUP BY tenant, rule, mode ORDER BY tenant, rule, mode"""


def _pages(row: Row) -> tuple[str, ...]:
    useful, marked = row["useful"], row["marked"]
    if marked < LEAST_MARKS:
        reading = f"{NOT_ENOUGH}: {count(marked, 'mark')}, {LEAST_MARKS} needed"
    else:
        reading = f"precision at least {100 * wilson_lower(useful, marked):.0f}% ({useful} of {marked} useful)"
    if is_below_floor(useful, marked) and row["mode"] == "page":
        reading += f"; below {100 * FLOOR:.0f}%: proposed for demotion to a ticket"
    return (f"{row['tenant']}/{row['rule']}", row["mode"], f"{row['told']:,}", f"{row['acted_on']:,}", reading)


PAGES = Template(
    name="security.pages",
    sql=f"""SELECT n.tenant AS tenant, n.rule AS rule, n.mode AS mode,
    countIf({this_week("n.told_at")}) AS told,
    countIf({this_week("n.told_at")} AND (a.incident_id != '' OR m.mark != '')) AS acted_on,
    countIf(m.mark = 'useful') AS useful, countIf(m.mark != '') AS marked
FROM
(
    SELECT tenant, rule, mode, incident_id, min(at) AS told_at
    FROM notifications FINAL
    WHERE tenant = {{tenant:String}} AND rule = {{rule:String}} AND mode = {{mode:String}} AND transition = 'firing' AND state = 'sent'
        AND {either("at")}
    GROUP BY tenant, rule, mode, incident_id
) AS n
LEFT JOIN (SELECT DISTINCT tenant, incident_id FROM acknowledgements) AS a ON a.tenant = n.tenant AND a.incident_id = n.incident_id
LEFT JOIN (SELECT tenant, incident_id, mark FROM incident_marks FINAL) AS m ON m.tenant = n.tenant AND m.incident_id = n.incident_id
GROUP BY tenant, rule, mode""",
    rests_on=("rule {rule}", THE_WEEK),
    say=_pages,
    missing=lambda of: (f"{of['tenant']}/{of['rule']}", str(of["mode"]), "0", "0", f"{NOTHING}: nothing was sent"),
)
SENTENCES = (PERMISSIONS, RIGHTS, APPROVALS, BLIND, FREEZE, HELD, QUOTAS, LOOSENED, VERSIONS)


def _plan_sentences(week: Week) -> Iterable[Ask]:
    return [Ask(template, week.ask()) for template in SENTENCES]


def _plan_new(week: Week) -> Iterable[Ask]:
    for template, finder in ((NEW_TOOL, NEW_TOOLS), (NEW_PLACE, NEW_PLACES)):
        for of in week.find(finder, "tenant", "agent_id", "thing"):
            yield Ask(template, week.ask(**of))


def _plan_limits(week: Week) -> Iterable[Ask]:
    return [Ask(LIMIT, week.ask(**of)) for of in week.find(LIMITS, "gap")]


def _plan_pages(week: Week) -> Iterable[Ask]:
    return [Ask(PAGES, week.ask(**of)) for of in week.find(RULES, "tenant", "rule", "mode")]


SECTIONS: tuple[Section[Week], ...] = (
    Section("Friday: security and governance", (), SENTENCES, _plan_sentences),
    Section(
        "Friday: new tools and places",
        ("Agent", "What", "Since", "Calls", "Of"),
        (NEW_TOOL, NEW_PLACE),
        _plan_new,
    ),
    Section("Friday: limits hit", ("Limit", "Times", "Incidents", "Components"), (LIMIT,), _plan_limits),
    Section("Friday: pages by rule", ("Rule", "Mode", "Incidents", "Acted on", "Reading"), (PAGES,), _plan_pages),
)
