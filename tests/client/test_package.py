"""The client is a package of its own: it installs two others, and its schemas are those of Aftermath."""

import ast
import sys
import tomllib
from pathlib import Path

import aftermath_client
import pytest

from pipeline.core.limits import Limit
from schemas import registry

FOLDER = Path(aftermath_client.__file__).parent
ALLOWED = {"confluent_kafka", "fastavro", "aftermath_client"}


def test_it_imports_nothing_but_the_two_packages_it_names() -> None:
    named = tomllib.loads((FOLDER.parent / "pyproject.toml").read_text())["project"]["dependencies"]
    assert [name.split(">=")[0] for name in named] == ["confluent-kafka", "fastavro"]
    imported = set()
    for path in FOLDER.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                imported |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                imported.add((node.module or "").split(".")[0])
    assert imported - set(sys.stdlib_module_names) == ALLOWED


@pytest.mark.parametrize("path", sorted((FOLDER / "avro").glob("*.avsc")), ids=lambda path: path.name)
def test_its_schemas_are_the_newest_of_aftermath(path: Path) -> None:
    name, version, _ = path.name.split(".")
    assert path.read_text() == (registry.FOLDER / path.name).read_text()
    assert int(version[1:]) == registry.newest(name).version


def test_every_limit_it_enforces_is_one_of_limits_yml() -> None:
    enforced = {
        "max_steps", "calls_per_session", "tokens_per_session", "max_repeats", "may_poll", "allowed_tools",
        "allowed_targets", "needs_approval", "needs_summary", "needs_read_first", "may_change_in_freeze",
    }  # fmt: skip
    assert enforced <= Limit.model_fields.keys()
    text = "".join(path.read_text() for path in FOLDER.glob("*.py"))
    assert {name for name in Limit.model_fields if f'"{name}"' in text} - {"match", "access"} == enforced


def test_the_public_list_is_whole_and_sorted() -> None:
    assert aftermath_client.__all__ == sorted(aftermath_client.__all__)
    assert all(hasattr(aftermath_client, name) for name in aftermath_client.__all__)
