"""The converters of the public sets, each on a set of a few lines in the publisher's form."""

import gzip
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bench.converters import claude_code, framework_traces, k8s_events, llm_traffic, magentic_one, nab, petshop
from bench.converters.files import write
from schemas.errors import UsageError
from schemas.events import EVENTS
from schemas.times import format_time, parse_time

Event = dict[str, Any]
LEDGER = """Updated Ledger:
{
  "is_in_loop": {
    "reason": "We do } the same again.",
    "answer": true
  },
  "is_progress_being_made": {"reason": "No.", "answer": false}
}"""
HISTORY = [
    {"role": "human", "content": "Find it."},
    {"role": "Orchestrator (thought)", "content": LEDGER},
    {"role": "Orchestrator (-> WebSurfer)", "content": "Please search."},
    {"role": "WebSurfer", "content": "I clicked 'Next'.\n\nHere is a screenshot with an error in it."},
    {"role": "WebSurfer", "content": "The page was not found."},
    {"role": "Orchestrator (termination condition)", "content": "Max rounds (30) reached.\nmore"},
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """One folder with a tiny copy of every set."""
    for name in ("claude_code", "llm_traffic", "framework_traces", "k8s_events"):
        (tmp_path / name).mkdir()
    usage = {"input_tokens": 1, "cache_creation_input_tokens": 2, "cache_read_input_tokens": 3, "output_tokens": 4}
    line: Event = {
        "type": "assistant",
        "timestamp": "2026-02-11T20:00:01Z",
        "sessionId": "session_1",
        "agentId": None,
        "id": "call_1",
        "model": "model_1",
        "usage": usage,
        "content": [],
    }
    packed(tmp_path / "claude_code" / "sessions.jsonl.gz", json.dumps(line))
    for name in llm_traffic.AZURE_FILES.values():
        text = "TIMESTAMP,ContextTokens,GeneratedTokens\r\n2023-11-16 18:17:03.9799600,4808,10"
        (tmp_path / "llm_traffic" / name).write_text(text, newline="")
    rows = [{"timestamp": 3000, "input_length": 9, "output_length": 5, "hash_ids": [0, 1]}] * 3
    packed(tmp_path / "llm_traffic" / llm_traffic.MOONCAKE_FILE, "\n".join(map(json.dumps, rows)))
    packed(
        tmp_path / "whowhen_agentrx" / "hand_crafted" / "1.json.gz",
        json.dumps({"history": HISTORY, "mistake_step": "3", "mistake_agent": "WebSurfer", "ground_truth": "79"}),
    )
    (tmp_path / "framework_traces" / "program-2026-01-01.trace.json").write_text(json.dumps(trace()))
    (tmp_path / "k8s_events" / "velero.json").write_text(json.dumps({"items": [scaled(), scheduled()]}))
    petshop_files(tmp_path / "petshop")
    series = tmp_path / "nab" / "data" / "realKnownCause"
    series.mkdir(parents=True)
    (series / "cpu_utilization_x.csv").write_text("timestamp,value\n2014-02-14 14:35:00,2.5\n2014-02-14 14:30:00,1.5\n")
    return tmp_path


def packed(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(text.encode()))


def observation(name: str, number: int, attributes: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {
        "id": f"span_{number}",
        "traceId": "trace_1",
        "parentObservationId": None if number == 1 else "span_1",
        "startTime": f"2026-01-01T00:00:0{number}.000Z",
        "endTime": f"2026-01-01T00:00:0{number}.500Z",
        "name": name,
        "type": "GENERATION",
        "model": "label",
        "usageDetails": {"input": 999},
        "metadata": json.dumps({"attributes": attributes}),
        "input": None,
        "output": None,
    } | fields


def trace() -> dict[str, Any]:
    tokens = {"gen_ai.usage.input_tokens": "2497", "gen_ai.usage.output_tokens": "79"}
    return {
        "trace": {"id": "trace_1", "sessionId": None},
        "observations": [
            observation("run", 1, {"openinference.span.kind": "AGENT"} | tokens),
            observation("chat", 2, {"gen_ai.operation.name": "chat", "gen_ai.request.model": "model_1"} | tokens),
            observation(
                "get_weather", 3, {"openinference.span.kind": "TOOL"}, input='{"city": "Tokyo"}', output="sunny"
            ),
            observation("somewhere", 4, {}),
        ],
    }


def scaled() -> dict[str, Any]:
    return {
        "metadata": {"uid": "uid_1", "creationTimestamp": "2022-04-11T23:10:53Z"},
        "involvedObject": {"kind": "Deployment", "namespace": "velero", "name": "velero"},
        "reason": "ScalingReplicaSet",
        "message": "Scaled up replica set velero-6996dd565b to 1",
        "type": "Normal",
        "count": 4,
        "firstTimestamp": "2022-04-11T23:10:53Z",
        "lastTimestamp": "2022-04-12T00:58:08Z",
        "source": {"component": "deployment-controller"},
    }


def scheduled() -> dict[str, Any]:
    return {
        "metadata": {"uid": "uid_2", "creationTimestamp": "2022-04-12T00:36:06Z"},
        "involvedObject": {"kind": "Pod", "namespace": "velero", "name": "velero-x"},
        "reason": "Scheduled",
        "message": "Successfully assigned",
        "type": "Normal",
        "firstTimestamp": None,
        "lastTimestamp": None,
        "eventTime": "2022-04-12T00:36:06.366978Z",
        "source": {},
        "reportingComponent": "default-scheduler",
    }


def petshop_files(root: Path) -> None:
    for traffic in petshop.TRAFFICS:
        issue = root / traffic / "train" / "issue_0"
        issue.mkdir(parents=True)
        (root / traffic / "graph.csv").write_text(
            ",PetSite,Pet_AWS::ECS::Fargate\nPetSite,0,1\nPet_AWS::ECS::Fargate,0,0\n"
        )
        (issue / "metrics.csv").write_text(
            "microservice,PetSite,Pet_AWS::ECS::Fargate\nmetric,latency,requests\nstatistic,p90,Sum\n"
            "unix_timestamp,,\n1681855320.0,0.5,\n1681855620.0,0.6,12\n"
        )
        target = {
            "target": {"node": "PetSite", "metric": "latency", "timestamp": 1681855400},
            "root_cause": {"node": "Pet_AWS::ECS::Fargate"},
            "metadata": {"reproducibility": {"command": "aws ssm put-parameter --name '/p' --value '79' --overwrite"}},
        }
        (issue / "target.json").write_text(json.dumps(target))


CONVERTERS: dict[str, tuple[Callable[[Path], Iterator[Event]], int]] = {
    "claude_code": (claude_code.convert, 1),
    "llm_traffic": (llm_traffic.convert, 5),
    "magentic_one": (magentic_one.convert, 5),
    "framework_traces": (framework_traces.convert, 3),
    "k8s_events": (k8s_events.convert, 2),
    "petshop": (petshop.convert, 20),
    "nab": (nab.convert, 2),
}


@pytest.mark.parametrize("name", CONVERTERS)
def test_a_set_becomes_valid_events_in_the_order_of_event_time(name: str, folder: Path) -> None:
    convert, count = CONVERTERS[name]
    events = list(convert(folder))
    assert len(events) == count
    for event in events:
        EVENTS[event["type"]].model_validate({key: value for key, value in event.items() if key != "type"})
    times = [event["event_time"] for event in events]
    assert times == sorted(times)
    assert events == list(convert(folder))


@pytest.mark.parametrize("name", CONVERTERS)
def test_a_missing_set_says_which_folder_to_give(name: str, tmp_path: Path) -> None:
    convert, _ = CONVERTERS[name]
    with pytest.raises(UsageError, match="give the folder that holds"):
        list(convert(tmp_path))


def test_the_folder_of_a_set_itself_will_do(folder: Path) -> None:
    assert len(list(nab.convert(folder / "nab"))) == 2


def test_no_label_of_the_magentic_one_logs_reaches_an_event(folder: Path) -> None:
    text = json.dumps(list(magentic_one.convert(folder)))
    assert "is_in_loop" not in text
    assert "the same again" not in text
    assert "mistake" not in text
    assert "is_progress_being_made" in text


def test_messages_of_a_log_become_decisions_handoffs_and_answers(folder: Path) -> None:
    events = list(magentic_one.convert(folder))
    assert [event["operation"] for event in events] == [
        "decision",
        "handoff",
        "execute_tool",
        "execute_tool",
        "invoke_agent",
    ]
    assert [event.get("tool_name") for event in events] == [None, "ask:WebSurfer", "clicked", "act", None]
    assert [event["status"] for event in events] == ["ok", "ok", "ok", "error", "ok"]
    assert [event["step"] for event in events] == [0, 1, 1, 1, 1]
    assert {event["max_steps"] for event in events} == {30}
    assert events[-1]["finish_reason"] == "Max rounds (30) reached."


def test_the_calls_of_a_tick_are_spread_over_its_three_seconds(folder: Path) -> None:
    kimi = [event for event in llm_traffic.convert(folder) if event["agent_id"] == "kimi"]
    after = [event["event_time"] - llm_traffic.MOONCAKE_START for event in kimi]
    assert after == [3_000_000, 4_000_000, 5_000_000]
    assert len({event["args_digest"] for event in kimi}) == 1


def test_the_seventh_fraction_digit_is_cut(folder: Path) -> None:
    code = next(event for event in llm_traffic.convert(folder) if event["agent_id"] == "code")
    assert format_time(code["event_time"]) == "2023-11-16T18:17:03.979960Z"


def test_only_model_calls_have_tokens_and_the_publishers_reading_is_not_used(folder: Path) -> None:
    agent, chat, tool = framework_traces.convert(folder)
    assert "input_tokens" not in agent
    assert (chat["input_tokens"], chat["output_tokens"], chat["model"]) == (2497, 79, "model_1")
    assert (tool["tool_name"], tool["tool_args"]) == ("get_weather", '{"city":"Tokyo"}')
    assert (agent["agent_id"], agent["session_id"]) == ("program", "trace_1")


def test_an_event_of_kubernetes_keeps_its_count_and_its_first_time(folder: Path) -> None:
    first, last = k8s_events.convert(folder)
    assert (first["event_id"], first["actor"], first["count"]) == ("uid_2-1", "default-scheduler", 1)
    assert (last["event_id"], last["kind"], last["value"]) == ("uid_1-4", "scale", "1")
    assert last["valid_from"] == parse_time("2022-04-11T23:10:53Z")


@pytest.mark.parametrize(
    ("component", "resource"),
    [
        ("PetSite", "low_traffic/petshop/service/PetSite"),
        ("PetSearch_AWS::ECS::Fargate", "low_traffic/petshop/ecs.fargate/PetSearch"),
        ("PetSearch_client", "low_traffic/petshop/client/PetSearch"),
        ("lambda_step_readDDB", "low_traffic/petshop/service/lambda_step_readDDB"),
        ("a@b.rds.amazonaws.com_Database::SQL", "low_traffic/petshop/database.sql/a@b.rds.amazonaws.com"),
    ],
)
def test_a_component_of_the_shop_is_a_resource(component: str, resource: str) -> None:
    assert petshop.resource("low_traffic", component) == resource


def test_an_empty_cell_is_no_value_and_a_command_is_a_change(folder: Path) -> None:
    events = [event for event in petshop.convert(folder) if str(event["resource"]).startswith("low_traffic/")]
    assert [event["value"] for event in events if event["type"] == "metric_point"] == [0.5, 0.6, 12.0]
    (command,) = [event for event in events if event.get("actor_kind") == "human"]
    assert (command["kind"], command["reason"], command["value"]) == ("config", "/p", "79")
    (edge,) = [event for event in events if event.get("kind") == "dependency"]
    assert edge["value"] == "low_traffic/petshop/ecs.fargate/Pet"


def test_events_are_written_as_json_lines(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    assert write(nab.convert(folder), out) == 2
    assert [json.loads(line)["value"] for line in out.read_text().splitlines()] == [1.5, 2.5]
