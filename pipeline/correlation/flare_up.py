"""A later flare-up of an incident: the same problem again, or another one? Pure.

Symptoms near to an open incident belong to it. When they begin anew after a pause, though, something else may have
happened in between: where a change of that time explains the new symptoms clearly, and is neither of what the incident
was put down to nor of the session that did it, they are another incident, which follows this one. An incident that
took it all in could name one cause only, the first.
"""

from collections.abc import Sequence

from pipeline.correlation import candidates
from pipeline.correlation.attribution import judge
from pipeline.correlation.case import spacing_of
from pipeline.correlation.factors import Effect
from pipeline.correlation.topology import Topology
from schemas.incidents import Incident
from schemas.signals import Action, Fact, Signal

BLAMED = ("agent", "change", "shared")


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
    responsible = judge(causes, node_failed_first=False).responsible
    if not responsible or before is None or before.attribution.verdict not in BLAMED:
        return bool(responsible)
    known = before.attribution.ranked[0]
    return not any(
        cause.resource == known.resource or (known.session_id and cause.by == f"session {known.session_id}")
        for cause in responsible
    )
