"""What a limit would have stopped: one outcome a limit of the catalogue, over the sessions of one incident."""

from pydantic import field_serializer

from schemas.incidents import Part
from schemas.times import format_time


class Stop(Part):
    """The first call that the limit would not have let begin."""

    at: int
    session_id: str
    agent_id: str
    span_id: str
    step: int  # the span's own number, else which call of the session it was
    shows: str
    calls_avoided: int  # tool calls of all sessions of the incident from their stops on
    tokens_avoided: int

    @field_serializer("at")
    def _time(self, value: int) -> str:
        return format_time(value)


class Healthy(Part):
    """Sessions that no incident holds responsible, and how many of them the limit would have stopped too."""

    sessions: int
    stopped: int


class Outcome(Part):
    """One limit. `stop` without `is_in_time`: it would have stopped a session, but only after the damage was done."""

    limit: str
    stop: Stop | None
    is_in_time: bool
    healthy: Healthy  # of all agents
    healthy_of_agent: Healthy  # of the agent of the incident


class WhatIf(Part):
    """All limits over one incident. sessions: those that were replayed; of: those it names."""

    incident_id: str
    kind: str
    title: str
    agent_id: str | None
    sessions: int
    of: int
    days: int
    outcomes: tuple[Outcome, ...]
