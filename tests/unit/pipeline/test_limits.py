"""limits.yml: which entry counts, from when, and what a faulty file is told."""

from pathlib import Path

import pytest

from pipeline.backtest import Backtest
from pipeline.core.limits import Limit, Limits, Match
from pipeline.limits import load_limits
from schemas.errors import UsageError
from schemas.times import format_time, parse_time
from tests.builders import at, decoded, span

ROOT = Path(__file__).parents[3]


def loaded(tmp_path: Path, text: str) -> Limits:
    path = tmp_path / "limits.yml"
    path.write_text(text)
    return load_limits(path)


def test_the_last_entry_that_matches_and_states_a_limit_counts(tmp_path: Path) -> None:
    limits = loaded(
        tmp_path,
        """
version: 7
limits:
  - max_steps: 50
    tokens_per_session: 1000
  - match: {agent_id: "seo-*"}
    max_steps: 20
  - match: {agent_id: "seo-*", agent_version: "2.*"}
    max_steps: 10
  - match: {tool_name: "kubernetes.*", target: "prod-*"}
    needs_approval: true
""",
    )
    assert limits.value("max_steps", "acme", "other") == 50
    assert limits.value("max_steps", "acme", "seo-1") == 20
    assert limits.value("max_steps", "acme", "seo-1", agent_version="2.4") == 10
    assert limits.value("tokens_per_session", "acme", "seo-1", agent_version="2.4") == 1000
    assert limits.value("needs_approval", "acme", "seo-1", "kubernetes.scale", "prod-eu/x/y/z") is True
    assert limits.value("needs_approval", "acme", "seo-1", "kubernetes.scale", "dev/x/y/z") is None
    assert limits.value("needs_approval", "acme", "seo-1", "kubernetes.scale") is None
    assert limits.rule_version == "1+limits.7"


TWO = """
version: 2
effective_from: 2026-03-02T14:01:00Z
limits: [{max_steps: 2}]
before:
  version: 1
  limits: [{max_steps: 5}]
"""


def test_each_moment_has_the_version_that_was_in_force(tmp_path: Path) -> None:
    limits = loaded(tmp_path, TWO)
    change = parse_time("2026-03-02T14:01:00Z")
    assert limits.in_force(change - 1).version == 1
    assert limits.in_force(change).version == 2
    assert limits.changes == [change]
    late = loaded(tmp_path, "version: 3\neffective_from: 2026-03-02T14:01:00Z\nlimits: [{max_steps: 2}]\n")
    assert late.in_force(change - 1) == Limits()


@pytest.mark.parametrize("size", [1, 100])
def test_a_pane_goes_by_the_version_in_force_at_its_start_however_it_is_read(tmp_path: Path, size: int) -> None:
    backtest = Backtest(loaded(tmp_path, TWO))
    spans = [span(second, step=3, session_id=f"session-{second}") for second in (10, 54, 59, 61, 70)]
    for first in range(0, len(spans), size):
        backtest.read([decoded("agent_span", spans[first : first + size])])
    backtest.finish()
    found = {signal.session_id: signal.rule_version for signal in backtest.outcomes.signals}
    assert found == {"session-61": "1+limits.2", "session-70": "1+limits.2"}
    assert {incident.rule_version for incident in backtest.outcomes.incidents} == {"1+limits.2"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "limits:\n- tokens_per_sesion: 4",
            r":2: limits\.0\.tokens_per_sesion: no such name; there are access, allowed_targets, ",
        ),
        ("limits: [{match: {agent: x}}]", r":1: limits\.0\.match\.agent: no such name; there are agent_id, "),
        ("limit: []", r"limit: no such name; there are before, effective_from, limits, reads, version"),
        ("limits:\n- max_steps: 1\n- max_steps: 0", r":3: limits\.1\.max_steps: Input should be greater than 0"),
        ("limits: [{match: {agent_id: ''}}]", r"limits\.0\.match\.agent_id: .*at least 1 character"),
        ("effective_from: 2026-03-01", "effective_from: .*write a moment with its zone"),
        ("effective_from: 2026-03-01T00:00:00", "effective_from: .*without a zone"),
        ("version: 2\nbefore: {version: 2}", "version 2 replaces version 2; number versions upwards"),
        ("version: 2\nbefore: {version: 1}", "version 2 needs an effective_from later than that of version 1"),
        (
            "version: 2\neffective_from: 2026-03-01T00:00:00Z\nbefore: {limits: [{max_steps: x}]}",
            r":3: before\.limits\.0",
        ),
        ("- 1", "valid dictionary"),
    ],
)
def test_a_faulty_file_is_told_where_and_what(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(UsageError, match=f"limits\\.yml.*{said}"):
        loaded(tmp_path, text)


def test_no_file_and_an_empty_one_limit_nothing(tmp_path: Path) -> None:
    assert load_limits(None) == loaded(tmp_path, "") == Limits()


def test_every_limit_stands_in_the_documentation_and_its_example_is_valid(tmp_path: Path) -> None:
    page = (ROOT / "pipeline" / "limits.md").read_text()
    for name in {**Limit.model_fields, **Match.model_fields, **Limits.model_fields}:
        assert f"`{name}`" in page, name
    example = page.split("```yaml\n")[1].split("```")[0]
    limits = loaded(tmp_path, example)
    assert format_time(limits.changes[-1]) in example
    assert limits.in_force(at(0)).limits
