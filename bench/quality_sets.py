"""The recorded sets with labels through the backtest, one by one and never pooled, beside the naive rules.

An alarm is an incident, with two exceptions: the moments at which a context is full and the points of single series
(NAB) are judged by signals, because there a set says when something is wrong, not what it led to. Sets have no limits.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import fmean, median, pstdev

from bench import labels, naive
from bench.converters import claude_code, k8s_events, llm_traffic, magentic_one, nab, petshop
from bench.converters.files import Event
from bench.quality_corpus import run
from schemas.incidents import Incident
from schemas.resources import name_of
from schemas.signals import Signal
from schemas.times import MICROS, MINUTE, format_time

SITE = "PetSite"  # the component at which faults of the shop are noticed
BEFORE = 5 * MINUTE  # when a command of the shop is taken to have run: its true start is not given
POINT_EVERY = 5 * MINUTE
HOUR = 60 * MINUTE
DAY = 24 * HOUR


@dataclass(frozen=True, slots=True)
class Measure:
    """One line of the table. None where there is nothing to say, or no such rule."""

    set: str
    what: str
    ours: float | None
    naive: float | None = None
    goal: str = ""
    note: str = ""


def magentic(folder: Path) -> list[Measure]:
    """Loops between agents: a log is flagged when an incident names it as a loop."""
    events = list(magentic_one.convert(folder))
    ledgers = {found.log: found.flagged for found in labels.magentic_one(folder)}
    began = {log: magentic_one.START + place * magentic_one.LOG_EVERY for place, log in enumerate(ledgers)}
    at: dict[str, int] = {}
    for incident in run(events).incidents:
        for log in incident.session_ids if incident.kind == "feedback_loop" else ():
            at[log] = min(at.get(log, incident.detected_at), incident.detected_at)
    steps = {log: (moment - began[log]) / magentic_one.STEP for log, moment in at.items()}
    rules: dict[str, Callable[[Sequence[naive.Call]], Iterable[int]]] = {
        "naive": naive.loops,
        "same call twice in a row": naive.twice_in_a_row,
        "same call twice anywhere": partial(naive.times_anywhere, times=2),
    }
    flagged = {name: _flagged(events, rule) for name, rule in rules.items()}
    found = []
    for least, goal in ((3, 0.87), (1, 0.90)):
        truth = {log for log, flags in ledgers.items() if len(flags) >= least}
        ours, plain = _scores(set(at), truth), _scores(flagged["naive"], truth)
        others = "; ".join(f"{name} {_scores(logs, truth)[2]:.2f}" for name, logs in flagged.items() if name != "naive")
        for place, name in enumerate(("precision", "recall", "F1")):
            is_f1 = name == "F1"
            line = (f"{name}, truth >= {least} flags", ours[place], plain[place])
            found.append(Measure("magentic_one", *line, f">= {goal}" if is_f1 else "", others if is_f1 else ""))
    right = [steps[log] - ledgers[log][0] for log in steps if ledgers[log]]
    early = "below zero is earlier than the ledger"
    return [*found, Measure("magentic_one", "steps to detect, median", median(right) if right else None, note=early)]


def _flagged(events: Iterable[naive.Event], rule: Callable[[Sequence[naive.Call]], Iterable[int]]) -> set[str]:
    return {
        session
        for (session, _), spans in naive.runs(events).items()
        if any(True for _ in rule([naive.call_of(span) for span in spans]))
    }


def _scores(said: set[str], truth: set[str]) -> tuple[float, float, float]:
    """Precision (0 where nothing was said), recall, F1."""
    right = len(said & truth)
    return right / len(said) if said else 0.0, right / len(truth), 2 * right / (len(said) + len(truth))


def coding(folder: Path) -> list[Measure]:
    """Nine productive runs of a coding agent; a full context is the only thing to be said of them."""
    events = list(claude_code.convert(folder))
    outcomes = run(events)
    said = [signal for signal in outcomes.signals if signal.type.startswith("context")]
    told = {(signal.session_id, signal.detected_at) for signal in said}
    is_context = partial(_is_of, told)
    alarmed = {s for incident in outcomes.incidents if not is_context(incident) for s in incident.session_ids}
    alarmed |= {"an agent" for i in outcomes.incidents if not i.session_ids and not is_context(i)}
    plain = _flagged(events, naive.loops)
    ahead, asked_for = [], 0
    compactions = labels.compactions(folder)
    for compaction in compactions:
        first = min((s.detected_at for s in said if _is_before(s, compaction)), default=None)
        if first is None:
            continue
        if compaction.is_automatic:
            ahead.append((compaction.moment - first) / MINUTE)
        else:
            asked_for += 1
    automatic = sum(compaction.is_automatic for compaction in compactions)
    roomy = labels.agents_with_room(folder)
    false = {(signal.session_id, signal.agent_id) for signal in said} & roomy
    note = f"{median(ahead):.1f} min ahead, median; {asked_for} of 1 that was asked for" if ahead else ""
    return [
        Measure("claude_code", "runs with an alarm, of 9", len(alarmed), len(plain), "0"),
        Measure("claude_code", f"full contexts foreseen, of {automatic}", len(ahead), note=note),
        Measure("claude_code", f"agents with room called full, of {len(roomy)}", len(false), goal="0"),
    ]


def _is_of(told: set[tuple[str | None, int]], incident: Incident) -> bool:
    is_exhaustion = incident.kind == "resource_exhaustion"
    return is_exhaustion and any((session, incident.detected_at) in told for session in incident.session_ids)


def _is_before(signal: Signal, compaction: labels.Compaction) -> bool:
    is_main = signal.session_id == compaction.session_id and signal.agent_id == "main"
    return is_main and signal.detected_at <= compaction.moment


def traffic(folder: Path) -> list[Measure]:
    """An hour each of three services; nothing is known to have gone wrong."""
    events = list(llm_traffic.convert(folder))
    alarms: dict[str | None, int] = defaultdict(int)
    for incident in run(events).incidents:
        alarms[incident.agent_id] += 1
    plain = naive.rate_alarms(events, 60)
    found = []
    for series, rates in sorted(plain.items()):
        moments = [event["event_time"] for event in events if event["agent_id"] == series]
        hours = (max(moments) - min(moments)) / HOUR
        alarms_of_rule = len(rates["calls"]) + len(rates["tokens"])
        line = (f"{series}: alarms an hour", alarms[series] / hours, alarms_of_rule / hours)
        found.append(Measure("llm_traffic", *line, "<= 1"))
    others = sum(number for agent, number in alarms.items() if agent not in plain)
    return [*found, Measure("llm_traffic", "alarms of no single series", others, goal="0")]


def cluster(folder: Path) -> list[Measure]:
    """Three pods that crash after a scale-up, two scale-downs that are meant."""
    pods = labels.crash_loops(folder)
    found, others = dict[str, float](), 0
    for incident in run(k8s_events.convert(folder)).incidents:
        named = {entry.resource for entry in incident.evidence if entry.resource in pods}
        named |= {reached.resource for reached in incident.blast_radius if reached.resource in pods}
        others += not named
        for pod in named - found.keys():
            moments = [e.event_time for e in incident.evidence if e.resource == pod] or [incident.detected_at]
            found[pod] = (max(min(moments), incident.detected_at) - pods[pod]) / MICROS
    note = f"last seen {format_time(max(pods.values()))}, {max(found.values()):.0f} s later at most" if found else ""
    return [
        Measure("k8s_events", f"crash loops found, of {len(pods)}", len(found), note=note),
        Measure("k8s_events", "other incidents", others, goal="0"),
    ]


def shop(folder: Path) -> list[Measure]:
    """Injected faults: are they noticed at the shop's front, and is the component first in rank the right one?

    Twice: as recorded, faults first, so that nothing is known of them before; and with the two quiet days played
    before, which is what the naive rule knows, too.
    """
    faults, quiet = labels.faults(folder), labels.quiet(folder)
    scored = [fault for fault in faults if fault.traffic in quiet]
    of_rule, false_points = _naive_of_shop(scored, quiet)
    spans = {
        name: (min(point[0] for point in points), max(point[0] for point in points)) for name, points in quiet.items()
    }
    earlier = {
        name: -(-(last - min(fault.first for fault in scored if fault.traffic == name) + 1) // DAY) * DAY
        for name, (_, last) in spans.items()
    }
    note = f"naive: {false_points} false points of latency and availability in 4 days"
    found = []
    for order, moves in (("", dict.fromkeys(spans, 0)), (", quiet days first", earlier)):
        incidents = run(_moved(petshop.convert(folder), spans, moves)).incidents
        noticed = sum(any(_notices(incident, fault) for incident in incidents) for fault in scored)
        false, days = 0, 0.0
        for name, (first, last) in spans.items():
            first, last = first - moves[name], last - moves[name]
            days += (last - first) / DAY
            here = [incident for incident in incidents if (incident.scope or "").split("/")[0] == name]
            false += sum(first <= incident.detected_at <= last + POINT_EVERY for incident in here)
        ranks = [_rank(incidents, fault) for fault in faults]
        right = sum(rank == 1 for rank in ranks)
        found += [
            Measure("petshop", f"faults noticed, of {len(scored)}{order}", noticed, of_rule),
            Measure("petshop", f"false incidents a quiet day{order}", false / days, note=note),
            Measure("petshop", f"root cause first, of {len(faults)}{order}", right),
        ]
    return found


def _moved(events: Iterable[Event], spans: Mapping[str, tuple[int, int]], moves: Mapping[str, int]) -> Iterable[Event]:
    """Commands ran before the time at which their effect is known; quiet days by as much earlier as `moves` says."""

    def moved(event: Event) -> Event:
        moment, traffic = event["event_time"], event["resource"].split("/")[0]
        if event["type"] == "metric_point" and traffic in spans and spans[traffic][0] <= moment <= spans[traffic][1]:
            moment -= moves[traffic]
        elif event["type"] == "cluster_event":
            # who calls whom is known from the start
            moment = moment - BEFORE if event["kind"] != "dependency" else moment - max(moves.values())
        return event | {"event_time": moment}

    return sorted(map(moved, events), key=lambda event: event["event_time"])


def _touches(incident: Incident, fault: labels.Fault) -> bool:
    """Whether the incident has a symptom of this traffic within the fault's own points."""
    return any(
        entry.type in ("symptom", "signal")
        and (entry.resource or "").startswith(f"{fault.traffic}/")
        and fault.first <= entry.event_time <= fault.last
        for entry in incident.evidence
    )


def _notices(incident: Incident, fault: labels.Fault) -> bool:
    return _touches(incident, fault) and any(
        entry.resource is not None and name_of(entry.resource) == SITE and fault.first <= entry.event_time <= fault.last
        for entry in incident.evidence
    )


def _rank(incidents: Iterable[Incident], fault: labels.Fault) -> int:
    """The place of the injected component among the causes of the incident at the fault's time; 0 where it has none.

    That is the one which began then, though an older one may end in that time, or go on.
    """
    touching = [incident for incident in incidents if _touches(incident, fault)]
    touching.sort(
        key=lambda incident: (not _begins_in(fault, incident), not _notices(incident, fault), incident.detected_at)
    )
    ranked = touching[0].attribution.ranked if touching else ()
    return next((place for place, cause in enumerate(ranked, 1) if cause.resource == fault.root_cause), 0)


def _begins_in(fault: labels.Fault, incident: Incident) -> bool:
    return fault.first <= incident.detected_at <= fault.last + POINT_EVERY


def _naive_of_shop(faults: Iterable[labels.Fault], quiet: Mapping[str, Sequence[petshop.Point]]) -> tuple[int, int]:
    """Faults that three standard deviations of the quiet file find at the front, and the quiet points beyond them."""
    usual, false = dict[tuple[str, str], tuple[float, float]](), 0
    signs = {"latency": 1, "availability": -1}
    for name, points in quiet.items():
        for metric, sign in signs.items():
            values = [sign * value for _, *what, value in points if what == [SITE, metric, "Average"]]
            usual[name, metric] = fmean(values), 3 * pstdev(values)
            false += sum(value - fmean(values) > 3 * pstdev(values) for value in values)
    found = 0
    for fault in faults:
        beyond = (
            signs[metric] * value - usual[fault.traffic, metric][0] > usual[fault.traffic, metric][1]
            for _, component, metric, statistic, value in fault.points
            if component == SITE and statistic == "Average" and metric in signs
        )
        found += any(beyond)
    return found, false


def series(folder: Path) -> list[Measure]:
    """33 metric series with windows; every alarm outside a window is false.

    They are of different years; each is moved by whole weeks to where the oldest is, so that they are read together.
    """
    events = list(nab.convert(folder))
    began: dict[str, int] = {}
    for event in events:
        began.setdefault(event["resource"], event["event_time"])
    oldest = min(began.values())
    earlier = {resource: (moment - oldest) // (7 * DAY) * (7 * DAY) for resource, moment in began.items()}
    moved = (event | {"event_time": event["event_time"] - earlier[event["resource"]]} for event in events)
    alarms: dict[str | None, list[int]] = defaultdict(list)
    for signal in run(sorted(moved, key=lambda event: event["event_time"])).signals:
        if signal.family == "symptom" and not signal.details.get("is_over"):
            alarms[signal.resource].append(signal.window_end + earlier[signal.resource or ""])
    found = []
    for name, is_of_tweets in (("nab", False), ("nab tweets", True)):
        chosen = [one for one in labels.nab(folder) if one.is_of_tweets == is_of_tweets]
        windows, points = sum(len(one.windows) for one in chosen), sum(len(one.values) for one in chosen)
        hit, false = _windows(chosen, {one.resource: alarms[one.resource] for one in chosen})
        of_rule = {one.resource: [one.times[place] for place in naive.points(one.values)] for one in chosen}
        plain_hit, plain_false = _windows(chosen, of_rule)
        share = (f"windows hit in %, of {windows}", 100 * hit / windows, 100 * plain_hit / windows)
        rate = ("false points per 1,000", 1000 * false / points, 1000 * plain_false / points)
        found += [Measure(name, *share, ">= 70"), Measure(name, *rate, "<= 1")]
    return found


def _windows(chosen: Iterable[labels.Series], alarms: Mapping[str, Iterable[int]]) -> tuple[int, int]:
    hit, false = 0, 0
    for one in chosen:
        places = [one.window_of(moment) for moment in alarms[one.resource]]
        hit += len({place for place in places if place is not None})
        false += places.count(None)
    return hit, false


SETS: Mapping[str, Callable[[Path], list[Measure]]] = {
    "magentic_one": magentic,
    "claude_code": coding,
    "llm_traffic": traffic,
    "k8s_events": cluster,
    "petshop": shop,
    "nab": series,
}
