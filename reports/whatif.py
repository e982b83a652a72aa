"""What would have stopped it, as text for a person: first the limits that would have, each with its price."""

import textwrap

from reports.incident import clock, in_time, plain, row
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
    useful = [outcome for outcome, _ in in_time(found)]
    for outcome in [*useful, *(one for one in found.outcomes if one not in useful)]:
        lines += row(plain(outcome.limit), _texts(outcome, found), width, left=LABEL, hang=0)
    return "\n".join(lines)


def _texts(outcome: Outcome, found: WhatIf) -> list[str]:
    stop = outcome.stop
    if stop is None:
        return ["would not have stopped it"]
    verb = "would have stopped it" if outcome.is_in_time else "would not have stopped it, only what came after it,"
    where = f" at step {stop.step}" if stop.step else ""
    calls = f"{stop.calls_avoided:,} call{'' if stop.calls_avoided == 1 else 's'}"
    return [
        f"{verb} at {clock(stop.at)}{where}: {stop.shows} (span {stop.span_id})",
        f"avoids {calls} and {stop.tokens_avoided:,} tokens",
        *_price(outcome, found),
    ]


def _price(outcome: Outcome, found: WhatIf) -> list[str]:
    if not outcome.healthy.sessions:
        return []
    own = outcome.healthy_of_agent
    of_it = f", {_share(own)} of {found.agent_id}" if own.sessions else ""
    too = " too" if outcome.healthy.stopped else ""
    return [f"stops {_share(outcome.healthy)} healthy sessions{too}{of_it}"]


def _share(healthy: Healthy) -> str:
    return f"{f'{healthy.stopped:,}' if healthy.stopped else 'none'} of {healthy.sessions:,}"
