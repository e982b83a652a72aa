"""Incidents are a function of the log: not of batches, interleaving, partitions, duplicates or order within lateness."""

import random
from pathlib import Path

import pytest

from pipeline.demo.story import story
from pipeline.limits import load_limits
from tests.log import RULES, canonical, run, spread, stamped

LIMITS = load_limits(Path("pipeline/demo/limits.yml"))
STORY = story()


@pytest.fixture(scope="module")
def expected() -> dict[str, list[str]]:
    """The story on one partition, as it was recorded."""
    found = canonical(run(spread(stamped(STORY), 1), random.Random(0), limits=LIMITS))
    assert len(found) == 3
    return found


@pytest.mark.parametrize(("seed", "partitions", "signal_partitions"), [(1, 1, 1), (2, 3, 1), (3, 8, 4), (4, 4, 3)])
def test_batches_interleaving_and_partition_counts_do_not_matter(
    expected: dict[str, list[str]], seed: int, partitions: int, signal_partitions: int
) -> None:
    log = spread(stamped(STORY), partitions)
    assert canonical(run(log, random.Random(seed), limits=LIMITS, signal_partitions=signal_partitions)) == expected


@pytest.mark.fault("F28", "F29")
@pytest.mark.parametrize("seed", [5, 6, 7])
def test_order_within_the_lateness_and_duplicates_do_not_matter(expected: dict[str, list[str]], seed: int) -> None:
    draw = random.Random(seed)

    def delay(event_time: int) -> int:
        return draw.randint(0, RULES.pane_of(event_time) + RULES.pane + RULES.lateness - 1000 - event_time)

    events = STORY + draw.sample(STORY, 300)
    found = canonical(run(spread(stamped(events, delay), draw.choice((1, 3, 8))), draw, limits=LIMITS))
    assert found == expected


@pytest.mark.fault("F27", "F48")
@pytest.mark.parametrize("seed", [8, 9])
def test_restarts_from_snapshots_do_not_matter(expected: dict[str, list[str]], seed: int) -> None:
    draw = random.Random(seed)
    found = canonical(run(spread(stamped(STORY), 3), draw, limits=LIMITS, signal_partitions=2, restarts=0.05))
    assert found == expected
