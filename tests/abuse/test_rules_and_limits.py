"""A17, A18: a file of rules or limits runs nothing, unfolds to nothing and takes no time, whatever stands in it."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from alerts.rules.files import check_rules, load_rules
from schemas.errors import UsageError
from tests.abuse import payloads

ROOT = Path(__file__).parents[2]
FILES = sorted(payloads.YAML.glob("*.yml"))
SECONDS = 20.0
MEGABYTES = 400
RULE = """id: hostile
title: x
when:
  {when}
mode: page
receivers: [console]
runbook: x
owner: x
annotations:
  summary: "{summary}"
tests: []
"""
# loads one file with a bound on memory, so that a bomb is a failure and not the end of the machine
CHILD = """
import resource, sys
from pathlib import Path
resource.setrlimit(resource.RLIMIT_DATA, ({bytes}, {bytes}))
from pipeline.limits import load_limits
from schemas.errors import UsageError
try:
    load_limits(Path(sys.argv[1]))
except UsageError as error:
    print(error)
    sys.exit(2)
"""


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_hostile_file_is_no_rule_and_the_reason_is_short(path: Path, tmp_path: Path) -> None:
    (tmp_path / "hostile.yml").write_bytes(path.read_bytes())
    began = time.monotonic()
    faults = check_rules(tmp_path)
    assert time.monotonic() - began < SECONDS
    assert faults
    assert all("hostile.yml:" in fault and len(fault) < 1_000 for fault in faults)
    with pytest.raises(UsageError):
        load_rules(tmp_path)
    assert not Path("aftermath-was-here").exists()


def load_limits_of(path: Path) -> subprocess.CompletedProcess[str]:
    script = CHILD.format(bytes=MEGABYTES << 20)
    return subprocess.run(
        [sys.executable, "-c", script, str(path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )


@pytest.mark.parametrize("path", FILES)
def test_a_hostile_file_holds_no_limits_and_the_reason_is_a_sentence(path: Path) -> None:
    done = load_limits_of(path)
    assert done.returncode == 2, done.stderr[-500:]
    assert path.name in done.stdout
    assert len(done.stdout) < 2_000
    assert not (ROOT / "aftermath-was-here").exists()


@pytest.mark.parametrize(
    "text",
    [
        "{title.__class__}",
        "{title.__class__.__mro__[1].__subclasses__}",
        "{title!r}",
        "{title:>99999999}",
        "{0}",
        "{}",
        "{nothing}",
        "{title[0]}",
        "{title",
    ],
)
def test_a_template_that_reaches_further_than_a_field_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "hostile.yml").write_text(RULE.format(when="kind: feedback_loop", summary=text))
    with pytest.raises(UsageError, match=r"hostile\.yml:\d+"):
        load_rules(tmp_path)


@pytest.mark.parametrize(
    "when",
    [
        "title: {regex: '(a+)+$'}",
        "title: {matches: '(a+)+$'}",
        "__class__: x",
        "title.__class__: x",
        "attribution.__init__: x",
        "kind: {at_least: 1}",
        "attribution.probability: {at_least: .inf}",
        "attribution.probability: .nan",
        "kind: __import__('os').system('touch aftermath-was-here')",
    ],
)
def test_a_condition_is_a_field_and_a_value_and_nothing_that_runs(tmp_path: Path, when: str) -> None:
    (tmp_path / "hostile.yml").write_text(RULE.format(when=when, summary="x"))
    with pytest.raises(UsageError, match=r"hostile\.yml:\d+"):
        load_rules(tmp_path)
    assert not Path("aftermath-was-here").exists()
