"""Version regression: a new version of an agent needs more, or fails more, than the one before it.

Runs are taken in blocks of four (where nothing says that runs end, a hundred calls), and four figures of each block
are kept: calls a run, tokens a run, share of calls that failed, share of runs that looped (of blocks of runs only: of
calls nobody knows how many runs they are). When a block of a version ends, its blocks are compared with those of the
version that appeared before it, which may still run: by a t-test that does not assume equal spread, on a log scale,
shares as angles. A figure is worse when the difference is as good as impossible by chance, and large enough to matter.
It takes four blocks of the new version and five of the old; the chance of a false alarm over all looks at a version is
below one in a hundred. Each figure is told of once a version, with what to roll back to.

A version that calls other tools than the one before is another version, and not a worse one: of one that is worse, the
tool is named whose part of its tool calls has grown most, if that is no chance. That is where to look.

rows    usage of one tenant and pane, and the signals of loops in it (correlate)
memory  (tenant, agent) -> its last four versions, 40 blocks each; about 14 kB; leaves after 30 days of silence
"""

import math
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from statistics import fmean

from pipeline.core.evidence import usage_reference
from pipeline.core.limits import Limits
from pipeline.core.memory import Memory
from pipeline.core.significance import chance_of_more
from pipeline.core.used import Used
from schemas.signals import Signal, compact_json, stable_hash
from schemas.times import MINUTE

KEEP = 30 * 24 * 60 * MINUTE
RUNS, CALLS = 4, 100  # of a block
LEAST_NEW, LEAST_OLD, MOST = 4, 5, 40  # blocks
VERSIONS = 4
BY_CHANCE = 5e-5
LARGER = 1.25  # times as many calls or tokens a run
MORE = {"errors": 0.05, "loops": 0.1}  # of all calls, of all runs
# of the angle of a share of n things chance alone makes 1 / (2 sqrt(n))
LEAST_SPREAD = {"calls": 0.1, "tokens": 0.1, "errors": 0.05, "loops": 1 / (2 * math.sqrt(RUNS))}
TOOLS = ("execute_tool", "retrieval")
MOST_TOOLS, MOST_LOOPING = 40, 32  # that are remembered of a version
LARGER_PART = 0.15  # of the tool calls of a version
PART_BY_CHANCE = 4.0  # standard errors that a part must have grown by
Block = tuple[int, int, int, int, int]  # runs that ended, calls, errors, tokens, runs that looped
FIGURES = 5  # of a block
Who = tuple[str, str]  # agent, version


@dataclass(slots=True)
class Version:
    """One version of an agent: when it appeared, its blocks, the one at hand, and the figures that were told of.

    tools: calls of each since it appeared. looping: the last sessions that looped, so that each counts once.
    """

    appeared: int
    now: list[int] = field(default_factory=lambda: [0] * FIGURES)
    blocks: deque[Block] = field(default_factory=lambda: deque(maxlen=MOST))
    told: list[str] = field(default_factory=list)
    has_runs: bool = False
    tools: dict[str, int] = field(default_factory=dict)
    looping: deque[str] = field(default_factory=lambda: deque(maxlen=MOST_LOOPING))


@dataclass(slots=True)
class Versions:
    """The last versions of one agent, by name."""

    known: dict[str, Version] = field(default_factory=dict)


def fresh() -> Memory[tuple[str, str], Versions]:
    """An empty memory."""
    return Memory(Versions, KEEP)


def detect(
    used: Used,
    loops: Iterable[Signal],
    pane: int,
    pane_size: int,
    memory: Memory[tuple[str, str], Versions],
    limits: Limits,
) -> list[Signal]:
    """Add what each version did in one pane; compare those of which a block has ended; changes `memory`.

    loops: the signals of feedback loops in this pane; those that name a session and a version count.
    """
    sums: dict[Who, list[int]] = {}
    for spent in used.by_agent:
        if spent.agent_version is not None:
            known = sums.setdefault((spent.agent_id, spent.agent_version), [0] * (FIGURES - 1))
            own = (spent.runs, spent.calls, spent.errors, spent.tokens)
            sums[spent.agent_id, spent.agent_version] = [sum(pair) for pair in zip(known, own, strict=True)]
    if not sums:
        return []
    tenant = used.tenant
    tools, looping = _tools(used), _looping(loops)
    signals = []
    for (agent, name), amounts in sums.items():
        versions = memory.get((tenant, agent), pane)
        version = versions.known.setdefault(name, Version(pane))
        if len(versions.known) > VERSIONS:
            del versions.known[min(versions.known, key=lambda known: (versions.known[known].appeared, known))]
        for tool, calls in sorted(tools.get((agent, name), {}).items()):
            if tool in version.tools or len(version.tools) < MOST_TOOLS:
                version.tools[tool] = version.tools.get(tool, 0) + calls
        new = sorted(looping.get((agent, name), set()) - set(version.looping))
        version.looping.extend(new)
        if not _closes_block(version, (*amounts, len(new))):
            continue
        before = _before(versions, name)
        worse = _worse(versions.known[before], version) if before is not None else {}
        if before is not None and not worse.keys() <= set(version.told):
            version.told = sorted({*version.told, *worse})
            mix = _grown_part(versions.known[before].tools, version.tools)
            signals.append(_signal(tenant, agent, before, name, worse, mix, version, pane + pane_size, limits))
    return signals


def _tools(used: Used) -> dict[Who, dict[str, int]]:
    """Calls of each tool by each version."""
    found: dict[Who, dict[str, int]] = {}
    for row in used.rows:
        if row.agent_version is not None and row.tool_name is not None and row.operation in TOOLS:
            calls = found.setdefault((row.agent_id, row.agent_version), {})
            calls[row.tool_name] = calls.get(row.tool_name, 0) + row.calls
    return found


def _looping(loops: Iterable[Signal]) -> dict[Who, set[str]]:
    """Sessions that loop, by version."""
    found: dict[Who, set[str]] = {}
    for loop in loops:
        if loop.agent_id is not None and loop.agent_version is not None and loop.session_id is not None:
            found.setdefault((loop.agent_id, loop.agent_version), set()).add(loop.session_id)
    return found


def _grown_part(before: dict[str, int], now: dict[str, int]) -> tuple[str, float, float] | None:
    """The tool whose part of all tool calls has grown most, what it was and what it is; None where that is chance."""
    total_before, total = sum(before.values()), sum(now.values())
    if not total_before or not total:
        return None
    parts = {tool: (before.get(tool, 0) / total_before, calls / total) for tool, calls in now.items()}
    tool = max(parts, key=lambda name: (parts[name][1] - parts[name][0], name))
    was, is_now = parts[tool]
    of_both = (before.get(tool, 0) + now[tool]) / (total_before + total)
    by_chance = math.sqrt(of_both * (1 - of_both) * (1 / total_before + 1 / total))
    is_grown = is_now - was >= max(LARGER_PART, PART_BY_CHANCE * by_chance)
    return (tool, was, is_now) if is_grown else None


def _closes_block(version: Version, amounts: Sequence[int]) -> bool:
    version.now = [sum(pair) for pair in zip(version.now, amounts, strict=True)]
    runs, calls, errors, tokens, looped = version.now
    version.has_runs |= runs > 0
    if (runs < RUNS if version.has_runs else calls < CALLS) or not calls:
        return False
    version.blocks.append((runs, calls, errors, tokens, looped))
    version.now = [0] * FIGURES
    return True


def _before(versions: Versions, name: str) -> str | None:
    """The version that appeared last before this one."""
    appeared = versions.known.get(name, Version(0)).appeared
    older = [(known.appeared, other) for other, known in versions.known.items() if known.appeared < appeared]
    return max(older)[1] if older else None


def _figures(blocks: Sequence[Block]) -> dict[str, list[float]]:
    """Each figure of each block, on the scale on which it is compared."""
    with_runs = [block for block in blocks if block[0]]
    return {
        "calls": [math.log(calls / runs) for runs, calls, *_ in with_runs],
        "tokens": [math.log(tokens / runs) for runs, _, _, tokens, _ in with_runs if tokens > 0],
        "errors": [math.asin(math.sqrt(min(1.0, errors / calls))) for _, calls, errors, *_ in blocks],
        "loops": [math.asin(math.sqrt(min(1.0, looped / runs))) for runs, *_, looped in with_runs],
    }


def _worse(old: Version, new: Version) -> dict[str, tuple[float, float]]:
    """The figures that are worse: how much it was before, and is now."""
    worse = {}
    figures = _figures(new.blocks)
    for name, before in _figures(old.blocks).items():
        now = figures[name]
        if len(before) < LEAST_OLD or len(now) < LEAST_NEW:
            continue
        if name in MORE:
            was, is_now = (math.sin(fmean(values)) ** 2 for values in (before, now))
            is_large = is_now - was >= MORE[name]
        else:
            was, is_now = (math.exp(fmean(values)) for values in (before, now))
            is_large = is_now >= LARGER * was
        if is_large and chance_of_more(before, now, LEAST_SPREAD[name]) < BY_CHANCE:
            worse[name] = (was, is_now)
    return worse


def _signal(
    tenant: str,
    agent: str,
    before: str,
    name: str,
    worse: dict[str, tuple[float, float]],
    mix: tuple[str, float, float] | None,
    version: Version,
    end: int,
    limits: Limits,
) -> Signal:
    parts = []
    for figure, (was, is_now) in sorted(worse.items()):
        if figure == "errors":
            parts.append(f"{is_now:.0%} of its calls fail, before {was:.0%}")
        elif figure == "loops":
            parts.append(f"{is_now:.0%} of its runs loop, before {was:.0%}")
        else:
            parts.append(f"{is_now:,.0f} {figure} a run, before {was:,.0f}")
    if mix is not None:
        tool, was, is_now = mix
        parts.append(f"{is_now:.0%} of its tool calls are {tool}, before {was:.0%}")
    shows = f"version {name} is worse than {before}: {'; '.join(parts)}; roll back to {before}"
    signal_id = stable_hash(tenant, agent, name, "version_regression.worse", sorted(worse))
    return Signal(
        signal_id=signal_id,
        type="version_regression.worse",
        tenant=tenant,
        agent_id=agent,
        agent_version=name,
        window_start=version.appeared,
        window_end=end,
        detected_at=end,
        score=round(max(is_now / max(was, 0.01) for was, is_now in worse.values()), 2),
        summary=shows,
        evidence=compact_json(
            {
                "gap": f"roll-out: version {name} went on although it is worse",
                "before": before,
                "worse": {figure: [round(value, 4) for value in values] for figure, values in worse.items()},
                "tool_mix": {mix[0]: [round(value, 4) for value in mix[1:]]} if mix is not None else {},
                "blocks": len(version.blocks),
                "references": [usage_reference(signal_id, end, shows)],
            }
        ),
        rule_version=limits.rule_version,
    )
