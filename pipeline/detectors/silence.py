"""Silence: agents that were calling steadily stop at the same time, and none of them says that it has ended.

What a used-up quota or a dead gateway looks like from outside: no spike, no error, nothing. An agent was steady when
it called in at least eight of the fifteen minutes before its last call. It has fallen silent when five minutes pass,
its run has not ended (no `invoke_agent` span), and at least three agents, half of all steady ones, had their last call
within three minutes of each other. Others of the tenant must go on, else it is telemetry that is missing, and nothing
is judged: time is what the rows of the tenant say.

rows    usage of one tenant and pane (correlate), once a minute
memory  (tenant, agent) -> Pulse; 200 bytes; leaves after three hours of silence
"""

from dataclasses import dataclass

from pipeline.core.evidence import usage_reference
from pipeline.core.limits import Limits
from pipeline.core.memory import Memory
from pipeline.core.used import Used
from schemas.signals import Signal, compact_json, stable_hash
from schemas.times import MINUTE, format_span, format_time

KEEP = 3 * 60 * MINUTE
MINUTES = 15
STEADY = 8
QUIET = 5 * MINUTE
TOGETHER = 3 * MINUTE
LEAST_AGENTS = 3
Key = tuple[str, str]


@dataclass(slots=True)
class Pulse:
    """In which of the last minutes an agent called, newest lowest bit; when it called last, ended last, was told of."""

    minute: int = -1
    active: int = 0
    last: int = 0
    ended: int = 0
    told: int = 0
    judged: int = -1  # of the tenant's own entry: the minute that was judged last

    def call(self, pane: int) -> None:
        """It called in this pane."""
        minute = pane // MINUTE
        passed = min(minute - self.minute, MINUTES)
        self.active = (self.active << passed | 1) & ((1 << MINUTES) - 1)
        self.minute, self.last = minute, pane

    def is_steady(self, pane: int) -> bool:
        """Whether it had been calling steadily, up to a few minutes ago at most."""
        return self.active.bit_count() >= STEADY and pane - self.last <= QUIET + TOGETHER + MINUTE


def fresh() -> Memory[Key, Pulse]:
    """An empty memory."""
    return Memory(Pulse, KEEP)


def detect(used: Used, pane: int, pane_size: int, memory: Memory[Key, Pulse], limits: Limits) -> list[Signal]:
    """Learn who called and who ended in one pane; once a minute, judge who does not call any more; changes `memory`."""
    if not used:
        return []
    tenant = used.tenant
    for spent in used.by_agent:
        pulse = memory.get((tenant, spent.agent_id), pane)
        if spent.calls:
            pulse.call(pane)
        if spent.runs:
            pulse.ended = pane
    whole = memory.get((tenant, ""), pane)
    if whole.judged == pane // MINUTE:
        return []
    whole.judged = pane // MINUTE
    return _judge(tenant, pane, pane_size, memory, limits)


def _judge(tenant: str, pane: int, pane_size: int, memory: Memory[Key, Pulse], limits: Limits) -> list[Signal]:
    steady = [(pulse.last, agent, pulse) for (_, agent), pulse in memory.items() if agent and pulse.is_steady(pane)]
    silent = sorted(
        (last, agent)
        for last, agent, pulse in steady
        if pane - last >= QUIET and pulse.ended < last - MINUTE and pulse.told < last
    )
    if not silent:
        return []
    newest = silent[-1][0]
    together = sorted(agent for last, agent in silent if newest - last <= TOGETHER)
    if len(together) < LEAST_AGENTS or len(together) * 2 < len(steady):
        return []
    for agent in together:
        memory.get((tenant, agent), pane).told = pane
    end = pane + pane_size
    names = ", ".join(together[:3]) + (" ..." if len(together) > 3 else "")
    shows = (
        f"{len(together)} of {len(steady)} agents that were calling ({names}) fell silent together, "
        f"the last call was at {format_time(newest)}, {format_span(pane - newest)} ago; none has ended"
    )
    signal_id = stable_hash(tenant, "call_rate.silence", together, newest)
    return [
        Signal(
            signal_id=signal_id,
            type="call_rate.silence",
            tenant=tenant,
            window_start=newest,
            window_end=end,
            detected_at=end,
            score=float(len(together)),
            summary=shows,
            evidence=compact_json(
                {
                    "agents": together[:20],
                    "steady_agents": len(steady),
                    "references": [usage_reference(signal_id, end, shows)],
                }
            ),
            rule_version=limits.rule_version,
        )
    ]
