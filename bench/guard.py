"""What asking costs a service: the guard of aftermath_client before and after a tool call, on this process's copies.

Each call is timed by itself, on the wall and by the time of the processor that its thread had: where other work goes on,
the wall also shows how long the scheduler gave the processor to that. `asked` is what stands between the agent and its call; `whole` is the
same with what is remembered and queued for publishing after it. Then the preflight of a change, with as many facts as a
tenant may have posted. No broker: none is asked on this path.
"""

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from aftermath_client import Guard
from aftermath_client.copies import CONTROLS, FACTS, LIMITS

from schemas.codecs.single import encode

CALLS = 50_000
CONTROLS_KNOWN, LIMITS_KNOWN = 20, 20
SCOPES, FACTS_EACH = 100, 100  # of a scope 10 dependencies, 5 flags, 85 states


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
                "kind": "dependency" if number < 10 else "flag" if number < 15 else "scale", "published_time": now, "valid_from": now - 10**10,
                "value": f"prod/ns-{(scope + 1) % SCOPES}/deployment/d-1" if number < 10 else "6",
            }  # fmt: skip
            guard.copy.put(FACTS, f"acme/prod/ns-{scope}/f-{scope}-{number}", encode("fact", fact))
    return guard


@dataclass(frozen=True, slots=True)
class Took:
    """Nanoseconds: on the wall, and of the processor, which is the guard's own share of it."""

    wall: int
    cpu: int

    @classmethod
    def since(cls, began: "Took") -> "Took":
        wall = time.perf_counter_ns()  # before the processor is asked, which takes a microsecond or more itself
        return cls(wall - began.wall, time.thread_time_ns() - began.cpu)

    @classmethod
    def now(cls) -> "Took":
        cpu = time.thread_time_ns()
        return cls(time.perf_counter_ns(), cpu)


def ways(guard: Guard) -> dict[str, Callable[[int], tuple[Took, Took]]]:
    """What is timed: the part before the call, and the whole."""

    def call(tool: str, target: str, access: str, **more: Any) -> tuple[Took, Took]:
        began = Took.now()
        step = guard.step(tool, target, access, **more)
        step.__enter__()
        asked = Took.since(began)
        step.__exit__(None, None, None)
        whole = Took.since(began)
        guard.spans.take()
        return asked, whole

    def preflight(number: int) -> tuple[Took, Took]:
        began = Took.now()
        guard.preflight(f"prod/ns-{number % SCOPES}/deployment/d-1")
        took = Took.since(began)
        guard.spans.take()
        return took, took

    return {
        "a read": lambda _: call("search", "prod/ns-1/deployment/d-1", "read"),
        "a read with arguments": lambda n: call("search", "prod/ns-1/deployment/d-1", "read", args={"q": n, "top": 10}),
        "a change, preflight included": lambda _: call("scale", "prod/ns-1/deployment/d-1", "write", summary="bench"),
        "guard.preflight": preflight,
    }


def shares(nanoseconds: list[int]) -> str:
    """p50, p99 and p99.9 in microseconds."""
    found = sorted(nanoseconds)
    return "".join(f"{found[int(len(found) * share)] / 1000:9.1f}" for share in (0.5, 0.99, 0.999))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--calls", type=int, default=CALLS)
    calls = parser.parse_args().calls
    guard = a_guard()
    print(f"{guard.health['controls']} controls, {guard.health['facts']:,} facts, {calls:,} calls each")
    print("microseconds: p50, p99, p99.9\n")
    print(f"{'':30}{'asked, processor':>27}   {'asked, wall':>27}   {'whole, processor':>27}")
    for name, way in ways(guard).items():
        took = [way(number) for number in range(calls)]
        asked, whole = [one for one, _ in took], [one for _, one in took]
        columns = ([one.cpu for one in asked], [one.wall for one in asked], [one.cpu for one in whole])
        print(f"{name:30}{'   '.join(map(shares, columns))}")


if __name__ == "__main__":
    main()
