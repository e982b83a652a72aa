"""A later flare-up of an incident: the same problem again, or another one? Pure.

Symptoms near to an open incident belong to it. When they begin anew after a pause, though, something else may have
happened in between: where a change of that time is as likely as not to explain the new symptoms, and is neither of
what the incident was put down to nor of the session that did it, they are another incident, which follows this one.
That is less than a verdict needs: incidents told apart for nothing are still linked, and of one that took it all in
only one cause could be named, the first.
"""

from collections.abc import Sequence

from pipeline.correlation import candidates
from pipeline.correlation.attribution import AHEAD, NOTHING_SEEN
from pipeline.correlation.candidates import Cause
from pipeline.correlation.case import spacing_of
from pipeline.correlation.factors import Effect
from pipeline.correlation.topology import Topology
from schemas.incidents import Incident
from schemas.signals import Action, Fact, Signal

BLAMED = ("agent", "change", "shared")
LIKELY = 0.85  # times as likely as nothing we saw


def has_own_cause(
    symptoms: Sequence[Signal],
    since: int,
    before: Incident | None,
    actions: Sequence[Action],
    changes: Sequence[Fact],
    topology: Topology,
) -> bool:
    """Whether what was done after `since` explains these symptoms, and is not what `before` was put down to."""
    first = min(symptoms, key=lambda signal: (signal.window_start, signal.signal_id))
    failed: dict[str, int] = {}
    for signal in symptoms:
        family = topology.family(signal.resource or "")
        failed[family] = min(signal.window_start, failed.get(family, signal.window_start))
    causes = candidates.find(
        Effect(first.window_start, failed, is_slow=False, blur=spacing_of(first)),
        [action for action in actions if action.start_time > since],
        [change for change in changes if candidates.took_effect(change) > since],
        topology,
    )
    cause = _likely(causes)
    if cause is None or before is None or before.attribution.verdict not in BLAMED:
        return cause is not None
    known = before.attribution.ranked[0]
    return cause.resource != known.resource and not (known.session_id and cause.by == f"session {known.session_id}")


def _likely(causes: Sequence[Cause]) -> Cause | None:
    """The strongest one, if it is about as likely as nothing we saw and clearly ahead of changes of other things."""
    if not causes or causes[0].weight < LIKELY * NOTHING_SEEN or causes[0].verdict == "undetermined":
        return None
    first = causes[0]
    rival = next((cause for cause in causes if cause.by != first.by and cause.resource != first.resource), None)
    return first if rival is None or first.weight >= AHEAD * rival.weight else None
