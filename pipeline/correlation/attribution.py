"""The verdict: agent, infrastructure, change, shared or undetermined, with its probability.

Each candidate's weight competes with the others and with "nothing we saw". What one session or one change did counts
once, by its strongest part: ten harmless writes do not add up to one culprit. Two changes of the same thing of
which neither is ruled out give shared: it took both, or nobody can tell which. Two of different things compete, and
where neither is clearly ahead the verdict is undetermined, never a guess. While a source that tells of changes is
silent, another culprit may be in what did not come: that takes from all candidates, and from "nothing we saw" too.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.correlation.candidates import Cause
from schemas.incidents import Attribution, Candidate, Verdict

NOTHING_SEEN = 1.0  # weight of a failure that had no cause we saw
HARDWARE = 12.0  # the same where a node failed first: pods that die with it need no other cause
UNSEEN = 0.6  # what a wholly silent source adds to nothing we saw: enough that its silence alone clears nobody
CLEAR = 0.65  # a verdict needs this probability
AHEAD = 2.0  # and must be this many times as likely as the next
SHARED = 0.75  # two together must have this
EQUAL = 0.15  # and the second, a change of the same thing, at least this part of the weight of the first
MOST_RANKED = 10
CERTAIN = 0.98  # what we did not see may always be the cause


@dataclass(frozen=True, slots=True)
class Judged:
    """The attribution, and the candidates held responsible (empty unless agent, change or shared)."""

    attribution: Attribution
    responsible: tuple[Cause, ...]


def judge(
    causes: Sequence[Cause], *, node_failed_first: bool, unseen: float = 0.0, silences: tuple[str, ...] = ()
) -> Judged:
    """Weigh the candidates against each other, against infrastructure, and against what a silent source may hold.

    unseen: how many of the sources that tell of changes are silent; a part of one is a fraction.
    silences: which, in words.
    """
    nothing = HARDWARE if node_failed_first else NOTHING_SEEN
    strongest: dict[str, float] = {}
    shares: dict[str, float] = {}
    for cause in causes:
        strongest[cause.by] = max(strongest.get(cause.by, 0.0), cause.weight)
        shares[cause.by] = shares.get(cause.by, 0.0) + cause.weight
    total = nothing + UNSEEN * unseen + sum(strongest.values())
    chance = {id(cause): (strongest[cause.by] / total) * (cause.weight / shares[cause.by]) for cause in causes}
    by_group = sorted(((weight / total, by) for by, weight in strongest.items()), key=lambda pair: (-pair[0], pair[1]))
    ranked = sorted(causes, key=lambda cause: (-chance[id(cause)], cause.event_time, cause.shows))[:MOST_RANKED]
    verdict, probability, groups = _verdict(by_group, nothing / total, ranked)
    responsible = tuple(cause for cause in ranked if cause.by in groups)
    return Judged(
        Attribution(
            verdict=verdict,
            probability=round(min(CERTAIN, probability), 3),
            ranked=tuple(_candidate(cause, min(CERTAIN, chance[id(cause)])) for cause in ranked),
            unseen=silences,
        ),
        responsible,
    )


def _verdict(
    groups: list[tuple[float, str]], nothing: float, ranked: Sequence[Cause]
) -> tuple[Verdict, float, frozenset[str]]:
    strongest = {cause.by: cause for cause in reversed(ranked)}
    first = groups[0] if groups else (0.0, "")
    second = groups[1] if len(groups) > 1 else (0.0, "")
    if nothing >= CLEAR and nothing >= AHEAD * first[0]:
        return "infrastructure", nothing, frozenset()
    is_close = second[0] >= max(nothing, EQUAL * first[0]) and first[0] + second[0] >= SHARED
    if is_close and strongest[first[1]].resource == strongest[second[1]].resource:
        return "shared", first[0] + second[0], frozenset({first[1], second[1]})
    if first[0] >= CLEAR and first[0] >= AHEAD * max(second[0], nothing):
        verdict = strongest[first[1]].verdict
        if verdict != "undetermined":
            # the verdict is as likely as all that would mean the same, though only the first is held responsible
            means = sum(share for share, by in groups if by in strongest and strongest[by].verdict == verdict)
            return verdict, means, frozenset({first[1]})
    return "undetermined", 1 - max(first[0], nothing), frozenset()


def _candidate(cause: Cause, probability: float) -> Candidate:
    action, fact = cause.action, cause.fact
    return Candidate(
        kind=cause.kind,
        resource=cause.resource,
        event_id=fact.fact_id if fact else None,
        span_id=action.span_id if action else None,
        session_id=action.session_id if action else fact.session_id if fact else None,
        agent_id=action.agent_id if action else None,
        event_time=cause.event_time,
        probability=round(probability, 3),
        factors={name: round(value, 3) for name, value in cause.factors.items()} | {"weight": cause.weight},
        shows=cause.shows,
    )
