"""Version regression: a new version of an agent needs more, or fails more, than the one before it.

Runs are taken in blocks of four (where nothing says that runs end, a hundred calls), and three figures of each block
are kept: calls a run, tokens a run, share of calls that failed. When a block of a version ends, its blocks are compared
with those of the version that appeared before it, which may still run: by a t-test that does not assume equal spread,
on a log scale, errors as angles. A figure is worse when the difference is as good as impossible by chance, and large
enough to matter. It takes four blocks of the new version and five of the old; the chance of a false alarm over all
looks at a version is below one in a hundred. Each figure is told of once a version, with what to roll back to.

rows    usage of one tenant and pane (correlate)
memory  (tenant, agent) -> its last four versions, 40 blocks each; about 12 kB; leaves after 30 days of silence
"""

import math
from collections import deque
from collections.abc import Sequence
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
MORE_ERRORS = 0.05  # of all calls
LEAST_SPREAD = {"calls": 0.1, "tokens": 0.1, "errors": 0.05}
Block = tuple[int, int, int, int]  # runs that ended, calls, errors, tokens


@dataclass(slots=True)
class Version:
    """One version of an agent: when it appeared, its blocks, the one at hand, and the figures that were told of."""

    appeared: int
    now: list[int] = field(default_factory=lambda: [0, 0, 0, 0])
    blocks: deque[Block] = field(default_factory=lambda: deque(maxlen=MOST))
    told: list[str] = field(default_factory=list)
    has_runs: bool = False


@dataclass(slots=True)
class Versions:
    """The last versions of one agent, by name."""

    known: dict[str, Version] = field(default_factory=dict)


def fresh() -> Memory[tuple[str, str], Versions]:
    """An empty memory."""
    return Memory(Versions, KEEP)


def detect(
    used: Used, pane: int, pane_size: int, memory: Memory[tuple[str, str], Versions], limits: Limits
) -> list[Signal]:
    """Add what each version did in one pane; compare those of which a block has ended; changes `memory`."""
    sums: dict[tuple[str, str], list[int]] = {}
    for spent in used.by_agent:
        if spent.agent_version is not None:
            known = sums.setdefault((spent.agent_id, spent.agent_version), [0, 0, 0, 0])
            own = (spent.runs, spent.calls, spent.errors, spent.tokens)
            sums[spent.agent_id, spent.agent_version] = [sum(pair) for pair in zip(known, own, strict=True)]
    tenant = used.tenant
    signals = []
    for (agent, name), amounts in sums.items():
        versions = memory.get((tenant, agent), pane)
        version = versions.known.setdefault(name, Version(pane))
        if len(versions.known) > VERSIONS:
            del versions.known[min(versions.known, key=lambda known: (versions.known[known].appeared, known))]
        if not _closes_block(version, amounts):
            continue
        before = _before(versions, name)
        worse = _worse(versions.known[before], version) if before is not None else {}
        if before is not None and not worse.keys() <= set(version.told):
            version.told = sorted({*version.told, *worse})
            signals.append(_signal(tenant, agent, before, name, worse, version, pane + pane_size, limits))
    return signals


def _closes_block(version: Version, amounts: Sequence[int]) -> bool:
    version.now = [sum(pair) for pair in zip(version.now, amounts, strict=True)]
    runs, calls, errors, tokens = version.now
    version.has_runs |= runs > 0
    if (runs < RUNS if version.has_runs else calls < CALLS) or not calls:
        return False
    version.blocks.append((runs, calls, errors, tokens))
    version.now = [0, 0, 0, 0]
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
        "calls": [math.log(calls / runs) for runs, calls, _, _ in with_runs],
        "tokens": [math.log(tokens / runs) for runs, _, _, tokens in with_runs if tokens > 0],
        "errors": [math.asin(math.sqrt(min(1.0, errors / calls))) for _, calls, errors, _ in blocks],
    }


def _worse(old: Version, new: Version) -> dict[str, tuple[float, float]]:
    """The figures that are worse: how much it was before, and is now."""
    worse = {}
    figures = _figures(new.blocks)
    for name, before in _figures(old.blocks).items():
        now = figures[name]
        if len(before) < LEAST_OLD or len(now) < LEAST_NEW:
            continue
        if name == "errors":
            was, is_now = (math.sin(fmean(values)) ** 2 for values in (before, now))
            is_large = is_now - was >= MORE_ERRORS
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
    version: Version,
    end: int,
    limits: Limits,
) -> Signal:
    parts = []
    for figure, (was, is_now) in sorted(worse.items()):
        if figure == "errors":
            parts.append(f"{is_now:.0%} of its calls fail, before {was:.0%}")
        else:
            parts.append(f"{is_now:,.0f} {figure} a run, before {was:,.0f}")
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
                "blocks": len(version.blocks),
                "references": [usage_reference(signal_id, end, shows)],
            }
        ),
        rule_version=limits.rule_version,
    )
