"""The same with a framework, Pydantic AI: a guard around each tool, and what it refuses goes to the model as a retry.

    pip install pydantic-ai-slim
    AFTERMATH_KAFKA=127.0.0.1:9092 python client/examples/pydantic_ai_agent.py

`guarded` is all there is to it. The model here is a function, so that it runs without one.
"""

import asyncio
import functools
import os
from collections.abc import Callable

from aftermath_client import Guard, NotCleared
from pydantic_ai import Agent, ModelRetry
from pydantic_ai.messages import ModelMessage, ModelResponse, TextPart, ToolCallPart
from pydantic_ai.models.function import AgentInfo, FunctionModel

CART = "prod-eu/checkout/deployment/cart"
Tool = Callable[..., str]


def guarded(guard: Guard, target: str, access: str) -> Callable[[Tool], Tool]:
    """Ask the guard before each call of this tool; `why`, where the tool has it, is the summary of a change.

    AgentPaused and LimitReached end the run: nothing the model could do would help.
    """

    def around(tool: Tool) -> Tool:
        @functools.wraps(tool)  # the framework reads the name, the text and the parameters of the tool
        def call(**args: object) -> str:
            why = args.get("why")
            try:
                with guard.step(tool.__name__, target, access, args=args, summary=why and str(why)) as step:
                    result = tool(**args)
                    step.result(result)
                    return result
            except NotCleared as error:
                guard.learned(error.report.facts)
                raise ModelRetry(str(error)) from error

        return call

    return around


def an_agent(guard: Guard, model: FunctionModel) -> "Agent[None, str]":
    """One tool that reads, one that changes something."""
    agent = Agent(model)

    @agent.tool_plain
    @guarded(guard, CART, "read")
    def read_metrics(minutes: int) -> str:
        """The load of cart."""
        return f"p95 over {minutes} minutes: 121 ms"

    @agent.tool_plain
    @guarded(guard, CART, "write")
    def scale(replicas: int, why: str) -> str:
        """Set the number of replicas of cart."""
        return f"scaled to {replicas}: {why}"

    return agent


def decide(messages: list[ModelMessage], _: AgentInfo) -> ModelResponse:
    """In place of a model: look, scale, and where that is refused say so and stop."""
    told = str(getattr(messages[-1].parts[-1], "content", ""))
    if told.startswith("Before a change"):
        return ModelResponse(parts=[TextPart(f"I did not scale. {told}")])
    calls = [
        ToolCallPart("read_metrics", {"minutes": 60}),
        ToolCallPart("scale", {"replicas": 24, "why": "the sale begins at 16:00"}),
    ]
    asked = sum(isinstance(message, ModelResponse) for message in messages)
    return ModelResponse(parts=[calls[asked]] if asked < len(calls) else [TextPart("Scaled cart to 24.")])


def run(guard: Guard) -> str:
    """One session; what the agent says at its end."""
    with guard.session(requested_by="user:you", task_type="capacity"):
        return asyncio.run(an_agent(guard, FunctionModel(decide)).run("Make cart ready for the sale.")).output


if __name__ == "__main__":
    with Guard(os.environ.get("AFTERMATH_KAFKA"), tenant="default", agent_id="example-agent", strict=True) as made:
        made.ready()
        print(run(made))
