"""What asking costs a service: the guard of aftermath_client before and after a tool call, on this process's copies.

Each call is timed by itself, nothing else runs. `asked` is what stands between the agent and its call; `whole` is the
same with what is remembered and queued for publishing after it. Then the preflight of a change, with as many facts as a
tenant may have posted. No broker: none is asked on this path.
"""

import argparse
import time
from collections.abc import Callable
from typing import Any

from aftermath_client import Guard
from aftermath_client.copies import CONTROLS, FACTS, LIMITS

from schemas.codecs.single import encode

CALLS = 50_000
CONTROLS_KNOWN, LIMITS_KNOWN = 20, 20
SCOPES, FACTS_EACH = 100, 100


def a_guard() -> Guard:
    """One that knows something: controls of other tools, limits, ten thousand facts."""
    guard = Guard(None, tenant="acme", agent_id="agent-1", agent_version="1", strict=True)
    now = guard.now()
    for number in range(CONTROLS_KNOWN):
        tool = f"tool-{number}"
        control = {
            "control_id": tool, "tenant": "acme", "agent_id": "agent-1", "tool_name": tool, "action": "halt",
            "author": "user:mo", "reason": "bench", "at": now,
        }  # fmt: skip
        guard.copy.put(CONTROLS, f"acme/agent-1/*/{tool}/*", encode("control", control))
    entries = ", ".join(
        f'{{"match": {{"tool_name": "tool-{number}.*"}}, "max_steps": 60, "max_repeats": 5}}'
        for number in range(LIMITS_KNOWN)
    )
    document = f'{{"limits": [{{"max_steps": 1000000}}, {entries}]}}'
    guard.copy.put(LIMITS, "*/1", encode("limits_version", {"version": 1, "document": document}))
    for scope in range(SCOPES):
        for number in range(FACTS_EACH):
            resource = f"prod/ns-{scope}/deployment/d-{number}"
            fact = {
                "tenant": "acme", "fact_id": f"f-{scope}-{number}", "resource": resource, "event_time": now,
                "kind": "dependency" if number < 10 else "scale", "published_time": now, "valid_from": now - 10**10,
                "value": f"prod/ns-{(scope + 1) % SCOPES}/deployment/d-1" if number < 10 else "6",
            }  # fmt: skip
            guard.copy.put(FACTS, f"acme/prod/ns-{scope}/f-{scope}-{number}", encode("fact", fact))
    return guard


def timed(way: Callable[[int], tuple[int, int]], calls: int) -> tuple[list[float], list[float]]:
    """Microseconds of the part before the call, and of the whole, sorted."""
    found = [way(number) for number in range(calls)]
    return sorted(asked / 1000 for asked, _ in found), sorted(whole / 1000 for _, whole in found)


def ways(guard: Guard) -> dict[str, Callable[[int], tuple[int, int]]]:
    """What is timed."""
    clock = time.perf_counter_ns

    def call(tool: str, target: str, access: str, **more: Any) -> tuple[int, int]:
        began = clock()
        step = guard.step(tool, target, access, **more)
        step.__enter__()
        asked = clock() - began
        step.__exit__(None, None, None)
        whole = clock() - began
        guard.spans.take()
        return asked, whole

    def preflight(number: int) -> tuple[int, int]:
        began = clock()
        guard.preflight(f"prod/ns-{number % SCOPES}/deployment/d-1")
        took = clock() - began
        guard.spans.take()
        return took, took

    return {
        "a read": lambda _: call("search", "prod/ns-1/deployment/d-1", "read"),
        "a read with arguments": lambda n: call("search", "prod/ns-1/deployment/d-1", "read", args={"q": n, "top": 10}),
        "a change, preflight included": lambda _: call("scale", "prod/ns-1/deployment/d-1", "write", summary="bench"),
        "guard.preflight": preflight,
    }


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--calls", type=int, default=CALLS)
    calls = parser.parse_args().calls
    guard = a_guard()
    print(f"{guard.health['controls']} controls, {guard.health['facts']:,} facts, {calls:,} calls each; microseconds\n")
    print(f"{'':30} {'asked p50':>10} {'p99':>8} {'p99.9':>8}   {'whole p50':>10} {'p99':>8}")
    for name, way in ways(guard).items():
        asked, whole = timed(way, calls)
        at = [asked[int(len(asked) * share)] for share in (0.5, 0.99, 0.999)]
        print(
            f"{name:30} {at[0]:10.1f} {at[1]:8.1f} {at[2]:8.1f}   {whole[len(whole) // 2]:10.1f} {whole[int(len(whole) * 0.99)]:8.1f}"
        )


if __name__ == "__main__":
    main()
