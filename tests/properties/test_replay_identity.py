"""Incidents are a function of the log: not of batches, interleaving, partitions, duplicates or order within lateness."""

import random
from pathlib import Path
from typing import Any

import pytest

from pipeline.demo.story import story
from pipeline.limits import load_limits
from schemas.watches import Watched
from tests.log import RULES, Log, canonical, outcomes, run, spread, stamped

LIMITS = load_limits(Path("pipeline/demo/limits.yml"))
STORY = story()
ENDS = max(event["event_time"] for event in STORY)


Said = tuple[dict[str, list[str]], dict[str, Watched]]


def said(log: Log, draw: random.Random, **options: Any) -> Said:
    """Every revision of every incident, and what became of every write whose watch closes within the story.

    A log that ends a little later, because its last messages came late, closes those that end there.
    """
    watched: list[Watched] = []
    revisions = run(log, draw, limits=LIMITS, watched=watched, **options)
    return canonical(revisions), outcomes(one for one in watched if one.closed_at <= ENDS)


@pytest.fixture(scope="module")
def expected() -> Said:
    """The story on one partition, as it was recorded."""
    incidents, watched = said(spread(stamped(STORY), 1), random.Random(0))
    assert len(incidents) == 3
    assert {one.outcome for one in watched.values()} == {"regressed", "not_enough_data"}
    return incidents, watched


@pytest.mark.parametrize(("seed", "partitions", "signal_partitions"), [(1, 1, 1), (2, 3, 1), (3, 8, 4), (4, 4, 3)])
def test_batches_interleaving_and_partition_counts_do_not_matter(
    expected: Said, seed: int, partitions: int, signal_partitions: int
) -> None:
    log = spread(stamped(STORY), partitions)
    assert said(log, random.Random(seed), signal_partitions=signal_partitions) == expected


@pytest.mark.fault("F28", "F29")
@pytest.mark.parametrize("seed", [5, 6, 7])
def test_order_within_the_lateness_and_duplicates_do_not_matter(expected: Said, seed: int) -> None:
    draw = random.Random(seed)

    def delay(event_time: int) -> int:
        return draw.randint(0, RULES.pane_of(event_time) + RULES.pane + RULES.lateness - 1000 - event_time)

    events = STORY + draw.sample(STORY, 300)
    assert said(spread(stamped(events, delay), draw.choice((1, 3, 8))), draw) == expected


@pytest.mark.fault("F27", "F48")
@pytest.mark.parametrize("seed", [8, 9])
def test_restarts_from_snapshots_do_not_matter(expected: Said, seed: int) -> None:
    draw = random.Random(seed)
    assert said(spread(stamped(STORY), 3), draw, signal_partitions=2, restarts=0.05) == expected
