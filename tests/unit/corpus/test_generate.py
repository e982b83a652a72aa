"""The generated corpus: deterministic, valid, of its own making, and with the truth beside it only."""

import ast
import hashlib
import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import get_args

import pytest

import tests.corpus
from pipeline.files import BadLine, read_events
from schemas.events import EVENTS
from schemas.incidents import Kind
from tests.corpus.families import FAMILIES, POSITIVES
from tests.corpus.generate import LEFT_OUT, REPORTING, SETTING, corpus
from tests.corpus.truth import Trajectory, write

DIGEST = """
import hashlib, json
from tests.corpus.generate import corpus
print(hashlib.sha256(json.dumps([t.events for t in corpus([3])]).encode()).hexdigest())
"""


@pytest.fixture(scope="module")
def told() -> list[Trajectory]:
    """One trajectory of each family."""
    return corpus([3])


def test_the_same_seed_tells_the_same_in_every_process(told: list[Trajectory]) -> None:
    here = hashlib.sha256(json.dumps([trajectory.events for trajectory in told]).encode()).hexdigest()
    environment = os.environ | {"PYTHONHASHSEED": "7", "PYTHONPATH": "."}
    there = subprocess.run([sys.executable, "-c", DIGEST], env=environment, capture_output=True, text=True, check=True)
    assert there.stdout.strip() == here


def test_another_seed_tells_other_events() -> None:
    one, other = corpus([3], ["loop.exact"]), corpus([4], ["loop.exact"])
    assert one[0].events != other[0].events


def test_there_are_three_hundred_trajectories_to_report_on_and_others_to_set_thresholds_on() -> None:
    report = corpus(REPORTING)
    counts = Counter(trajectory.truth.family for trajectory in report)
    assert len(report) >= 300
    assert counts == {family.name: len(REPORTING) for family in FAMILIES}
    assert sum(not trajectory.truth.is_positive for trajectory in report) >= 100
    assert not set(SETTING) & set(REPORTING)


def test_one_family_can_be_left_out() -> None:
    names = {trajectory.truth.family for trajectory in corpus([0], without=LEFT_OUT)}
    assert names == {family.name for family in FAMILIES} - {LEFT_OUT}


def test_every_cycle_length_from_two_to_eight_is_there() -> None:
    variants = {trajectory.truth.variant for trajectory in corpus([*SETTING, *REPORTING], ["loop.cycle"])}
    assert variants == {f"period {length}" for length in range(2, 9)}


def test_every_event_is_one_of_the_schema(told: list[Trajectory]) -> None:
    for trajectory in told:
        for event in trajectory.events:
            fields = {name: value for name, value in event.items() if name not in ("type", "ingest_time")}
            EVENTS[event["type"]].model_validate(fields)
            assert event["tenant"] == trajectory.tenant
            assert event["ingest_time"] >= event["event_time"]


def test_the_broker_gets_events_in_order_and_no_span_id_twice(told: list[Trajectory]) -> None:
    for trajectory in told:
        stamps = [event["ingest_time"] for event in trajectory.events]
        spans = [event["span_id"] for event in trajectory.events if event["type"] == "agent_span"]
        assert stamps == sorted(stamps)
        assert len(spans) == len(set(spans))


def test_what_is_wrong_begins_within_the_recording_and_what_is_healthy_never_does(told: list[Trajectory]) -> None:
    positives = {family.name: family.kinds for family in POSITIVES}
    for trajectory in told:
        truth = trajectory.truth
        assert truth.is_positive == (truth.family in positives)
        assert truth.kinds == positives.get(truth.family, ())
        assert set(truth.kinds) <= set(get_args(Kind))
        if truth.begins_at is None:
            assert truth.fifth_repetition_at is truth.redundant_calls is truth.unplanned_tokens is None
        else:
            times = [event["event_time"] for event in trajectory.events]
            assert min(times) < truth.begins_at < max(times), truth.family


def test_no_event_says_which_family_it_is_of(told: list[Trajectory]) -> None:
    words = [family.name for family in FAMILIES] + ["healthy", "redundant", "is_positive", "begins_at"]
    for trajectory in told:
        text = json.dumps(trajectory.events)
        assert [word for word in words if word in text] == []


def test_only_schemas_are_imported_by_the_generator() -> None:
    folder = Path(tests.corpus.__file__ or "").parent
    files = sorted(folder.glob("*.py"))
    assert len(files) > 8
    for path in files:
        found = set[str]()
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                found.add(node.module or "")
        ours = {name for name in found if name.split(".")[0] not in sys.stdlib_module_names}
        assert all(f"{name}.".startswith(("schemas.", "tests.corpus.")) for name in ours), (path.name, ours)


def test_what_is_written_is_read_again_and_the_truth_stands_in_a_file_of_its_own(tmp_path: Path) -> None:
    few = corpus([1], ["loop.exact", "healthy.batch", "governance.freeze"])
    write(few, tmp_path)
    bad: list[BadLine] = []
    read = [recorded.event.tenant for recorded in read_events([tmp_path / "events.jsonl"], bad.append)]
    assert bad == []
    assert Counter(read) == {trajectory.tenant: len(trajectory.events) for trajectory in few}
    beside = [json.loads(line) for line in (tmp_path / "truth.jsonl").read_text().splitlines()]
    assert [line["truth"]["family"] for line in beside] == [trajectory.truth.family for trajectory in few]
