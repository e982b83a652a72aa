"""One incident as text for a person at 3 a.m.: what broke, who or what did it and how sure, what to do first.

Plain text, no colour: the same in a terminal, a log and a test. Everything shown stands in the incident; what an agent
or a service wrote is stripped of control characters.
"""

import textwrap
import unicodedata
from collections.abc import Iterable
from datetime import timedelta

from alerts.page import hold_command
from reports.broken import failed, first_failed, still_off
from reports.incident_timeline import rows_of
from schemas.incidents import CLASS_TEXT, Attribution, Candidate, ContextGap, Incident
from schemas.resources import kind_of, name_of
from schemas.times import EPOCH, MICROS, format_span
from schemas.whatif import Healthy, Outcome, Stop, WhatIf

LABEL = 14  # width of the left column
NOBODY = ("infrastructure", "undetermined")  # verdicts that hold nobody responsible
MOST_LINES = 2  # of a row of the timeline
MOST_NAMES = 8  # of what broke
MOST_LIMITS = 2  # of those that would have stopped it; all of them: `aftermath whatif`


def plain(text: str) -> str:
    """The text without control, format and bidirectional characters, on one line."""
    return "".join(
        character if character == " " or unicodedata.category(character)[0] != "C" else " " for character in text
    )


def clock(micros: int) -> str:
    """`14:09:02` in UTC."""
    return (EPOCH + timedelta(microseconds=micros)).strftime("%H:%M:%S")


def day(micros: int) -> str:
    """`2026-03-02` in UTC."""
    return (EPOCH + timedelta(microseconds=micros)).strftime("%Y-%m-%d")


def render(incident: Incident, width: int = 100, what_if: WhatIf | None = None) -> str:
    """The whole incident, with what would have stopped it where that was replayed; no line longer than `width`.

    A single word may be.
    """
    kind = incident.kind.replace("_", " ").upper()
    state = incident.status + (" (provisional)" if incident.provisional else "")
    lines = [f"{kind} · {incident.severity} · {state} · {incident.incident_id}"]
    lines += [*textwrap.wrap(plain(incident.title), width, break_on_hyphens=False), ""]
    rows: list[tuple[str, list[str]]] = [
        ("When", [_when(incident)]),
        ("Severity", _severity(incident)),
        ("Before", _before(incident)),
        ("Whose", _whose(incident)),
        ("What broke", _broke(incident)),
        ("Cause", _cause(incident)),
        ("Not known", [_gap(gap) for gap in incident.context_gaps]),
        ("Limits", [f"{gap.gap} — {gap.failure_point}" for gap in incident.governance_gaps]),
        ("Would stop", would_stop(what_if) if what_if else []),
        ("Waste", _waste(incident)),
        ("Also likely", _others(incident)),
        ("Still off", _still_off(incident)),
        ("Do first", [*first_steps(incident), *_commands(incident)]),
    ]
    for label, texts in rows:
        lines += row(label, texts, width)
    lines += ["", f"Timeline of {day(incident.started_at)}, UTC (» marks what decided it)"]
    lines += _timeline(incident, width)
    return "\n".join(lines)


def in_time(found: WhatIf) -> list[tuple[Outcome, Stop]]:
    """The limits that would have stopped it in time: those first that stop the fewest healthy sessions, then early."""
    stops = [(outcome, outcome.stop) for outcome in found.outcomes if outcome.stop and outcome.is_in_time]
    return sorted(stops, key=lambda pair: (_part(pair[0].healthy), pair[1].at, pair[0].limit))


def would_stop(found: WhatIf) -> list[str]:
    """The first of them, and how many more; nothing where no session of an agent was replayed."""
    if not found.sessions:
        return []
    stops = in_time(found)
    if not stops:
        return ["no limit of the catalogue would have stopped it in time"]
    texts = []
    for outcome, stop in stops[:MOST_LIMITS]:
        calls = f"{stop.calls_avoided:,} call{'' if stop.calls_avoided == 1 else 's'}"
        healthy = outcome.healthy
        price = f"; {healthy.stopped:,} of {healthy.sessions:,} healthy sessions too" if healthy.sessions else ""
        texts.append(f"{outcome.limit}: at {clock(stop.at)}, {calls} and {stop.tokens_avoided:,} tokens less{price}")
    if len(stops) > MOST_LIMITS:
        texts.append(f"and {len(stops) - MOST_LIMITS} more: aftermath whatif {found.incident_id}")
    return texts


def _part(healthy: Healthy) -> float:
    return healthy.stopped / max(1, healthy.sessions)


def row(label: str, texts: Iterable[str], width: int, *, left: int = LABEL, hang: int = 2) -> list[str]:
    """A label in a column of `left`, and texts beside it; what a text goes on with hangs in by `hang`."""
    out = []
    for number, text in enumerate(texts):
        first = f"  {label if number == 0 else '':<{left}}"
        out += textwrap.wrap(
            plain(text),
            width,
            initial_indent=first,
            subsequent_indent=" " * (left + 2 + hang),
            break_long_words=False,
            break_on_hyphens=False,
        )
    return out


def _before(incident: Incident) -> list[str]:
    """That the same was seen before, and what this incident goes on from or went into."""
    found = []
    if incident.occurrences > 1 and incident.first_seen_at is not None:
        first = f"{day(incident.first_seen_at)} {clock(incident.first_seen_at)}"
        found.append(f"the same problem was seen {incident.occurrences} times since {first}")
    for said, other in (
        ("goes on from incident", incident.follows),
        ("goes on in incident", incident.followed_by),
        ("is a part of incident", incident.merged_into),
    ):
        if other is not None:
            found.append(f"{said} {other}")
    return found


def _whose(incident: Incident) -> list[str]:
    """The team it belongs to, and who has it in hand."""
    found = [f"team {incident.owner}"] if incident.owner else []
    if incident.acknowledged_by and incident.acknowledged_at:
        found.append(f"acknowledged by {incident.acknowledged_by} at {clock(incident.acknowledged_at)}")
    return ["; ".join(found)] if found else []


def _when(incident: Incident) -> str:
    end = incident.resolved_at
    lasted = f", lasted {format_span(end - incident.started_at)}" if end else ", still open"
    return (
        f"since {clock(incident.started_at)}, detected {clock(incident.detected_at)} "
        f"({format_span(incident.detected_at - incident.started_at)} later){lasted}"
    )


def _severity(incident: Incident) -> list[str]:
    """Why it is another one than what was said first."""
    step = incident.newest_step("severity")
    return [f"{step.shows}, at {clock(step.at)}"] if step else []


def _broke(incident: Incident) -> list[str]:
    if incident.blast_radius:
        number = len(incident.blast_radius)
        names = failed(incident.blast_radius)
        shown = ", ".join(names[:MOST_NAMES]) + (
            f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
        )
        return [f"{number} resource{'' if number == 1 else 's'} around {incident.scope}: {shown}"]
    if incident.exhaustion is not None:
        return [f"{incident.agent_id} made no progress on {incident.scope or 'its task'}"]
    return [incident.summary]


def _cause(incident: Incident) -> list[str]:
    return [*_verdict(incident), *incident.attribution.unseen]


def _verdict(incident: Incident) -> list[str]:
    attribution = incident.attribution
    sure = f"{attribution.verdict}, {attribution.probability:.0%} sure"
    if attribution.verdict == "undetermined" or (attribution.verdict != "infrastructure" and not attribution.ranked):
        if not attribution.ranked:
            return ["undetermined: no change was seen that could explain it"]
        unseen = max(0.0, 1 - sum(candidate.probability for candidate in attribution.ranked))
        return [
            f"undetermined: nothing explains it clearly better than the rest; {unseen:.0%} that it is none of what "
            "was seen"
        ]
    if attribution.verdict == "infrastructure":
        return [f"{sure}: no change of an agent or a person explains it"]
    first = attribution.ranked[0]
    lines = [f"{sure}: {first.shows}"]
    if incident.agent_id:
        version = f" {incident.agent_version}" if incident.agent_version else ""
        lines.append(
            f"by {incident.agent_id}{version}, session {', '.join(incident.session_ids)}{_lag(first, incident)}"
        )
    return lines


def verdict_of(attribution: Attribution) -> str:
    """`agent 92%`, for a line of a list. Undetermined has no number: there is nothing to be so sure of."""
    if attribution.verdict == "undetermined":
        return "undetermined"
    return f"{attribution.verdict} {attribution.probability:.0%}"


def _lag(candidate: Candidate, incident: Incident) -> str:
    lag = incident.started_at - candidate.event_time
    if lag <= 0:
        return ""
    return f", at {clock(candidate.event_time)}, {format_span(lag)} before the first symptom"


def _gap(gap: ContextGap) -> str:
    asked = f" (source: {gap.source})" if gap.source else ""
    when = f" at {clock(gap.read_at)}" if gap.read_at else ""
    return f"{gap.shows} — {CLASS_TEXT[gap.class_]}{when}{asked}"


def _waste(incident: Incident) -> list[str]:
    waste = incident.exhaustion
    if waste is None:
        return []
    return [
        f"{waste.calls_percent_of_expected:.0f}% of the calls needed: {waste.needed_calls} needed, "
        f"{waste.redundant_calls} redundant",
        f"{waste.unplanned_tokens:,} unplanned tokens in {format_span(round(waste.wall_time_seconds * MICROS))} "
        f"(input {waste.unplanned_input_tokens:,}, of it cached {waste.unplanned_cached_input_tokens:,}; "
        f"output {waste.unplanned_output_tokens:,})",
    ]


def _others(incident: Incident) -> list[str]:
    return [
        f"{candidate.probability:.0%} {candidate.shows} at {clock(candidate.event_time)}"
        for candidate in incident.attribution.ranked[incident.attribution.verdict not in NOBODY :][:3]
        if candidate.probability >= 0.02
    ]


def first_steps(incident: Incident) -> list[str]:
    """What to do first, a phrase a step."""
    steps = []
    verdict = incident.attribution.verdict
    first = incident.attribution.ranked[0] if incident.attribution.ranked else None
    is_open = incident.status == "open"
    if incident.agent_id and verdict in ("agent", "shared"):
        steps.append(f"stop {incident.agent_id}" if is_open else f"keep {incident.agent_id} from doing it again")
    if first is not None and first.kind not in ("agent_session",) and verdict in ("agent", "change", "shared"):
        steps.append(f"{'undo' if is_open else 'check that this was undone'}: {first.shows}{_did(first, incident)}")
    if verdict in NOBODY:
        nodes = [item.resource for item in incident.blast_radius if kind_of(item.resource) == "node"]
        began = first_failed(incident)
        if nodes:
            steps.append(f"look at node {name_of(nodes[0])}: what runs on it failed with it")
        elif began:
            steps.append(f"look at {began}")
    if verdict == "undetermined" and first is not None:
        steps.append(f"ask whether it was this, which is the likeliest that was seen: {first.shows}")
    return steps


def _did(cause: Candidate, incident: Incident) -> str:
    """What the cluster says that an agent's action did: from what to what it is to be undone."""
    if cause.span_id is None:
        return ""
    changes = [item for item in incident.evidence if item.type == "change" and item.resource == cause.resource]
    return f" (the cluster says: {changes[0].shows})" if changes else ""


def _still_off(incident: Incident) -> list[str]:
    """What burns now, and what does not any more; only while it is open."""
    if incident.status != "open" or not incident.blast_radius:
        return []
    return still_off(incident.blast_radius) or ["nothing that is measured; it is over when it stays quiet"]


def _commands(incident: Incident) -> list[str]:
    if incident.status != "open":
        return []
    hold = hold_command(incident)
    return [*([hold] if hold else []), f"aftermath incidents ack {incident.incident_id}"]


def _timeline(incident: Incident, width: int) -> list[str]:
    out = []
    for found in rows_of(incident):
        mark = "»" if found.is_decisive else " "
        until = f" (until {clock(found.until)})" if found.until else ""
        lines = textwrap.wrap(
            plain(found.shows + until),
            width,
            initial_indent=f" {mark}{clock(found.at)}  {found.kind:<8} ",
            subsequent_indent=" " * 21,
            break_on_hyphens=False,
        )
        if len(lines) > MOST_LINES:
            lines[MOST_LINES - 1] = lines[MOST_LINES - 1][: width - 2] + " …"
        out += lines[:MOST_LINES]
    return out
