"""When a stage can be vouched for: its offsets move, or nothing waits for it; never because a process is up."""

import pytest

from pipeline.stages.heartbeat import Progress

PLACE = ("topic", 0)
STILL_AFTER = 300


def judged(stage: str, looks: list[tuple[int, int, int]], *, is_live: bool = True) -> list[bool]:
    """Looks of (time, committed, end); for each whether the stage stood still."""
    progress = Progress(still_after=STILL_AFTER, is_live=is_live)
    return [progress.stands_still(stage, {PLACE: committed}, {PLACE: end}, now) for now, committed, end in looks]


@pytest.mark.parametrize(
    ("stage", "looks", "still"),
    [
        pytest.param("notify", [(0, 5, 5)], [False], id="nothing waits"),
        pytest.param("notify", [(0, 5, 6), (1, 6, 9)], [True, False], id="only what was seen to move is vouched for"),
        pytest.param("notify", [(0, 5, 5), (1, 5, 6), (299, 5, 6)], [False] * 3, id="one below the limit"),
        pytest.param("notify", [(0, 5, 5), (1, 5, 6), (300, 5, 6)], [False, False, True], id="still at the limit"),
        pytest.param("notify", [(0, 5, 5), (300, 5, 6), (301, 6, 9)], [False, True, False], id="it goes on"),
        pytest.param("detect", [(0, 5, 5), (1, 5, 5)], [True, True], id="live, ticks that do not come are no progress"),
        pytest.param("correlate", [(0, 5, 5), (1, 6, 6), (301, 6, 6)], [True, False, True], id="nor markers"),
    ],
)
def test_progress(stage: str, looks: list[tuple[int, int, int]], still: list[bool]) -> None:
    assert judged(stage, looks) == still


def test_a_recording_that_was_read_to_its_end_needs_no_ticks() -> None:
    assert judged("detect", [(0, 5, 5), (1, 5, 6), (301, 5, 6)], is_live=False) == [False, False, True]
