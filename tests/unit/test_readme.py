"""What the README says is true: its links lead somewhere, its program runs, its settings exist."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from opentelemetry.sdk import environment_variables

from pipeline.cli import parser
from pipeline.settings import Settings

README = Path("README.md").read_text()


@pytest.mark.parametrize(
    "page",
    [
        "README.md",
        "bench/README.md",
        "pipeline/detectors/README.md",
        "pipeline/health.md",
        "pipeline/ingest/README.md",
        "alerts/rules/README.md",
    ],
)
def test_every_link_leads_to_a_file(page: str) -> None:
    links = re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", Path(page).read_text())
    local = [link for link in links if "://" not in link]
    missing = [link for link in local if not (Path(page).parent / link).exists()]
    assert not missing


def test_the_program_that_sends_own_events_finds_its_loop(tmp_path: Path) -> None:
    (program,) = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    command = f'"{sys.executable}", "-m", "pipeline.cli", "backtest"'
    ours = program.replace('".venv/bin/aftermath", "backtest"', command)
    assert ours != program
    env = {"PYTHONPATH": str(Path.cwd()), "PATH": "/usr/bin:/bin"}
    done = subprocess.run(
        [sys.executable, "-c", ours], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert re.search(r"my-agent repeats ticket\.read: 1[12] times", done.stdout)


def test_the_five_minutes_can_be_typed_as_they_stand_there() -> None:
    section = README.split("## Connect your agents in five minutes")[1].split("\n## ")[0]
    block = re.findall(r"```\n(.*?)```", section, flags=re.DOTALL)[0]
    lines = [line.partition("#")[0].split() for line in block.splitlines()]
    make, run, tail, agent = lines
    assert f"{make[1]}:" in Path("Makefile").read_text().replace("$(READY)", ".venv/.ready")
    for words in (run, tail):
        assert words[0] == ".venv/bin/aftermath"  # on no path where somebody has just cloned it
        parser().parse_args(words[1:])
    said = dict(word.split("=", 1) for word in agent if "=" in word)
    assert said.keys() <= vars(environment_variables).keys()
    port = run[run.index("--otlp") + 1]
    assert said[environment_variables.OTEL_EXPORTER_OTLP_ENDPOINT].endswith(f":{port}")
    # SDKs that configure themselves speak gRPC unless they are told otherwise, and the port does not
    assert said[environment_variables.OTEL_EXPORTER_OTLP_PROTOCOL] == "http/protobuf"
    (program,) = re.findall(r"`\.venv/bin/python (\S+)`", section)
    assert Path(program).exists()


def test_every_setting_and_command_that_is_named_exists() -> None:
    for name in re.findall(r"AFTERMATH_([A-Z_]+)", README):
        if name != "":
            assert name.lower() in Settings.model_fields
    commands = parser()._subparsers._group_actions[0].choices  # type: ignore[union-attr]
    for word in re.findall(r"`?aftermath ([a-z]+)", README):
        assert word in commands  # type: ignore[operator]


def test_every_file_of_the_map_of_benchmarks_can_be_run() -> None:
    for module in re.findall(r"python -m (bench\.[a-z_.]+)", Path("bench/README.md").read_text()):
        assert Path(module.replace(".", "/") + ".py").exists()
