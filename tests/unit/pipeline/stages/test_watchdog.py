"""The watchdog: what it ends a worker for, and what it does not."""

from dataclasses import dataclass, field

from pipeline.stages.base import Progress
from pipeline.stages.watchdog import STALL_SECONDS, TROUBLE_SECONDS, Watchdog


@dataclass
class FakeStage:
    name: str = "detect"
    waiting_on: str = ""
    progress: Progress = field(default_factory=Progress)
    broken: str | None = None
    behind: int = 0

    def trouble(self) -> str | None:
        return self.broken

    def lag(self) -> int:
        return self.behind


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def a_watchdog(stage: FakeStage) -> tuple[Watchdog, Clock]:
    clock = Clock()
    return Watchdog([stage], lambda name, reason: None, clock), clock


def test_trouble_that_lasts_ends_the_stage_and_passing_trouble_does_not() -> None:
    stage = FakeStage(broken="the coordinator is gone")
    watchdog, clock = a_watchdog(stage)
    assert watchdog.look() is None
    clock.now = TROUBLE_SECONDS - 0.1
    assert watchdog.look() is None
    stage.broken = None
    assert watchdog.look() is None
    stage.broken, clock.now = "the coordinator is gone", 20.0
    assert watchdog.look() is None
    clock.now = 20.0 + TROUBLE_SECONDS
    assert watchdog.look() == ("detect", "the coordinator is gone")


def test_standing_still_with_messages_waiting_ends_the_stage() -> None:
    stage = FakeStage(behind=7)
    watchdog, clock = a_watchdog(stage)
    clock.now = STALL_SECONDS - 1
    assert watchdog.look() is None
    stage.progress.confirmed += 1
    assert watchdog.look() is None
    clock.now += STALL_SECONDS - 1
    assert watchdog.look() is None
    clock.now += 1
    found = watchdog.look()
    assert found is not None
    assert found[1] == "nothing was read or confirmed for 60 s although 7 messages wait"


def test_idling_and_waiting_for_a_dependency_are_no_reason() -> None:
    stage = FakeStage(behind=0)
    watchdog, clock = a_watchdog(stage)
    clock.now = 10 * STALL_SECONDS
    assert watchdog.look() is None
    stage.behind, stage.waiting_on = 5, "ClickHouse is down"
    clock.now += 10 * STALL_SECONDS
    assert watchdog.look() is None
    stage.waiting_on = ""
    clock.now += STALL_SECONDS - 1
    assert watchdog.look() is None
    clock.now += 1
    assert watchdog.look() is not None
