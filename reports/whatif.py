"""What would have stopped it, as text for a person: a limit and its price, or plainly that it would not have."""

import textwrap

from reports.incident import clock, plain, row
from schemas.whatif import Healthy, Outcome, WhatIf

LABEL = 30  # width of the left column


def render(found: WhatIf, width: int = 100) -> str:
    """The table; lines no longer than `width` where words allow it."""
    lines = [
        f"WHAT IF · {found.kind.replace('_', ' ')} · {found.incident_id}",
        *textwrap.wrap(plain(found.title), width),
    ]
    if not found.of:
        return "\n".join([*lines, "", "  No agent is held responsible: no limit on an agent would have stopped it."])
    if found.sessions < found.of:
        lines.append(f"  Of {found.of} sessions {found.sessions} are still stored.")
    seen = found.outcomes[0].healthy
    own = found.outcomes[0].healthy_of_agent.sessions
    lines += [
        f"  Replayed beside it: {seen.sessions:,} healthy sessions of {found.days} days, "
        f"{f'{own:,}' if own else 'none'} of them of {found.agent_id}.",
        "",
    ]
    for outcome in found.outcomes:
        texts = [*_stop(outcome), *_price(outcome, found)]
        lines += row(plain(outcome.limit), texts, width, left=LABEL, hang=0)
    return "\n".join(lines)


def _stop(outcome: Outcome) -> list[str]:
    stop = outcome.stop
    if stop is None:
        return ["would not have stopped it"]
    verb = "would have stopped it" if outcome.is_in_time else "would not have stopped it, only what came after it,"
    where = f" at step {stop.step}" if stop.step else ""
    calls = f"{stop.calls_avoided:,} call{'' if stop.calls_avoided == 1 else 's'}"
    return [
        f"{verb} at {clock(stop.at)}{where}: {stop.shows} (span {stop.span_id})",
        f"avoids {calls} and {stop.tokens_avoided:,} tokens",
    ]


def _price(outcome: Outcome, found: WhatIf) -> list[str]:
    if not outcome.healthy.sessions:
        return []
    own = outcome.healthy_of_agent
    of_it = f", {_share(own)} of {found.agent_id}" if own.sessions else ""
    return [f"stops {_share(outcome.healthy)} healthy sessions too{of_it}"]


def _share(healthy: Healthy) -> str:
    return f"{healthy.stopped:,} of {healthy.sessions:,}"
