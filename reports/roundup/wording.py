"""How the roundup puts figures into words."""

from reports.postmortem.model import Parameters

NOT_ENOUGH = "too few to say"
NOTHING = "not observed"
THE_WEEK = "week {start}"
THE_AGENT = "agent {tenant}/{agent_id}"
COUNTED = "operation IN ('chat', 'execute_tool', 'retrieval', 'handoff')"  # an invoke_agent span sums its children


def who(of: Parameters) -> str:
    """An agent with its tenant."""
    return f"{of['tenant']}/{of['agent_id']}"


def change(now: float, before: float) -> str:
    """`+12%`; from nothing there is no percentage."""
    if before == 0:
        return "as before" if now == 0 else "new"
    return f"{100 * (now - before) / before:+,.0f}%"


def rate(part: int, whole: int, least: int) -> str:
    """`2.1% (31 of 1,480)`, where there are enough."""
    if whole < least:
        return f"{NOT_ENOUGH} ({part} of {whole:,})"
    return f"{100 * part / whole:.1f}% ({part:,} of {whole:,})"
