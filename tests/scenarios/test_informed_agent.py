"""The demo's first story again, with the agent's calls through aftermath_client: what would a guard have changed?

The facts come from `facts.v1` as correlate posts them, the agent's spans are those the client publishes, and what
happened to the cluster happens only if the agent's write is made.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aftermath_client import Guard, NotCleared
from aftermath_client.copies import FACTS

from pipeline.backtest import Backtest
from pipeline.demo.partly_informed import (
    AGENT_ID,
    AGENT_VERSION,
    MAINTENANCE_ID,
    SESSION_ID,
    cluster_reacts,
    facts,
    investigation,
)
from pipeline.demo.readings import CART, readings
from pipeline.demo.recorder import TENANT, Event, in_ingest_order
from pipeline.demo.recording import recording_of
from pipeline.demo.sick_node import topology
from pipeline.demo.story import SEED
from pipeline.demo.timeline import FAILURE_AT, SCALE_AT
from pipeline.operators.correlate import CorrelateOperator
from schemas.codecs.single import encode_record
from schemas.incidents import Incident
from schemas.times import MICROS

SURROUNDINGS = [event for part in (facts, topology) for event in part(SEED)]


def read(backtest: Backtest, events: list[Event]) -> None:
    with recording_of(in_ingest_order(events)) as recording:
        for chunk in recording.chunks():
            backtest.read(chunk)
    backtest.finish()


@pytest.fixture(scope="module")
def posted() -> list[tuple[str, bytes]]:
    """What stands on facts.v1 when the agent begins."""
    backtest = Backtest()
    backtest.correlate = CorrelateOperator([op.source for op in backtest.detect.values()], posts_facts=True)
    read(backtest, SURROUNDINGS)
    return [(p.key, encode_record(p.fact)) for p in backtest.correlate.take_postings() if p.fact is not None]


class Agent:
    """The capacity agent of the story, deciding what it decided there, call by call through a guard."""

    def __init__(self, posted: list[tuple[str, bytes]], *, strict: bool, listens: bool = True) -> None:
        self.now = 0
        self.guard = Guard(
            None, tenant=TENANT, agent_id=AGENT_ID, agent_version=AGENT_VERSION, strict=strict, now=lambda: self.now
        )
        for key, value in posted:
            self.guard.copy.put(FACTS, key, value)
        self.listens = listens
        self.refused: list[str] = []
        self.has_scaled = False

    def work(self) -> None:
        events = [event for event in investigation(SEED) if event["operation"] != "invoke_agent"]
        self.now = events[0]["start_time"]
        with self.guard.session(SESSION_ID, requested_by="sale-readiness-schedule"):
            for event in sorted(events, key=lambda event: event["start_time"]):
                self.now = event["start_time"]
                if event["operation"] == "chat":
                    with self.guard.chat(event["model"]) as call:
                        self.now = event["event_time"]
                        call.used(
                            input_tokens=event["input_tokens"], output_tokens=event["output_tokens"],
                            context_tokens=event.get("context_tokens"),
                        )  # fmt: skip
                elif not self._call(event):
                    return

    def _call(self, event: Event) -> bool:
        """One tool call; what the story's agent does with a refusal is to wait for another day, or not to care."""
        fields = {name: event.get(name) for name in ("summary", "approval")}
        args = json.loads(event["tool_args"]) if isinstance(event["tool_args"], str) else event["tool_args"]
        try:
            with self.guard.step(event["tool_name"], event["target"], event["access"] or "read", args=args, **fields):
                self.now = event["event_time"]
                self.has_scaled |= event["target"] == CART and event["access"] == "write"
        except NotCleared as error:
            self.refused.append(str(error))
            self.guard.learned(error.report.facts)
            if self.listens:
                return False
            self.now += MICROS
            return self._call(event)
        return True

    def spans(self) -> Iterator[Event]:
        while (span := self.guard.spans.take()) is not None:
            found = {name: value for name, value in span.items() if value is not None}
            yield {"type": "agent_span", **found, "ingest_time": span["event_time"] + MICROS}


def outcome(agent: Agent) -> list[Incident]:
    """What Aftermath finds of the world in which this agent worked."""
    agent.work()
    world: list[Any] = [*readings(SEED), *cluster_reacts(SEED)]
    if not agent.has_scaled:
        world = [event for event in readings(SEED) if event["event_time"] < FAILURE_AT]
    backtest = Backtest()
    read(backtest, [*SURROUNDINGS, *world, *agent.spans()])
    return backtest.outcomes.incidents


def test_without_strict_mode_it_becomes_the_incident_and_the_gap_is_as_it_was(posted: list[tuple[str, bytes]]) -> None:
    agent = Agent(posted, strict=False)
    (incident,) = [one for one in outcome(agent) if one.kind == "agent_caused_failure"]
    assert agent.has_scaled
    assert (incident.agent_id, incident.attribution.verdict) == (AGENT_ID, "agent")
    assert (MAINTENANCE_ID, "never_queried") in {(gap.event_id, gap.class_) for gap in incident.context_gaps}


def test_in_strict_mode_it_does_not_become_an_incident(posted: list[tuple[str, bytes]]) -> None:
    agent = Agent(posted, strict=True)
    assert outcome(agent) == []
    assert not agent.has_scaled
    assert agent.now >= SCALE_AT
    [refusal] = agent.refused
    assert f"[{MAINTENANCE_ID}]" in refusal
    assert "Do not add load" in refusal
    assert " ".join(refusal.split()) in " ".join(Path("README.md").read_text().split())


def test_an_agent_that_goes_on_after_it_was_told_is_proven_to_have_ignored_it(posted: list[tuple[str, bytes]]) -> None:
    agent = Agent(posted, strict=True, listens=False)
    (incident,) = [one for one in outcome(agent) if one.kind == "agent_caused_failure"]
    assert len(agent.refused) == 1
    assert agent.has_scaled
    assert (MAINTENANCE_ID, "seen_not_used") in {(gap.event_id, gap.class_) for gap in incident.context_gaps}
