"""The image: what goes in is locked by hash, what stays out is left out, and it does not run as root."""

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text()
ENTRY = re.compile(r"(?m)^([A-Za-z0-9_.-]+)==(\S+)(?: ; .*?)? \\\n((?:    --hash=sha256:[0-9a-f]{64}(?: \\)?\n)+)")


def locked(name: str) -> dict[str, set[str]]:
    """Package -> its versions; several only where they depend on the version of Python."""
    found: dict[str, set[str]] = {}
    for package, version, _ in ENTRY.findall((ROOT / name).read_text()):
        found.setdefault(package, set()).add(version)
    return found


def canonical(requirement: str) -> str:
    return re.sub(r"[-_.]+", "-", re.split(r"[<>=!~;\[ ]", requirement)[0]).lower()


def project() -> dict[str, list[str]]:
    text = tomllib.loads((ROOT / "pyproject.toml").read_text())
    return {
        "run": text["project"]["dependencies"],
        "embedded": text["project"]["optional-dependencies"]["embedded"],
        "dev": text["dependency-groups"]["dev"],
        "folders": text["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"],
    }


@pytest.mark.parametrize("name", ["requirements.lock", "requirements-run.lock"])
def test_every_package_is_locked_with_hashes(name: str) -> None:
    named = re.findall(r"(?m)^([A-Za-z0-9_.-]+)\s*==", (ROOT / name).read_text())
    assert len(named) > 30
    assert set(named) == set(locked(name))
    assert "://" not in re.sub(r"(?m)^#.*$", "", (ROOT / name).read_text())


def test_the_image_has_the_versions_that_were_tested() -> None:
    tested, run = locked("requirements.lock"), locked("requirements-run.lock")
    assert {name: run[name] - tested.get(name, set()) for name in run if run[name] - tested.get(name, set())} == {}


def test_the_image_has_what_runs_and_neither_tests_nor_the_embedded_database() -> None:
    wanted, run = project(), locked("requirements-run.lock")
    assert {canonical(item) for item in wanted["run"]} <= run.keys()
    assert not run.keys() & {canonical(item) for item in (*wanted["dev"], *wanted["embedded"])}


def test_both_locks_are_made_by_one_command() -> None:
    makefile = (ROOT / "Makefile").read_text()
    recipe = makefile[makefile.index("\nlock:") :].split("\n\n")[0]
    assert recipe.count("uv pip compile") == 2
    assert "--constraint requirements.lock" in recipe  # the image's versions are those the tests ran with
    for name in ("requirements.lock", "requirements-run.lock"):
        assert f"--output-file {name}" in recipe


def test_it_installs_only_what_is_locked_and_nothing_from_an_index_in_the_last_stage() -> None:
    last = DOCKERFILE[DOCKERFILE.rindex("\nFROM ") :]
    assert "--require-hashes" in DOCKERFILE
    assert "pip" not in last
    assert DOCKERFILE.count("\nFROM ") == 2


def test_it_runs_as_a_number_that_is_not_root_and_gets_signals_itself() -> None:
    last = DOCKERFILE[DOCKERFILE.rindex("\nFROM ") :]
    user = re.search(r"(?m)^USER (\d+):(\d+)$", last)
    assert user is not None
    assert min(map(int, user.groups())) > 0
    assert '\nENTRYPOINT ["aftermath"]\n' in last


def test_every_folder_of_the_wheel_is_copied_and_let_in() -> None:
    let_in = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = set(re.findall(r"(?m)^COPY (?!--from)(.+) /build/", DOCKERFILE))
    names = {name for line in copied for name in line.split()}
    assert names == let_in
    assert set(project()["folders"]) <= names
    assert "*" in (ROOT / ".dockerignore").read_text().splitlines()


def test_a_named_version_of_python_is_one_that_the_project_takes() -> None:
    bases = set(re.findall(r"(?m)^FROM (\S+)", DOCKERFILE))
    assert bases == {"python:3.11-slim"}


def test_every_import_of_a_foreign_package_is_declared() -> None:
    """What comes with another package, or with the embedded extra, is missing in the image one day."""
    found = project()
    declared = {canonical(item) for item in (*found["run"], *found["embedded"])}
    known = packages_distributions()
    undeclared: dict[str, str] = {}
    for folder in found["folders"]:
        for path in sorted((ROOT / folder).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text())):
                names = [item.name for item in node.names] if isinstance(node, ast.Import) else []
                if isinstance(node, ast.ImportFrom) and not node.level:
                    names = [node.module or ""]
                for name in {name.split(".")[0] for name in names} - sys.stdlib_module_names - set(found["folders"]):
                    if not declared & {canonical(item) for item in known.get(name, [name])}:
                        undeclared[name] = str(path.relative_to(ROOT))
    assert undeclared == {}
