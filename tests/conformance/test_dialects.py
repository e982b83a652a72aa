"""Each dialect of agent telemetry, recorded from a real program, against an independent reading of the same spans.

The oracle is the publisher's own `type`, `model` and `usageDetails` (Langfuse; MIT, see dialects/). It is not asked for
tokens where no attribute holds any (it took them from the answer's text, or counted itself), nor for the wrapper of
the Vercel SDK's first call, where it does not say what the attributes say.
"""

import json
from typing import Any

import pytest

from pipeline.ingest.messages import Mapped, Reader
from schemas.events import AgentSpan
from schemas.topics import OTLP_SPANS
from tests.conformance.dialects_as_otlp import otlp, span_id, traces

# dialect -> input and output tokens of all its model calls
TOKENS = {
    "crewai-2025-07-11": (190, 164),
    "csharp-agent-with-gemini-2026-03-09": (8047, 414),
    "google-adk-2025-08-28": (67, 9),
    "google-gemini-2025-08-01": (6, 2055),
    "llamaindex-2025-06-05": (13, 81),
    "microsoft-agent-2025-12-17": (293, 106),
    "openai-agents-2025-09-30": (140, 44),
    "pydantic-ai-2025-06-06": (31, 96),
    "pydantic-ai-tools-2025-06-06": (31, 96),
    "pydantic-ai-tools-2025-12-04": (1315, 209),
    "pydantic-ai-with-gemini-2025-12-24": (40, 159),
    "vertex-ai-2025-08-01": (5, 845),
    "vercel-aisdk-2025-11-17": (62, 85),  # once, though the wrapper repeats them
    "agno-2025-06-11": (826, 245),  # inside the JSON of the answer
}
# Langfuse's own SDK: nothing but ids and names in the attributes
SILENT = ("autogen-2025-06-06", "langgraph-js-2025-10-30", "langgraph-python-2025-08-22")
OURS = {"GENERATION": "chat", "TOOL": "execute_tool", "AGENT": "invoke_agent"}
# a wrapper of the SDK, of which it makes a model call
EXCEPT = {("vercel-aisdk-2025-11-17", "ai.generateText")}
MODELS = ("gen_ai.request.model", "gen_ai.response.model", "llm.model_name", "ai.model.id", "ai.response.model")


def read(dialect: str) -> Mapped:
    return Reader().read(OTLP_SPANS.name, otlp(traces()[dialect]))


def rows(dialect: str) -> dict[str, dict[str, Any]]:
    return {row["span_id"]: row for _, row in read(dialect).events}


def attributes(seen: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(seen["metadata"])["attributes"]
    return found


def test_every_recorded_dialect_is_here() -> None:
    assert len(traces()) == 20
    assert sum(len(trace["observations"]) for trace in traces().values()) == 138


@pytest.mark.parametrize("dialect", traces())
def test_every_row_is_a_valid_event_and_nothing_is_refused(dialect: str) -> None:
    mapped = read(dialect)
    assert (mapped.reason, mapped.is_rejected) == (None, False)
    assert len(mapped.events) + mapped.unwanted == len(traces()[dialect]["observations"])
    assert bool(mapped.events) == (dialect not in SILENT)
    for record, row in mapped.events:
        assert record == "agent_span"
        AgentSpan.model_validate(row)


@pytest.mark.parametrize("dialect", [name for name in traces() if name not in SILENT])
def test_operations_and_models_are_those_of_the_oracle(dialect: str) -> None:
    found, compared = rows(dialect), 0
    for seen in traces()[dialect]["observations"]:
        said = attributes(seen)
        if seen["type"] not in OURS or not said or (dialect, seen["name"]) in EXCEPT:
            continue
        row = found.get(span_id(seen["id"]))
        if row is None:
            assert dialect.startswith("beeai"), seen["name"]  # the other spans of the same call
            continue
        compared += 1
        assert row["operation"] == OURS[seen["type"]], seen["name"]
        if seen["type"] == "GENERATION":
            assert row["model"] in {said.get(name) for name in MODELS}
            assert seen["model"].startswith(row["model"])  # it may name the version that answered
    assert compared or dialect.startswith("crewai")


@pytest.mark.parametrize("dialect", TOKENS)
def test_tokens_are_counted_once_over_nested_spans(dialect: str) -> None:
    found = rows(dialect).values()
    total = (sum(row.get("input_tokens", 0) for row in found), sum(row.get("output_tokens", 0) for row in found))
    assert total == TOKENS[dialect]
    for seen in traces()[dialect]["observations"]:
        row, usage = rows(dialect).get(span_id(seen["id"])), seen["usageDetails"] or {}
        if row is None or row["operation"] != "chat" or dialect.startswith("agno"):
            continue
        assert (row["input_tokens"], row["output_tokens"]) == (usage["input"], usage["output"]), seen["name"]


def test_a_part_of_the_tokens_is_a_part() -> None:
    (row,) = rows("google-gemini-2025-08-01").values()
    assert (row["output_tokens"], row["reasoning_tokens"]) == (2055, 1104)
    (row,) = rows("pydantic-ai-with-gemini-2025-12-24").values()
    assert (row["reasoning_tokens"], row["finish_reason"]) == (121, "stop")


@pytest.mark.parametrize(
    ("dialect", "tool", "arguments", "access"),
    [
        ("agno-2025-06-11", "duckduckgo_search", {"query": "currently trending on Twitter"}, "read"),
        ("koog-2025-08-26", "ByeTool", {"name": "Bob"}, "write"),
        ("openai-agents-2025-09-30", "get_weather", {"city": "Tokyo"}, "read"),
        ("pydantic-ai-tools-2025-12-04", "get_pun_suggestion", {"topic": "programming"}, "read"),
        ("google-adk-2025-08-28", "say_hello", {}, "write"),
        ("vercel-aisdk-2025-11-17", "getWeather", None, "read"),
        ("microsoft-agent-2025-12-17", "get_weather", None, "read"),
        ("csharp-agent-with-gemini-2026-03-09", "get_custom_report", None, "read"),
    ],
)
def test_tools_their_arguments_and_a_guess_of_what_they_may_do(
    dialect: str, tool: str, arguments: dict[str, Any] | None, access: str
) -> None:
    row = next(row for row in rows(dialect).values() if row.get("tool_name") == tool)
    assert (json.loads(row["tool_args"]) if arguments is not None else row.get("tool_args")) == arguments
    assert row["access"] == access
    assert json.loads(row["attributes"])["access_from"] == "guess"


@pytest.mark.parametrize(
    ("dialect", "agents"),
    [
        ("pydantic-ai-tools-2025-12-04", {"joke_agent", "evaluator_agent"}),
        ("openai-agents-2025-09-30", {"Hello world", "openinference.instrumentation.openai_agents"}),
        ("csharp-agent-with-gemini-2026-03-09", {"agentic-clientinsights"}),  # none is named: the service
    ],
)
def test_calls_belong_to_the_agent_whose_run_holds_them(dialect: str, agents: set[str]) -> None:
    assert {row["agent_id"] for row in rows(dialect).values()} == agents


def test_a_session_that_some_spans_name_is_that_of_their_trace() -> None:
    assert {row["session_id"] for row in rows("koog-2025-08-26").values()} == {"6f8d2449-33ed-4c7c-82e7-5410e34ee4e6"}
    assert {row["session_id"] for row in rows("google-adk-2025-08-28").values()} == {"demo-session"}
    microsoft = rows("microsoft-agent-2025-12-17").values()  # puts the id of the last response there
    assert {row["session_id"] for row in microsoft} == {row["trace_id"] for row in microsoft}


def test_one_call_that_was_written_as_several_spans_is_one_call() -> None:
    found = [row for row in rows("beeai-2025-08-01").values() if row["operation"] == "execute_tool"]
    assert [row["tool_name"] for row in found] == ["wikipedia"]


def test_raw_attributes_are_kept_without_the_texts_of_prompts_and_answers() -> None:
    row = next(row for row in rows("csharp-agent-with-gemini-2026-03-09").values() if row["operation"] == "chat")
    kept = json.loads(row["attributes"])
    assert kept["gen_ai.response.id"]
    assert kept["resource"]["service.name"] == "agentic-clientinsights"
    assert kept["scope"] == "Experimental.Microsoft.Extensions.AI"
    assert "gen_ai.system_instructions" not in kept
