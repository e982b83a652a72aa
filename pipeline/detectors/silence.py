"""Silence: agents that were calling steadily stop at the same time, and none of them says that it has ended.

What a used-up quota or a dead gateway looks like from outside: no spike, no error, nothing. An agent was steady when it
called in at least eight of the sixty minutes before its last call. It has fallen silent when five minutes pass, or two
more than it ever paused in that hour, and no run of its has ended well (an `invoke_agent` span without an error). At
least three agents, two thirds of all that were steady in the last half hour, must have had their last calls one after
the other, within two minutes or what the earlier one may pause: each meets a used-up quota at its next call. Others of
the tenant must go on, agents or what sends its metrics and facts, else it is telemetry that is missing, and nothing is
judged: time is what the rows of the tenant say.

rows    usage of one tenant and pane (correlate), or a pane without usage in which something else of it spoke; once a
        minute
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
MINUTES = 60
STEADY = 8
QUIET, MORE_THAN_EVER = 5 * MINUTE, 2 * MINUTE
LONGEST_PAUSE = 15 * MINUTE  # who pauses longer than that is not steady
NEXT_TO = 2 * MINUTE
LATELY = 30 * MINUTE
LEAST_AGENTS, SHARE = 3, 2 / 3
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

    @property
    def pause(self) -> int:
        """The longest between two calls."""
        return max(map(len, f"{self.active:b}".rstrip("0").split("1"))) * MINUTE

    def is_steady(self, pane: int) -> bool:
        """Whether it was calling steadily when it called last, which is not long ago."""
        is_recent = pane - self.last <= LATELY
        return is_recent and self.active.bit_count() >= STEADY and self.pause <= LONGEST_PAUSE

    def is_silent(self, pane: int) -> bool:
        """Whether it has not called for longer than is usual for it, and did not say that its work is done."""
        has_ended = self.ended >= self.last - MINUTE
        return not has_ended and pane - self.last >= max(QUIET, self.pause + MORE_THAN_EVER)


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
        if spent.runs > spent.failed_runs:
            pulse.ended = pane
    return judge(tenant, pane, pane_size, memory, limits)


def judge(tenant: str, pane: int, pane_size: int, memory: Memory[Key, Pulse], limits: Limits) -> list[Signal]:
    """Once a minute: who does not call any more? For panes in which only others of the tenant speak, too."""
    if not len(memory):
        return []
    whole = memory.get((tenant, ""), pane)
    if whole.judged == pane // MINUTE:
        return []
    whole.judged = pane // MINUTE
    return _judge(tenant, pane, pane_size, memory, limits)


def _one_after_the_other(silent: list[tuple[int, str, int]]) -> tuple[list[str], int]:
    """The most agents whose last calls follow each other closely, and the last of these calls."""
    groups: list[list[tuple[int, str, int]]] = []
    for found in silent:
        if not groups or found[0] - groups[-1][-1][0] > max(NEXT_TO, groups[-1][-1][2]):
            groups.append([])
        groups[-1].append(found)
    most = max(groups, key=len, default=[])
    return sorted(agent for _, agent, _ in most), most[-1][0] if most else 0


def _judge(tenant: str, pane: int, pane_size: int, memory: Memory[Key, Pulse], limits: Limits) -> list[Signal]:
    steady = [(pulse.last, agent, pulse) for (_, agent), pulse in memory.items() if agent and pulse.is_steady(pane)]
    silent = sorted((last, agent, pulse.pause) for last, agent, pulse in steady if pulse.is_silent(pane))
    together, newest = _one_after_the_other(silent)
    are_enough = len(together) >= max(LEAST_AGENTS, SHARE * len(steady))
    if not are_enough or all(pulse.told >= last for last, agent, pulse in steady if agent in together):
        return []
    for agent in together:
        memory.get((tenant, agent), pane).told = pane
    end = pane + pane_size
    names = ", ".join(together[:3]) + (" ..." if len(together) > 3 else "")
    who = f"all {len(steady)}" if len(together) == len(steady) else f"{len(together)} of {len(steady)}"
    shows = (
        f"{who} agents that were calling ({names}) fell silent together, "
        f"the last call was at {format_time(newest)}, {format_span(pane - newest)} ago; none has ended well"
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
