"""A plain agent loop with a guard around each call. The model and the tools are yours; the rest is as in production.

    AFTERMATH_KAFKA=127.0.0.1:9092 python client/examples/plain_loop.py "make cart ready for the sale"

Without AFTERMATH_KAFKA it runs with nothing to ask. While it runs: `aftermath control pause example-agent --why "..."`.
"""

import os
import sys
from collections.abc import Callable, Iterator

from aftermath_client import AgentPaused, Guard, LimitReached, NotCleared

CART = "prod-eu/checkout/deployment/cart"
Decision = dict[str, object]
TOOLS: dict[str, Callable[..., str]] = {
    "metrics.query": lambda **asked: f"p95 of {asked['resource']} is 121 ms",
    "kubernetes.scale": lambda **asked: f"scaled to {asked['replicas']}",
}


def decide(task: str) -> Iterator[Decision]:
    """In place of a model: what it wants to do next, one decision at a time."""
    yield {"tool": "metrics.query", "target": CART, "access": "read", "args": {"resource": CART}}
    yield {
        "tool": "kubernetes.scale", "target": CART, "access": "write", "args": {"resource": CART, "replicas": 24},
        "summary": f"p95 rises; {task}",
    }  # fmt: skip


def run(guard: Guard, task: str, say: Callable[[str], None] = print) -> int:
    """One session; returns how many calls were made."""
    made = 0
    with guard.session(requested_by="user:you", task_type="capacity"):
        for wanted in decide(task):
            with guard.chat("your-model") as call:  # your model call goes here
                call.used(input_tokens=900, output_tokens=40)
            try:
                with guard.step(
                    str(wanted["tool"]), str(wanted["target"]), str(wanted["access"]), args=wanted["args"],
                    summary=wanted.get("summary"),
                ) as step:  # fmt: skip
                    result = TOOLS[str(wanted["tool"])](**wanted["args"])
                    step.result(result)
                    made += 1
                    say(result)
            except NotCleared as error:
                say(str(error))  # give this to the model, and let it decide again
                guard.learned(error.report.facts)
            except LimitReached as error:
                say(str(error))
                break
            except AgentPaused as error:
                say(f"{error} (until {error.until})")  # stop here; the next run asks again
                break
    return made


if __name__ == "__main__":
    with Guard(os.environ.get("AFTERMATH_KAFKA"), tenant="default", agent_id="example-agent", strict=True) as made:
        made.ready()
        run(made, sys.argv[1] if len(sys.argv) > 1 else "the sale begins at 16:00")
