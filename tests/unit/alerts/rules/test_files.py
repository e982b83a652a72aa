"""Whatever is wrong with a rule file is found before anybody relies on it, and named by file and line."""

from pathlib import Path

import pytest

from alerts.rules import RuleFaultsError, check_rules, load_rules, require_receivers
from schemas.errors import UsageError

GOOD = """\
id: looping
title: An agent is looping
when:
  kind: feedback_loop
  severity: {at_least: warning}
mode: page
runbook: docs/looping.md
owner: team-a
annotations:
  summary: "{agent_id} loops"
tests:
  - incident: {kind: feedback_loop, severity: warning, agent_id: a1}
    fires: true
    annotations: {summary: a1 loops}
  - incident: {kind: feedback_loop, severity: info}
    fires: false
"""
KIND = "  kind: feedback_loop\n"


def _faults(folder: Path, text: str | bytes, name: str = "looping.yml") -> list[str]:
    """What is wrong with this file, without the folder in front."""
    (folder / name).write_bytes(text.encode() if isinstance(text, str) else text)
    return [fault.removeprefix(f"{folder}/") for fault in check_rules(folder)]


def test_a_good_rule_is_loaded_with_its_defaults(tmp_path: Path) -> None:
    assert _faults(tmp_path, GOOD) == []
    (rule,) = load_rules(tmp_path)
    assert (rule.id, rule.mode, rule.receivers, rule.stop, rule.severity) == (
        "looping",
        "page",
        ("console",),
        False,
        None,
    )


def test_rules_come_in_the_order_of_their_file_names(tmp_path: Path) -> None:
    for name in ("c", "a", "b"):
        (tmp_path / f"{name}.yml").write_text(GOOD.replace("id: looping", f"id: {name}"))
    assert [rule.id for rule in load_rules(tmp_path)] == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("old", "new", "line", "text"),
    [
        ("id: looping", "id: other", 1, "id other must be the file's name; rename the file other.yml"),
        (KIND, "  knd: loop\n", 4, "when.knd: an incident has no field 'knd'; did you mean kind?"),
        (KIND, "  kind: loop\n", 4, "kind must be one of feedback_loop, resource_exhaustion, "),
        (KIND, "  agent_version: 2.4\n", 4, "agent_version is text: put 2.4 in quotes"),
        (KIND, "  context_gaps: 1\n", 4, "context_gaps is a list: write {at_least: 1} to ask how many"),
        (KIND, "  status: open\n", 4, "status cannot be a condition: remove it"),
        (KIND, "  updated_at: 1\n", 4, "updated_at cannot be a condition: remove it"),
        (KIND, "  kind: []\n", 4, "kind needs between 1 and 1000 values, not 0"),
        (KIND, "  tenant: null\n", 4, "tenant is never null"),
        (KIND, "  provisional: 1\n", 4, "provisional is true or false, not '1'"),
        (KIND, "  exhaustion.calls: many\n", 4, "exhaustion.calls is a number, not 'many'"),
        (KIND, "  scope: {at_least: 1}\n", 4, "scope holds text: at_least is for severity, numbers and lists"),
        (KIND, "  exhaustion.calls: {at_least: .nan}\n", 4, "exhaustion.calls must be at least a number, not 'nan'"),
        ("at_least: warning", "at_least: loud", 5, "severity can be at least info, warning, critical, not 'loud'"),
        ("at_least: warning", "at_most: warning", 5, "severity must be a value, a list of values or {at_least: x}"),
        ("mode: page", "mode: shout", 6, "mode: Input should be 'page', 'ticket' or 'shadow'"),
        ("mode: page", "mode: page\nmode: ticket", 7, "mode stands twice, first in line 6"),
        (
            "mode: page",
            "mode: page\nreciever: x",
            7,
            "reciever is not a field; a rule has id, title, when, query, times,",
        ),
        ("mode: page", "mode: page\nreceivers: [a, a]", 7, "receivers: a receiver is named twice; name each once"),
        (
            "mode: page",
            "mode: page\nreceivers: [shadow]",
            7,
            "receivers: shadow is not a receiver; write `mode: shadow`",
        ),
        ("owner: team-a\n", "", 1, "owner is missing; add it"),
        ("docs/looping.md", "javascript:alert(1)", 7, "runbook: String should match pattern"),
        ("{agent_id} loops", "{agent_di} loops", 10, "annotations.summary: an incident has no field 'agent_di'"),
        ("{agent_id} loops", "{agent_id.__class__} loops", 10, "annotations.summary: an incident has no field"),
        ("{agent_id} loops", "{agent_id!r} loops", 10, "annotations.summary: write {agent_id} alone"),
        ("{agent_id} loops", "{agent_id loops", 10, "annotations.summary: expected '}' before end of string"),
        ("fires: true", "fires: sometimes", 13, "tests.0.fires: Input should be a valid boolean"),
        ("fires: true", "fires: false", 12, "test: expected looping to stay quiet, but every condition held"),
        ("fires: false", "fires: true", 15, "test: expected looping to fire, but severity did not hold"),
        ("summary: a1 loops", "summary: a2 loops", 14, "test: summary is 'a1 loops', not 'a2 loops'"),
        (
            "mode: page",
            "times: {count: 1, within: 1d}\nmode: page",
            6,
            "times.count: Input should be greater than or equal to 2",
        ),
        (
            "mode: page",
            "times: {count: 2, within: 8d}\nmode: page",
            6,
            "times.within: Input should be less than or equal to",
        ),
        (
            "mode: page",
            "times: {count: 2, within: 1d, by: [agnt]}\nmode: page",
            6,
            "times.by: an incident has no field 'agnt'",
        ),
        ("fires: true", "fires: true\n    alerts: []", 12, "tests.0: `fires` goes with an incident"),
        ("agent_id: a1}", "agent: a1}", 12, "test: agent is not a field"),
    ],
)
def test_a_fault_is_named_with_its_line(tmp_path: Path, old: str, new: str, line: int, text: str) -> None:
    assert old in GOOD
    found = _faults(tmp_path, GOOD.replace(old, new, 1))
    assert any(fault.startswith(f"looping.yml:{line}: {text}") for fault in found), found


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: &x [1]\nb: *x\n", "looping.yml:1: anchors and aliases are not allowed (x); write it out"),
        ("[" * 1_000, "looping.yml:1: nested deeper than 20 levels"),
        ("a: [1\nb: 2\n", "looping.yml:2: not YAML: expected ',' or ']', but got ':'"),
        ("a: 1\n--- \nb: 2\n", "looping.yml:2: not YAML: but found another document"),
        ("a: !!python/object/apply:os.system [id]\n", "looping.yml:1: not YAML: could not determine a constructor"),
        ("a: 1\nb: \x01\n", "looping.yml:2: not YAML: the character"),
        ("a: 2026-99-99\n", "looping.yml:1: not YAML: month must be in 1..12"),
        ("a: " + "9" * 5_000 + "\n", "looping.yml:1: not YAML: Exceeds the limit"),
        (b"a: 1\nb: \xff\n", "looping.yml:2: not UTF-8; save it as UTF-8"),
        ("", "looping.yml:1: a rule is a mapping of fields"),
        ("- a\n", "looping.yml:1: a rule is a mapping of fields"),
        ("#" * 100_001, "looping.yml:1: larger than 100,000 bytes; a rule is a small file"),
    ],
)
def test_what_is_no_safe_yaml_is_refused(tmp_path: Path, text: str | bytes, expected: str) -> None:
    found = _faults(tmp_path, text)
    assert any(fault.startswith(expected) for fault in found), found


def test_a_file_of_just_the_allowed_size_is_read(tmp_path: Path) -> None:
    assert _faults(tmp_path, GOOD + "#" * (100_000 - len(GOOD))) == []


def test_all_faults_of_all_files_are_listed_at_once(tmp_path: Path) -> None:
    (tmp_path / "looping.yml").write_text(GOOD.replace("mode: page", "mode: x").replace("kind:", "knd:"))
    (tmp_path / "other.yml").write_text("id: other\n")
    (tmp_path / "late.yaml").write_text(GOOD)
    with pytest.raises(RuleFaultsError) as raised:
        load_rules(tmp_path)
    assert isinstance(raised.value, UsageError)
    places = [fault.removeprefix(f"{tmp_path}/").split(": ")[0] for fault in raised.value.faults]
    assert sorted(set(places)) == ["late.yaml:1", "looping.yml:4", "looping.yml:6", "other.yml:1"]
    assert str(raised.value).startswith("correct 7 faults in the alert rules:\n  ")
    assert all(fault in str(raised.value) for fault in raised.value.faults)


def test_a_rule_without_both_kinds_of_test_is_a_finding_but_loads(tmp_path: Path) -> None:
    text = GOOD[: GOOD.index("tests:")]
    assert _faults(tmp_path, text) == [
        "looping.yml:1: no test in which looping fires; add one",
        "looping.yml:1: no test in which looping stays quiet; add one",
    ]
    assert len(load_rules(tmp_path)) == 1


def test_a_folder_without_rules_is_a_fault(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("# Rules\n")
    assert check_rules(tmp_path) == [f"{tmp_path}:1: no rule file (*.yml): nobody would ever be told"]
    with pytest.raises(UsageError, match="not a folder"):
        load_rules(tmp_path / "missing")


def test_a_rule_that_names_an_unknown_receiver_is_refused(tmp_path: Path) -> None:
    (tmp_path / "looping.yml").write_text(GOOD + "receivers: [console, hook]\n")
    rules = load_rules(tmp_path)
    require_receivers(rules, {"console", "hook"})
    with pytest.raises(UsageError, match=r"\(looping: hook\); configured: console"):
        require_receivers(rules, {"console"})
    (tmp_path / "looping.yml").write_text(GOOD.replace("mode: page", "mode: shadow"))
    require_receivers(load_rules(tmp_path), set())
