"""The life of an incident: two states, and the transitions between them. Pure; each one stands on the timeline.

                 resolve                       by itself, when it has been quiet long enough or its loop has ended
    open  ------------------>  resolved
          <------------------                  reopen: the same fails again soon after
                 merge                         open -> resolved for good: it turns out to be a part of an older one
                 continue                      open -> resolved for good: too old, or what fails now has a cause of its
                                               own (flare_up.py); what goes on is a new one, linked

Updates are revisions of an open incident; one that changes its severity says why. An acknowledgement changes no state:
people say it on `oncall.v1` (schemas.oncall.Acknowledgement, one an incident, the newest wins), and readers put it
beside the incident; what correlate finds is a function of the log of events alone.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from pipeline.correlation.case import REOPENS_WITHIN, Case, unknown_since
from schemas.incidents import Severity, Transition
from schemas.times import MINUTE, format_span

OLDEST = 24 * 60 * MINUTE  # since it was opened; what still goes on then is another incident, which follows this one
MOST_TRANSITIONS = 40  # of one incident; of more the first is kept, and the newest
KEEP_PROBLEMS = 30 * 24 * 60 * MINUTE
MOST_PROBLEMS = 10_000  # per tenant


@dataclass(frozen=True, slots=True)
class Problem:
    """What is known of one fingerprint: how often it was seen, when first and when last."""

    count: int
    first_seen_at: int
    last_seen_at: int


def open_case(case: Case, problems: Mapping[str, Problem], follows: Case | None) -> Problem:
    """It begins; returns what is now known of its problem. One that follows another is no new occurrence."""
    at = case.opened_by.detected_at
    before = problems.get(case.fingerprint)
    first = min(case.started_at, before.first_seen_at) if before else case.started_at
    count = (before.count if before else 0) + (follows is None or before is None)
    case.occurrences, case.first_seen_at = count, first
    if follows is not None:
        case.follows = follows.incident_id
        _add(case, Transition(at=at, type="opened", shows="goes on from an older one", incident_id=follows.incident_id))
    else:
        seen = f"seen {count} times since the first" if count > 1 else "seen for the first time"
        _add(case, Transition(at=at, type="opened", shows=seen))
    return Problem(count, first, at)


def resolve(case: Case, at: int) -> None:
    """It is over. Raises ValueError where it is not open."""
    _must(case, "open")
    case.status, case.resolved_at = "resolved", at
    why = "its loop has ended" if case.is_over else f"quiet for {format_span(max(0, at - case.last_activity))}"
    unknown = unknown_since(case)
    _add(case, Transition(at=at, type="resolved", shows=f"{why}; no all-clear: {unknown}" if unknown else why))


def may_reopen(case: Case, now: int) -> bool:
    """Whether the same again would be this one: resolved a short while ago, and not for good."""
    is_soon = case.resolved_at is not None and case.resolved_at >= now - REOPENS_WITHIN
    return case.status == "resolved" and is_soon and case.merged_into is None and case.followed_by is None


def reopen(case: Case, at: int) -> None:
    """The same again."""
    _must(case, "resolved")
    ago = format_span(max(0, at - (case.resolved_at or at)))
    case.status, case.resolved_at, case.is_over = "open", None, False
    _add(case, Transition(at=at, type="reopened", shows=f"the same again, {ago} after it was resolved"))


def rate(case: Case, before: Severity, now: Severity, why: str, at: int) -> None:
    """Louder or quieter than what was said of it before."""
    _add(case, Transition(at=at, type="severity", shows=f"{before} to {now}: {why}"))


def merge(case: Case, into: Case, at: int) -> None:
    """`case` turns out to be a part of `into`, which takes all that was known of it."""
    _must(case, "open")
    _must(into, "open")
    case.status, case.resolved_at, case.merged_into = "resolved", at, into.incident_id
    _add(case, Transition(at=at, type="merged", shows="is a part of another", incident_id=into.incident_id))
    _add(into, Transition(at=at, type="merged", shows="took in another", incident_id=case.incident_id))
    into.absorb(case)


def is_too_old(case: Case, now: int) -> bool:
    """Whether what goes on is to be another incident."""
    return case.status == "open" and now - case.opened_by.detected_at >= OLDEST


def end_by(case: Case, successor: Case, at: int) -> None:
    """Too old, or something else by now: `successor` goes on."""
    _must(case, "open")
    case.status, case.resolved_at, case.followed_by = "resolved", at, successor.incident_id
    _add(case, Transition(at=at, type="continued", shows="goes on in another", incident_id=successor.incident_id))


def known_still(problems: Mapping[str, Problem], now: int) -> dict[str, Problem]:
    """Those that were seen within the last month, at most MOST_PROBLEMS, the newest."""
    kept = {name: problem for name, problem in problems.items() if problem.last_seen_at >= now - KEEP_PROBLEMS}
    for name in sorted(kept, key=lambda name: (kept[name].last_seen_at, name))[: max(0, len(kept) - MOST_PROBLEMS)]:
        del kept[name]
    return kept


def _must(case: Case, status: str) -> None:
    if case.status != status:
        raise ValueError(f"incident {case.incident_id} is {case.status}, and must be {status} for this")


def _add(case: Case, transition: Transition) -> None:
    case.transitions = (*case.transitions[:1], *case.transitions[1:][-(MOST_TRANSITIONS - 2) :], transition)
