"""docker-compose.yml as a test reads it: parsed, and its variables filled in as Compose does it."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
FILE = ROOT / "docker-compose.yml"
EXAMPLE = ROOT / ".env.example"
VARIABLE = re.compile(r"\$(?:(\$)|\{(\w+)(?::([-?])([^}]*))?\}|(\w+))")
ONE_SHOT = ("setup", "demo")


class MissingVariableError(Exception):
    """A variable that the file insists on is empty."""


def example() -> dict[str, str]:
    """What .env.example says."""
    lines = (line.strip() for line in EXAMPLE.read_text().splitlines())
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def filled_in() -> dict[str, str]:
    """The same with a value where it has none."""
    return {name: value or f"test-{name.lower()}" for name, value in example().items()}


def services(variables: Mapping[str, str] | None = None) -> dict[str, dict[str, Any]]:
    """The services of the file. Raises MissingVariableError."""
    text = yaml.safe_load(FILE.read_text())
    found: dict[str, dict[str, Any]] = _interpolated(text["services"], filled_in() if variables is None else variables)
    return found


def workers() -> dict[str, dict[str, Any]]:
    """The services that run a stage, by the name of the stage."""
    found = {}
    for service in services().values():
        match service.get("command"):
            case ["run", "--stage", stage, *_]:
                found[stage] = service
    return found


def environment(service: Mapping[str, Any]) -> dict[str, str]:
    """What a service is told."""
    found: dict[str, str] = service.get("environment", {})
    return found


def _interpolated(value: Any, variables: Mapping[str, str]) -> Any:
    if isinstance(value, dict):
        return {name: _interpolated(item, variables) for name, item in value.items()}
    if isinstance(value, list):
        return [_interpolated(item, variables) for item in value]
    if not isinstance(value, str):
        return value

    def fill(found: re.Match[str]) -> str:
        dollar, name, how, text, bare = found.groups()
        if dollar:
            return "$"
        given = variables.get(name or bare, "")
        if given or how is None:
            return given
        if how == "?":
            raise MissingVariableError(f"{name}: {text}")
        return str(text)

    return VARIABLE.sub(fill, value)
