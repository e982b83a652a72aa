"""The corpus: one trajectory of every family for every seed, in an order that says nothing.

Thresholds are set on SETTING seeds, tables for others are printed on REPORTING seeds; LEFT_OUT is never shown while
thresholds are set, so that the report has a family nobody tuned for.
"""

import random
from collections.abc import Iterable

from tests.corpus.families import BY_NAME, FAMILIES, Family
from tests.corpus.names import OPERATIONS
from tests.corpus.telling import Scene
from tests.corpus.truth import Trajectory

SETTING = range(0, 5)
REPORTING = range(100, 105)
LEFT_OUT = "loop.with_strangers"
ON_A_CLUSTER = 0.3  # as large a share of healthy work is on a cluster as of what is wrong: broken limits mostly are


def trajectory(family: Family, seed: int) -> Trajectory:
    """The trajectory of this family and seed: the same in every process."""
    scene = Scene(random.Random(f"{seed}/{family.name}"))
    if not family.is_positive and scene.rng.random() < ON_A_CLUSTER:
        scene.box = OPERATIONS
    family.tell(scene, seed)
    return scene.finished(family.name, family.kinds)


def corpus(seeds: Iterable[int], families: Iterable[str] | None = None, without: str | None = None) -> list[Trajectory]:
    """All families, or those named, of each seed; `without` leaves one out."""
    chosen = [BY_NAME[name] for name in families] if families is not None else list(FAMILIES)
    told = []
    for seed in seeds:
        of_seed = [trajectory(family, seed) for family in chosen if family.name != without]
        random.Random(f"{seed}/order").shuffle(of_seed)
        told += of_seed
    return told
