"""The examples are run as they stand: they do what their texts say."""

import importlib.util
from pathlib import Path
from types import ModuleType

import aftermath_client
import pytest
from aftermath_client import AgentPaused

from tests.client.building import a_guard, fact, hold, post, spans


def load(name: str) -> ModuleType:
    path = Path(aftermath_client.__file__).parents[1] / "examples" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def example() -> ModuleType:
    return load("plain_loop")


def test_it_makes_its_calls_and_publishes_them(example: ModuleType) -> None:
    guard = a_guard(strict=True)
    assert example.run(guard, "the sale", lambda _: None) == 2
    assert [span["operation"] for span in spans(guard)] == [
        "chat", "execute_tool", "chat", "execute_tool", "invoke_agent",
    ]  # fmt: skip


def test_in_a_freeze_it_is_told_and_does_not_scale(example: ModuleType) -> None:
    guard = a_guard(strict=True)
    freeze = fact("fz-1", "freeze", example.CART, ends=600, source="change-calendar", message="no changes now")
    post(guard, freeze)
    said: list[str] = []
    assert example.run(guard, "the sale", said.append) == 1
    assert "Not read: freeze" in said[-1]


def test_paused_it_stops_with_the_reason(example: ModuleType) -> None:
    guard = a_guard(strict=True)
    hold(guard, 600, tool_name="metrics.query")
    said: list[str] = []
    assert example.run(guard, "the sale", said.append) == 0
    assert "writes the same hook" in said[-1]


def test_with_a_framework_what_was_refused_comes_back_to_the_model() -> None:
    framework = load("pydantic_ai_agent")
    guard = a_guard(strict=True)
    assert framework.run(guard) == "Scaled cart to 24."
    assert [span["operation"] for span in spans(guard)] == ["execute_tool", "execute_tool", "invoke_agent"]
    post(guard, fact("fz-1", "freeze", framework.CART, ends=600, source="change-calendar", message="no changes now"))
    said = framework.run(guard)
    assert said.startswith("I did not scale.")
    assert "no changes now [fz-1]" in said
    made = [span["tool_name"] for span in spans(guard) if span["operation"] == "execute_tool"]
    assert made == ["read_metrics"]
    hold(guard, 600, tool_name="read_metrics")
    with pytest.raises(AgentPaused, match="writes the same hook"):  # nothing the model could do would help: it ends
        framework.run(guard)
